"""The social copy: how it is merged, who is a contact, who is blocked, and what of it cannot be used."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import Code, LocalError
from sidecar.trust.domains import Role
from sidecar.trust.social import LIMITS, Change, Contact, Fact, SocialState
from tests.signaling_kit import ALICE, BOB, MALLORY, friend, friends, social

ROOM = {"id": "room_1", "name": "R", "members": [ALICE.fingerprint], "createdBy": BOB.fingerprint}
DOMAIN = {
    "id": "d1",
    "ownerId": BOB.fingerprint,
    "visibility": "public",
    "rules": {"requiresApproval": True, "maxConferenceSize": 5},
    "members": [{"userId": ALICE.fingerprint, "role": "admin", "status": "active"}],
}
EVERYTHING: dict[str, Any] = {
    "friends": [friend(ALICE, "Alice")],
    "rooms": [ROOM],
    "domains": [DOMAIN],
    "blocked": [MALLORY.fingerprint],
    "self": {"displayName": "Me"},
}
NOTHING: list[dict[str, Any]] = [
    {},
    {"friends": [], "rooms": [], "domains": [], "blocked": []},
    {"friends": None, "blocked": None, "self": None, "removed": None},
    {"self": {"displayName": ""}, "removed": {"friends": [], "rooms": [], "domains": None}},
    {"friends": [{"id": ALICE.fingerprint, "displayName": "", "publicKey": ""}]},
    {"friends": [{"id": ALICE.fingerprint, "status": "online", "lastSeen": 1}]},
    {"rooms": [{"id": "room_1", "members": []}]},
    {"domains": [{"id": "d1", "ownerId": BOB.fingerprint}]},
]


@pytest.mark.parametrize("nothing", NOTHING)
def test_what_is_absent_or_empty_changes_nothing(nothing: dict[str, Any]) -> None:
    state = social(EVERYTHING)
    assert state.merge(nothing) == ()
    assert state.merge(EVERYTHING) == ()
    assert state.counts() == {"friends": 1, "rooms": 1, "domains": 1, "blocked": 1}
    contact = state.contact(ALICE.fingerprint)
    assert contact == Contact(ALICE.fingerprint, "Alice", ALICE.pub)
    assert state.is_blocked(MALLORY.fingerprint)
    assert state.self_name == "Me"


def test_removals_are_explicit() -> None:
    state = social(EVERYTHING)
    changes = state.merge(
        {"removed": {"friends": [ALICE.fingerprint], "rooms": ["room_1", "never seen"], "domains": ["d1"]}}
    )
    assert set(changes) == {
        Change(Fact.FRIEND, ALICE.fingerprint, None),
        Change(Fact.ROOM, "room_1", None),
        Change(Fact.DOMAIN, "d1", None),
        Change(Fact.LEFT_ROOM, "room_1", True),
        Change(Fact.LEFT_ROOM, "never seen", True),
        Change(Fact.LEFT_DOMAIN, "d1", True),
    }
    assert state.counts() == {"friends": 0, "rooms": 0, "domains": 0, "blocked": 1}
    assert (state.contact(ALICE.fingerprint), state.name(ALICE.fingerprint)) == (None, None)
    state.merge({"rooms": [ROOM], "domains": [DOMAIN]})  # invited again
    assert not state.has_left(Fact.ROOM, "room_1")
    assert not state.has_left(Fact.DOMAIN, "d1")


def test_a_block_ends_only_by_being_lifted() -> None:
    state = social(EVERYTHING)
    state.merge({"blocked": [], "removed": {"friends": [MALLORY.fingerprint]}})
    state.merge({"blocked": [BOB.fingerprint], "friends": [friend(MALLORY)]})
    assert state.counts()["blocked"] == 2
    assert state.block(MALLORY.fingerprint) == ()
    assert state.unblock(MALLORY.fingerprint) == (Change(Fact.BLOCKED, MALLORY.fingerprint, None),)
    assert state.unblock(MALLORY.fingerprint) == ()
    assert not state.is_blocked(MALLORY.fingerprint)
    assert state.is_blocked(BOB.fingerprint)


def test_a_friend_with_a_full_key_is_a_contact() -> None:
    state = social(
        {
            "friends": [
                {**friend(ALICE, "Alice"), "status": "online", "resonance": 0.5, "lastSeen": 1},
                {"id": BOB.fingerprint, "displayName": "Bob", "publicKey": ""},
            ],
        }
    )
    alice = state.contact(ALICE.fingerprint)
    assert alice is not None
    assert alice.pub == ALICE.pub
    assert state.contact(BOB.fingerprint) is None  # without a key only the name is known
    assert state.name(BOB.fingerprint) == "Bob"
    assert state.name("0" * 16) is None
    assert state.contacts() == (alice,)
    (change,) = state.merge({"friends": [friend(BOB, "Robert")]})
    assert change == Change(Fact.FRIEND, BOB.fingerprint, Contact(BOB.fingerprint, "Robert", BOB.pub))


def test_blocked_contacts_are_not_listened_to() -> None:
    state = friends(ALICE, BOB, blocked=(BOB.fingerprint,))
    assert [contact.user_id for contact in state.contacts()] == [ALICE.fingerprint]
    assert social({"blocked": [{"id": BOB.fingerprint}]}).is_blocked(BOB.fingerprint)
    state.unblock(BOB.fingerprint)
    assert len(state.contacts()) == 2


def test_what_the_lists_say_last_is_what_holds() -> None:
    state = social(EVERYTHING)
    state.merge(
        {
            "rooms": [{"id": "room_1", "members": [BOB.fingerprint, MALLORY.fingerprint]}],
            "domains": [{**DOMAIN, "rules": {"enableConferencing": False}, "visibility": "secret"}],
        }
    )
    room, domain = state.room("room_1"), state.domain("d1")
    assert room is not None
    assert room.members == {BOB.fingerprint, MALLORY.fingerprint}
    assert room.created_by == BOB.fingerprint
    assert domain is not None
    assert not domain.public
    assert not domain.rules.enable_conferencing
    assert domain.rules.max_conference_size is None  # rules are one value
    assert domain.role(ALICE.fingerprint) is Role.ADMIN


def test_a_saved_copy_is_the_same_copy() -> None:
    state = SocialState()
    changes = state.merge(EVERYTHING) + state.merge({"removed": {"rooms": ["room_1"]}})
    saved = {(change.fact, change.fact_id): change for change in changes}
    restored = SocialState(change for change in saved.values() if change.value is not None)
    assert restored._facts == state._facts


def test_nothing_is_needed() -> None:
    state = social({})
    assert (state.contacts(), state.self_name) == ((), "")
    assert not state.is_blocked(BOB.fingerprint)


def test_names_are_cut_and_cannot_disguise_themselves() -> None:
    assert social({"friends": [friend(ALICE, "x" * 100)]}).name(ALICE.fingerprint) == "x" * 64
    state = social({"friends": [friend(ALICE, "Al\u202ei\x00ce\n")], "self": {"displayName": "\tB\x1bob"}})
    assert (state.name(ALICE.fingerprint), state.self_name) == ("Alice", "Bob")
    state.merge({"friends": [friend(ALICE, "\x00\n")]})  # nothing is left of it
    assert state.name(ALICE.fingerprint) == "Alice"


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"friends": {}}, "social.friends"),
        ({"friends": [5]}, "social.friends[0]"),
        ({"friends": [{}]}, "social.friends[0].id"),
        ({"friends": [{"id": "A" * 16}]}, "social.friends[0].id"),
        ({"friends": [{"id": ["x"]}]}, "social.friends[0].id"),
        ({"friends": [friend(ALICE), {**friend(BOB), "displayName": 5}]}, "social.friends[1].displayName"),
        ({"friends": [{**friend(ALICE), "publicKey": "AAAA"}]}, "social.friends[0].publicKey"),
        ({"friends": [{**friend(ALICE), "publicKey": 5}]}, "social.friends[0].publicKey"),
        ({"friends": [{**friend(ALICE), "id": BOB.fingerprint}]}, "social.friends[0].id"),
        ({"friends": [{"id": f"{n:016x}"} for n in range(LIMITS[Fact.FRIEND] + 1)]}, "social.friends"),
        ({"blocked": "all"}, "social.blocked"),
        ({"blocked": [None]}, "social.blocked[0]"),
        ({"blocked": [{"id": {}}]}, "social.blocked[0]"),
        ({"self": "me"}, "social.self"),
        ({"self": {"displayName": [1]}}, "social.self.displayName"),
        ({"rooms": [{"id": "", "members": []}]}, "social.rooms[0].id"),
        ({"rooms": [{"id": {}, "members": []}]}, "social.rooms[0].id"),
        ({"rooms": [{"id": "r", "members": [5]}]}, "social.rooms[0].members[0]"),
        ({"rooms": [{"id": "r", "members": ["x"] * 10_001}]}, "social.rooms[0].members"),
        ({"rooms": [{"id": "r", "createdBy": 7}]}, "social.rooms[0].createdBy"),
        ({"domains": [{"id": "d"}]}, "social.domains[0].ownerId"),
        ({"domains": [{**DOMAIN, "visibility": "hidden"}]}, "social.domains[0].visibility"),
        ({"domains": [{**DOMAIN, "rules": []}]}, "social.domains[0].rules"),
        ({"domains": [{**DOMAIN, "rules": {"whitelist": "x"}}]}, "social.domains[0].rules.whitelist"),
        (
            {"domains": [{**DOMAIN, "rules": {"maxConferenceSize": 1}}]},
            "social.domains[0].rules.maxConferenceSize",
        ),
        (
            {"domains": [{**DOMAIN, "rules": {"enableConferencing": "no"}}]},
            "social.domains[0].rules.enableConferencing",
        ),
        ({"domains": [{**DOMAIN, "rules": {"minStakingTier": 3}}]}, "social.domains[0].rules.minStakingTier"),
        ({"domains": [{**DOMAIN, "members": [{"role": "king"}]}]}, "social.domains[0].members[0].role"),
        ({"domains": [{**DOMAIN, "members": [{"role": "owner"}]}]}, "social.domains[0].members[0].userId"),
        ({"removed": []}, "social.removed"),
        ({"removed": {"rooms": "all"}}, "social.removed.rooms"),
        ({"removed": {"rooms": [None]}}, "social.removed.rooms[0]"),
        (
            {"rooms": [{"id": str(n), "members": [f"u{m}" for m in range(10_000)]} for n in range(21)]},
            "social.rooms",
        ),
    ],
)
def test_what_cannot_be_used_is_named_and_changes_nothing(document: dict[str, Any], named: str) -> None:
    state = social(EVERYTHING)
    with pytest.raises(LocalError) as caught:
        state.merge({"blocked": [BOB.fingerprint], **document}, "social")
    assert caught.value.message.startswith(named + ":") or caught.value.message.startswith(named + ".id:")
    assert caught.value.code is Code.INVALID_PARAMS
    assert state.merge(EVERYTHING) == ()
    assert not state.is_blocked(BOB.fingerprint)


def test_all_of_it_is_bounded() -> None:
    state = SocialState()
    for number in range(0, 2 * LIMITS[Fact.LEFT_ROOM], 1_000):
        state.merge({"removed": {"rooms": [f"r{number + at}" for at in range(1_000)]}})
    assert not state.has_left(Fact.ROOM, "r0")
    assert state.has_left(Fact.ROOM, "r3999")
    limit = LIMITS[Fact.BLOCKED]
    state.merge({"blocked": [f"{number:016x}" for number in range(limit)]})
    with pytest.raises(LocalError, match="blocked"):
        state.block("f" * 16)
    state.unblock("0" * 16)
    assert len(state.block("f" * 16)) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = ("id", "displayName", "publicKey", "members", "createdBy", "ownerId", "rules", "visibility", "userId",
         "role", "status", "whitelist", "friends", "rooms", "domains")  # fmt: skip
INNER = st.lists(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5), max_size=3)
SHAPED = st.dictionaries(st.sampled_from(NAMES), JSON | INNER, max_size=6)


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(("friends", "rooms", "domains", "blocked", "self", "removed", "other")),
        JSON | SHAPED | st.lists(SHAPED, max_size=3),
        max_size=5,
    )
)
def test_no_shape_raises_anything_but_a_named_error(document: dict[str, Any]) -> None:
    state = social(EVERYTHING)
    try:
        state.merge(document)
    except LocalError:
        assert state.merge(EVERYTHING) == ()
    else:
        assert state.merge(document) == ()  # whatever was taken is taken to the same end again
    assert state.is_blocked(MALLORY.fingerprint)
