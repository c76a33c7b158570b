"""Key cards and pins: what a device says about its keys, and what we do not unlearn."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sidecar.errors import RemoteError
from sidecar.trust import boxkeys, cards, envelope, identity
from sidecar.trust.cards import MAX_AGE_MS, KeyCard
from sidecar.trust.pins import MAX_DEVICES, KeyChange, Pin, Pins, PinState
from tests.signaling_kit import ALICE, ALICE_DEVICE, BOB, BOB_DEVICE, NOW_MS, user

KEYS = boxkeys.rotate((), NOW_MS, b"\x09" * 32)
SEA = {"pub": "a" * 43 + "." + "b" * 43, "priv": "p", "epub": "c" * 43 + "." + "d" * 43, "epriv": "q"}


def issue(now_ms: int = NOW_MS, device: str = BOB_DEVICE) -> str:
    return cards.issue(BOB, device, KEYS, now_ms)


def test_a_card_says_full_key_device_and_box_keys() -> None:
    card = cards.read(issue(), BOB.fingerprint, NOW_MS)
    assert (card.pub, card.device, card.issued_at_ms) == (BOB.pub, BOB_DEVICE, NOW_MS)
    assert card.box_keys == (cards.CardKey(KEYS[0].kid, KEYS[0].public, KEYS[0].not_after_ms),)
    assert card.box_key(NOW_MS) == card.box_keys[0]
    assert card.box_key(KEYS[0].not_after_ms) is None
    assert KEYS[0].private.hex() not in issue()
    assert BOB.priv not in issue()


def test_a_card_binds_the_sea_pair() -> None:
    owner = identity.generate(b"\x44" * 32, SEA)
    card = cards.read(cards.issue(owner, BOB_DEVICE, KEYS, NOW_MS), owner.fingerprint, NOW_MS)
    assert (card.sea_pub, card.sea_epub) == (SEA["pub"], SEA["epub"])


def payload_of(text: str) -> dict[str, Any]:
    return json.loads(text)["payload"]


def signed(payload: Any, by: identity.Identity = BOB) -> str:
    return envelope.to_text(envelope.sign(payload, by, artifact_type="service", created_at_ms=NOW_MS))


def test_a_card_of_another_owner_is_refused() -> None:
    with pytest.raises(RemoteError, match="card-owner"):
        cards.read(issue(), ALICE.fingerprint, NOW_MS)
    with pytest.raises(RemoteError, match="card-owner"):
        cards.read(signed(payload_of(issue()) | {"fingerprint": ALICE.fingerprint}), BOB.fingerprint, NOW_MS)


def test_a_card_signed_by_somebody_else_is_refused() -> None:
    with pytest.raises(RemoteError, match="card-signature"):
        cards.read(signed(payload_of(issue()), by=ALICE), BOB.fingerprint, NOW_MS)
    with pytest.raises(RemoteError, match="card-signature"):
        cards.read(issue().replace(BOB_DEVICE, ALICE_DEVICE), BOB.fingerprint, NOW_MS)


@pytest.mark.parametrize("age_ms", [MAX_AGE_MS + 1, -60_001])
def test_an_old_or_future_card_is_refused(age_ms: int) -> None:
    with pytest.raises(RemoteError, match="card-age"):
        cards.read(issue(), BOB.fingerprint, NOW_MS + age_ms)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"kind": "invite"},
        {"pub": BOB.pub[:-1]},
        {"pub": 5},
        {"device": "B2" * 8},
        {"device": None},
        {"issuedAt": "now"},
        {"issuedAt": True},
        {"boxKeys": {}},
        {"boxKeys": [{}]},
        {"boxKeys": [{"kid": "00" * 8, "x25519": "AAAA", "notAfter": 1}]},
        {"boxKeys": payload_of(cards.issue(BOB, BOB_DEVICE, KEYS, NOW_MS))["boxKeys"] * 5},
        {"seaPub": "short"},
    ],
)
def test_a_malformed_card_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RemoteError, match="card-shape"):
        cards.read(signed(payload_of(issue()) | change), BOB.fingerprint, NOW_MS)


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"payload":1}', "x" * 9000, '{"payload":{"v":1}}'])
def test_what_is_no_card_is_refused(text: object) -> None:
    with pytest.raises(RemoteError, match="card-shape"):
        cards.read(text, BOB.fingerprint, NOW_MS)


def card(issued_at_ms: int, device: str = BOB_DEVICE, who: identity.Identity = BOB) -> KeyCard:
    return KeyCard(who.pub, device, issued_at_ms, ())


def test_the_first_key_is_pinned_and_another_one_is_reported() -> None:
    pins = Pins()
    assert pins.compare("u", BOB.pub) is PinState.NEW
    assert pins.learn("u", BOB.pub) is PinState.NEW
    assert pins.learn("u", BOB.pub) is PinState.SAME
    assert pins.learn("u", ALICE.pub) is PinState.CHANGED
    assert pins.pub("u") == BOB.pub


def test_our_social_copy_outranks_what_was_learnt() -> None:
    pins = Pins()
    pins.learn("u", ALICE.pub)
    assert pins.hold("u", BOB.pub) is PinState.CHANGED
    assert pins.pub("u") == BOB.pub


def test_never_an_older_card_of_a_device() -> None:
    pins = Pins()
    assert pins.take_card("u", card(NOW_MS))
    assert not pins.take_card("u", card(NOW_MS - 1))
    assert not pins.take_card("u", card(NOW_MS))
    assert pins.take_card("u", card(NOW_MS + 1))
    assert not pins.take_card("u", card(NOW_MS + 2, who=ALICE))
    assert [known.issued_at_ms for known in pins.cards("u", NOW_MS)] == [NOW_MS + 1]


def test_cards_of_several_devices_newest_first_without_the_expired() -> None:
    pins = Pins()
    pins.take_card("u", card(NOW_MS, "01" * 8))
    pins.take_card("u", card(NOW_MS + 5, "02" * 8))
    assert [known.device for known in pins.cards("u", NOW_MS)] == ["02" * 8, "01" * 8]
    assert [known.device for known in pins.cards("u", NOW_MS + MAX_AGE_MS + 3)] == ["02" * 8]
    assert pins.cards("nobody", NOW_MS) == ()


def test_devices_and_strangers_are_bounded_and_contacts_stay() -> None:
    pins = Pins(max_users=3)
    for number in range(MAX_DEVICES + 3):
        pins.take_card("u", card(NOW_MS + number, f"{number:016x}"))
    assert len(pins.cards("u", NOW_MS)) == MAX_DEVICES
    pins.hold("friend", ALICE.pub)
    for number in range(10):
        pins.learn(f"stranger {number}", user(number + 10).pub)
    assert pins.pub("friend") == ALICE.pub
    assert pins.pub("stranger 9") is not None
    assert pins.pub("stranger 0") is None


def test_pins_survive_a_restart() -> None:
    pins = Pins()
    pins.take_card(BOB.fingerprint, cards.read(issue(), BOB.fingerprint, NOW_MS))
    pins.learn("other", ALICE.pub)
    saved = msgspec.json.decode(msgspec.json.encode(pins.take_changes()), type=dict[str, Pin])
    restored = Pins()
    restored.learn("other", BOB.pub)
    restored.take_changes()
    restored.restore(saved)
    assert restored.take_changes() == {}
    assert restored.cards(BOB.fingerprint, NOW_MS) == pins.cards(BOB.fingerprint, NOW_MS)
    assert restored.pub("other") == BOB.pub


def test_a_foreign_key_is_told_of_once_and_never_taken() -> None:
    pins = Pins()
    pins.learn("u", BOB.pub)
    assert pins.check("u", ALICE.pub) is PinState.CHANGED
    assert pins.check("u", ALICE.pub) is PinState.CHANGED
    assert pins.take_reports() == [KeyChange("u", BOB.pub, ALICE.pub)]
    assert pins.check("u", ALICE.pub) is PinState.CHANGED
    assert pins.take_reports() == []
    assert pins.pub("u") == BOB.pub


def test_a_new_key_from_our_own_social_copy_is_taken_and_told_of() -> None:
    pins = Pins()
    pins.take_card("u", card(NOW_MS))
    pins.hold("u", ALICE.pub)
    assert pins.take_reports() == [KeyChange("u", BOB.pub, ALICE.pub)]
    assert pins.pub("u") == ALICE.pub
    assert pins.cards("u", NOW_MS) == ()  # of the old key
    assert not pins.take_card("u", card(NOW_MS + 1))


def test_reports_are_bounded() -> None:
    pins = Pins()
    pins.learn("u", BOB.pub)
    for number in range(600):
        pins.check("u", f"key {number}")
    assert len(pins._reported) == 256


def test_what_changed_is_gathered_until_it_is_taken() -> None:
    pins = Pins(max_users=2)
    pins.learn("u", BOB.pub)
    pins.learn("u", BOB.pub)
    pins.take_card("u", card(NOW_MS))
    assert pins.take_changes() == {"u": Pin(BOB.pub, (card(NOW_MS),))}
    assert pins.take_changes() == {}
    pins.hold("friend", ALICE.pub)
    pins.learn("stranger", user(9).pub)
    assert pins.take_changes() == {
        "friend": Pin(ALICE.pub, ()),
        "u": None,
        "stranger": Pin(user(9).pub, ()),
    }
    pins.release("friend")
    for number in range(10, 12):
        pins.learn(f"stranger {number}", user(number).pub)
    assert pins.pub("friend") is None
