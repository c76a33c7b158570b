"""A relay's signed card: what a reader accepts, and when it is signed anew."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.errors import RemoteError
from sidecar.relay import cards
from sidecar.relay.cards import LIFETIME_MS, MAX_SKEW_MS, RENEW_MS, CardDesk
from sidecar.trust import envelope, identity

NOW_MS = 1_790_000_000_000
ME = identity.generate(b"r" * 32)
PIN = cards.pin(b"a public key in DER")


def card(now_ms: int = NOW_MS) -> str:
    return cards.issue(ME, gun="https://relay.example:8765/gun", certificate_pin=PIN, now_ms=now_ms)


def signed(**changes: Any) -> str:
    payload = {**json.loads(card())["payload"], **changes}
    return envelope.to_text(envelope.sign(payload, ME, artifact_type="service", created_at_ms=NOW_MS))


def refused(text: object, now_ms: int = NOW_MS) -> str:
    with pytest.raises(RemoteError) as caught:
        cards.read(text, now_ms)
    return caught.value.reason


def test_a_card_says_who_serves_where() -> None:
    read = cards.read(card(), NOW_MS)
    assert read.pub == ME.pub
    assert read.gun == "https://relay.example:8765/gun"
    assert (read.turn, read.turns) == (None, None)
    assert read.certificate_pin == PIN
    assert read.expires_at_ms - read.issued_at_ms == LIFETIME_MS


def test_a_card_lasts_a_day_and_does_not_come_from_the_future() -> None:
    assert cards.read(card(), NOW_MS + LIFETIME_MS - 1).pub == ME.pub
    assert refused(card(), NOW_MS + LIFETIME_MS) == "card-age"
    assert cards.read(card(), NOW_MS - MAX_SKEW_MS).pub == ME.pub
    assert refused(card(), NOW_MS - MAX_SKEW_MS - 1) == "card-age"


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"kind": "key-card"},
        {"pub": "x"},
        {"gun": 5},
        {"turn": "t" * 513},
        {"certificatePin": "short"},
        {"issuedAt": 1.5},
        {"issuedAt": True},
        {"expiresAt": NOW_MS},
        {"expiresAt": NOW_MS + LIFETIME_MS + 1},
    ],
)
def test_what_is_no_card_is_refused(changes: dict[str, Any]) -> None:
    assert refused(signed(**changes)) == "card-shape"


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"payload":5}', "x" * 9_000])
def test_what_is_no_envelope_is_refused(text: object) -> None:
    assert refused(text) == "card-shape"


def test_only_the_key_of_the_card_can_sign_it() -> None:
    other = identity.generate(b"o" * 32)
    assert refused(signed(pub=other.pub)) == "card-signature"
    altered = json.loads(card())
    altered["payload"]["gun"] = "https://elsewhere.example/gun"
    assert refused(json.dumps(altered)) == "card-signature"


def test_the_desk_signs_anew_when_a_card_is_old_the_clock_was_set_or_the_certificate_changed() -> None:
    desk = CardDesk(ME, gun=None, certificate_pin=PIN)
    first = desk.text(NOW_MS)
    assert desk.text(NOW_MS + RENEW_MS - 1) == first
    assert cards.read(desk.text(NOW_MS + RENEW_MS), NOW_MS + RENEW_MS).issued_at_ms == NOW_MS + RENEW_MS
    assert cards.read(desk.text(NOW_MS), NOW_MS).issued_at_ms == NOW_MS
    desk.replace_pin(cards.pin(b"another key"))
    assert cards.read(desk.text(NOW_MS), NOW_MS).certificate_pin == cards.pin(b"another key")
