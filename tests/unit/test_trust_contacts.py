"""The social copy: who is a contact, who is blocked, and what of it cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.errors import Code, LocalError
from sidecar.trust.contacts import MAX_FRIENDS, Contacts
from tests.signaling_kit import ALICE, BOB, friend, friends


def test_a_friend_with_a_full_key_is_a_contact() -> None:
    contacts = Contacts.from_social(
        {
            "friends": [
                {**friend(ALICE, "Alice"), "status": "online", "resonance": 0.5, "lastSeen": 1},
                {"id": BOB.fingerprint, "displayName": "Bob", "publicKey": ""},
            ],
            "rooms": [{"id": "room_1"}],
            "self": {"displayName": "Me"},
        }
    )
    alice = contacts.contact(ALICE.fingerprint)
    assert alice is not None
    assert (alice.pub, alice.public_key) == (ALICE.pub, ALICE.public_key)
    assert contacts.contact(BOB.fingerprint) is None  # without a key only the name is known
    assert contacts.name(BOB.fingerprint) == "Bob"
    assert contacts.name("0" * 16) is None
    assert contacts.self_name == "Me"
    assert contacts.all() == (alice,)


def test_nothing_is_needed() -> None:
    contacts = Contacts.from_social({})
    assert (contacts.all(), contacts.self_name) == ((), "")
    assert not contacts.is_blocked(BOB.fingerprint)


def test_blocked_contacts_are_not_listened_to() -> None:
    contacts = friends(ALICE, BOB, blocked=(BOB.fingerprint,))
    assert contacts.is_blocked(BOB.fingerprint)
    assert [contact.user_id for contact in contacts.all()] == [ALICE.fingerprint]
    assert Contacts.from_social({"blocked": [{"id": BOB.fingerprint}]}).is_blocked(BOB.fingerprint)


def test_names_are_cut() -> None:
    contacts = Contacts.from_social({"friends": [friend(ALICE, "x" * 100)]})
    assert contacts.name(ALICE.fingerprint) == "x" * 64


@pytest.mark.parametrize(
    ("social", "named"),
    [
        ({"friends": {}}, "social.friends"),
        ({"friends": [5]}, "social.friends[0]"),
        ({"friends": [{}]}, "social.friends[0].id"),
        ({"friends": [{"id": "A" * 16}]}, "social.friends[0].id"),
        ({"friends": [friend(ALICE), {**friend(BOB), "displayName": 5}]}, "social.friends[1].displayName"),
        ({"friends": [{**friend(ALICE), "publicKey": "AAAA"}]}, "social.friends[0].publicKey"),
        ({"friends": [{**friend(ALICE), "publicKey": 5}]}, "social.friends[0].publicKey"),
        ({"friends": [{**friend(ALICE), "id": BOB.fingerprint}]}, "social.friends[0].id"),
        ({"friends": [friend(ALICE)] * (MAX_FRIENDS + 1)}, "social.friends"),
        ({"blocked": "all"}, "social.blocked"),
        ({"blocked": [None]}, "social.blocked[0]"),
        ({"self": "me"}, "social.self"),
        ({"self": {"displayName": []}}, "social.self.displayName"),
    ],
)
def test_what_cannot_be_used_is_named(social: dict[str, Any], named: str) -> None:
    with pytest.raises(LocalError) as caught:
        Contacts.from_social(social)
    assert caught.value.message.startswith(named + ":")
    assert caught.value.code is Code.INVALID_PARAMS
