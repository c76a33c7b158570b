"""Key cards: what a device tells everyone who wants to seal something to it (DESIGN D3).

A card is the payload of a strictly verified envelope, published as one leaf under ``calls/keys/<fp>#``. It
says which full key the 64-bit fingerprint stands for, binds the SEA pair to it, and lists box keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sidecar.errors import RemoteError
from sidecar.ids import fingerprint
from sidecar.trust import canonical, envelope
from sidecar.trust.boxkeys import BoxKey
from sidecar.trust.encoding import b64, strict_b64
from sidecar.trust.identity import Identity, raw_public_key
from sidecar.trust.pairwise import box_kid

KIND = "key-card"
VERSION = 1
ARTIFACT_TYPE = "service"
MAX_AGE_MS = 30 * 24 * 3_600_000
MAX_SKEW_MS = 60_000
"""How far in the future a card may have been issued: network time is good to about a second."""
MAX_CHARS = 8192
MAX_BOX_KEYS = 4
DEVICE = re.compile(r"[0-9a-f]{16}\Z")
_SEA_KEY = re.compile(r"[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}\Z")


class CardKey(NamedTuple):
    """The public half of a box key."""

    kid: str
    public: bytes
    not_after_ms: int


class KeyCard(NamedTuple):
    """A verified card; ``pub`` is the full identity key in SPKI base64."""

    pub: str
    device: str
    issued_at_ms: int
    box_keys: tuple[CardKey, ...]
    sea_pub: str | None = None
    sea_epub: str | None = None

    def box_key(self, now_ms: int) -> CardKey | None:
        """The key to seal to now: the one that lasts longest, None if all have ended."""
        usable = [key for key in self.box_keys if key.not_after_ms > now_ms]
        return max(usable, key=lambda key: key.not_after_ms, default=None)

    def expired(self, now_ms: int) -> bool:
        return now_ms - self.issued_at_ms > MAX_AGE_MS


def issue(identity: Identity, device: str, keys: Sequence[BoxKey], now_ms: int) -> str:
    """The text of a new card of this device."""
    payload: dict[str, Any] = {
        "v": VERSION,
        "kind": KIND,
        "pub": identity.pub,
        "fingerprint": identity.fingerprint,
        "device": device,
        "issuedAt": now_ms,
        "boxKeys": [
            {"kid": key.kid, "x25519": b64(key.public), "notAfter": key.not_after_ms}
            for key in keys[:MAX_BOX_KEYS]
        ],
    }
    if identity.sea is not None:
        payload |= {"seaPub": identity.sea["pub"], "seaEpub": identity.sea["epub"]}
    signed = envelope.sign(payload, identity, artifact_type=ARTIFACT_TYPE, created_at_ms=now_ms)
    return envelope.to_text(signed)


def read(text: object, owner: str, now_ms: int) -> KeyCard:
    """Checks a card found under ``owner``'s fingerprint.

    Raises RemoteError with reason ``card-shape``, ``card-owner``, ``card-age`` or ``card-signature``.
    """
    if not isinstance(text, str) or len(text) > MAX_CHARS:
        raise RemoteError("card-shape")
    try:
        signed = canonical.parse(text)
        payload = signed["payload"]
        card = _card(payload)
    except (KeyError, TypeError, ValueError) as error:
        raise RemoteError("card-shape") from error
    if fingerprint(card.pub) != owner or payload.get("fingerprint") != owner:
        raise RemoteError("card-owner")
    if card.expired(now_ms) or card.issued_at_ms > now_ms + MAX_SKEW_MS:
        raise RemoteError("card-age")
    if not envelope.verify(signed).valid or signed["author"]["pub"] != card.pub:
        raise RemoteError("card-signature")
    return card


def _card(payload: Mapping[str, Any]) -> KeyCard:
    """Raises KeyError, TypeError or ValueError for a payload that is no card of this version."""
    if (payload["v"], payload["kind"]) != (VERSION, KIND):
        raise ValueError("not a card")
    pub, device, issued, keys = (payload[name] for name in ("pub", "device", "issuedAt", "boxKeys"))
    sea = payload.get("seaPub"), payload.get("seaEpub")
    if raw_public_key(pub) is None or not DEVICE.match(device) or type(issued) is not int:
        raise ValueError("not a card")
    if not isinstance(keys, list) or len(keys) > MAX_BOX_KEYS:
        raise ValueError("box keys")
    if any(key is not None and not _SEA_KEY.match(key) for key in sea):
        raise ValueError("SEA key")
    return KeyCard(pub, device, issued, tuple(map(_card_key, keys)), *sea)


def _card_key(item: Mapping[str, Any]) -> CardKey:
    public = strict_b64(item["x25519"], 32)
    if public is None or item["kid"] != box_kid(public) or type(item["notAfter"]) is not int:
        raise ValueError("box key")
    return CardKey(item["kid"], public, item["notAfter"])
