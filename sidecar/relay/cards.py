"""A relay's card: who it is and where it serves, signed, at ``/.well-known/aleph-relay`` (DESIGN D9).

The payload of a strictly verified envelope. Readers pin ``pub`` on first use; a card from another key is
another relay. Pure: the time is an argument.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, NamedTuple

from sidecar.errors import RemoteError
from sidecar.trust import canonical, envelope
from sidecar.trust.encoding import strict_b64
from sidecar.trust.identity import Identity, raw_public_key

PATH = "/.well-known/aleph-relay"
KIND = "relay-card"
VERSION = 1
ARTIFACT_TYPE = "service"
LIFETIME_MS = 24 * 3_600_000
RENEW_MS = 3_600_000
"""A card this old is signed anew: what is served always lasts for most of a day."""
MAX_SKEW_MS = 60_000
MAX_CHARS = 8_192
MAX_URL = 512


class RelayCard(NamedTuple):
    """A verified card; what is None is not served, or served where the card was found."""

    pub: str
    gun: str | None
    turn: str | None
    turns: str | None
    certificate_pin: str | None
    issued_at_ms: int
    expires_at_ms: int


class CardDesk:
    """Hands out this relay's card, signed anew when it is old."""

    def __init__(self, identity: Identity, *, gun: str | None, certificate_pin: str | None) -> None:
        self._identity = identity
        self._gun = gun
        self._certificate_pin = certificate_pin
        self._text = ""
        self._issued_ms = 0

    def text(self, now_ms: int) -> str:
        """The card as one line of JSON."""
        if not self._text or not 0 <= now_ms - self._issued_ms < RENEW_MS:
            self._issued_ms = now_ms
            self._text = issue(
                self._identity, gun=self._gun, certificate_pin=self._certificate_pin, now_ms=now_ms
            )
        return self._text

    def replace_pin(self, certificate_pin: str) -> None:
        """The relay has a new certificate."""
        self._certificate_pin = certificate_pin
        self._text = ""


def issue(identity: Identity, *, gun: str | None, certificate_pin: str | None, now_ms: int) -> str:
    """The text of a new card. This version serves no TURN."""
    payload: dict[str, Any] = {
        "v": VERSION,
        "kind": KIND,
        "pub": identity.pub,
        "gun": gun,
        "turn": None,
        "turns": None,
        "certificatePin": certificate_pin,
        "issuedAt": now_ms,
        "expiresAt": now_ms + LIFETIME_MS,
    }
    signed = envelope.sign(payload, identity, artifact_type=ARTIFACT_TYPE, created_at_ms=now_ms)
    return envelope.to_text(signed)


def read(text: object, now_ms: int) -> RelayCard:
    """Checks a card, whoever signed it: whether ``pub`` is the one that was pinned is the caller's question.

    Raises RemoteError with reason ``card-shape``, ``card-age`` or ``card-signature``.
    """
    if not isinstance(text, str) or len(text) > MAX_CHARS:
        raise RemoteError("card-shape")
    try:
        signed = canonical.parse(text)
        card = _card(signed["payload"])
    except (KeyError, TypeError, ValueError) as error:
        raise RemoteError("card-shape") from error
    if not card.issued_at_ms - MAX_SKEW_MS <= now_ms < card.expires_at_ms:
        raise RemoteError("card-age")
    if not envelope.verify(signed).valid or signed["author"]["pub"] != card.pub:
        raise RemoteError("card-signature")
    return card


def pin(public_key_info: bytes) -> str:
    """How a certificate's key is pinned: base64 of the SHA-256 of its SubjectPublicKeyInfo (RFC 7469)."""
    return base64.b64encode(hashlib.sha256(public_key_info).digest()).decode("ascii")


def _card(payload: Any) -> RelayCard:
    """Raises KeyError, TypeError or ValueError for a payload that is no card of this version."""
    if (payload["v"], payload["kind"]) != (VERSION, KIND):
        raise ValueError("not a card")
    gun, turn, turns = (payload[name] for name in ("gun", "turn", "turns"))
    if any(
        url is not None and (not isinstance(url, str) or len(url) > MAX_URL) for url in (gun, turn, turns)
    ):
        raise ValueError("URL")
    issued, expires = payload["issuedAt"], payload["expiresAt"]
    if not type(issued) is type(expires) is int or not 0 < expires - issued <= LIFETIME_MS:
        raise ValueError("times")
    certificate_pin = payload["certificatePin"]
    if certificate_pin is not None and strict_b64(certificate_pin, 32) is None:
        raise ValueError("pin")
    if raw_public_key(payload["pub"]) is None:
        raise ValueError("key")
    return RelayCard(payload["pub"], gun, turn, turns, certificate_pin, issued, expires)
