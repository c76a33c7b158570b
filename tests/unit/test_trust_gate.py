"""The gate: who may call us, open a conference, take part in one, and moderate; every rule by itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import schema
from sidecar.trust.domains import VISIBILITIES, Refusal, Role, Status
from sidecar.trust.gate import CallVerdict, Door, Level, TrustGate
from tests.signaling_kit import ALICE, BOB, MALLORY, friend, social, user

ME, FRIEND, STRANGER = BOB.fingerprint, ALICE.fingerprint, MALLORY.fingerprint
BLOCKED, KEYLESS, OWNER = (user(number).fingerprint for number in (11, 12, 13))
RING, REQUEST = CallVerdict(Door.RING), CallVerdict(Door.REQUEST)


def member(user_id: str, role: str = "member", status: str = "active") -> dict[str, Any]:
    return {"userId": user_id, "role": role, "status": status}


def gate(*members: dict[str, Any], rooms: list[Any] | None = None, **domain: Any) -> TrustGate:
    """A gate that knows a friend, a block, and the private domain ``d`` with us in it."""
    rules = domain.pop("rules", {})
    known = {"id": "d", "ownerId": OWNER, "visibility": "private", **domain, "rules": rules}
    return TrustGate(
        social(
            {
                "friends": [friend(ALICE), {"id": KEYLESS, "displayName": "k"}],
                "blocked": [BLOCKED],
                "domains": [{**known, "members": [member(ME), *members]}],
                "rooms": rooms or [],
            }
        ),
        ME,
    )


def room(*members: str, created_by: str | None = None) -> list[Any]:
    return [{"id": "r", "members": list(members), "createdBy": created_by}]


def denied(refusal: Refusal) -> CallVerdict:
    return CallVerdict(Door.DENY, refusal)


@pytest.mark.parametrize(
    ("user_id", "level", "verdict"),
    [
        (ME, Level.SELF, denied(Refusal.SELF)),
        (FRIEND, Level.VOUCHED, RING),
        (KEYLESS, Level.UNKNOWN, REQUEST),  # a fingerprint is no proof
        (STRANGER, Level.UNKNOWN, REQUEST),
        (BLOCKED, Level.REVOKED, denied(Refusal.BLOCKED)),
    ],
)
def test_a_call_is_answered_by_level(user_id: str, level: Level, verdict: CallVerdict) -> None:
    assert gate().level(user_id) is level
    assert gate().call(user_id) == verdict


def test_a_place_in_common_makes_a_community_and_does_not_ring() -> None:
    assert gate(member(STRANGER)).level(STRANGER) is Level.COMMUNITY
    assert gate(member(STRANGER)).call(STRANGER, domain_id="d") == REQUEST
    assert gate(member(STRANGER, status="pending")).level(STRANGER) is Level.UNKNOWN
    assert gate(rooms=room(STRANGER, ME)).level(STRANGER) is Level.COMMUNITY
    assert gate(rooms=room(ME, created_by=STRANGER)).level(STRANGER) is Level.COMMUNITY
    assert gate(rooms=room(STRANGER)).level(STRANGER) is Level.UNKNOWN


def test_a_block_outranks_friendship_and_ownership() -> None:
    known = {"friends": [friend(ALICE)], "blocked": [FRIEND]}
    with_domain = {**known, "domains": [{"id": "d", "ownerId": FRIEND}]}
    one = TrustGate(social(with_domain), ME)
    assert one.call(FRIEND, domain_id="d") == denied(Refusal.BLOCKED)
    assert one.join(FRIEND, "r", "d").refusal is Refusal.BLOCKED


@pytest.mark.parametrize(
    ("domain", "who", "refusal"),
    [
        ({}, FRIEND, Refusal.NOT_A_MEMBER),
        ({}, OWNER, None),
        ({"members": member(FRIEND)}, FRIEND, None),
        ({"members": member(FRIEND, "guest")}, FRIEND, None),
        ({"members": member(FRIEND, status="pending")}, FRIEND, Refusal.PENDING),
        ({"members": member(FRIEND, "admin", "suspended")}, FRIEND, Refusal.SUSPENDED),
        ({"members": member(FRIEND, status="banned"), "visibility": "public"}, FRIEND, Refusal.BANNED),
        ({"rules": {"blacklist": [FRIEND]}, "members": member(FRIEND)}, FRIEND, Refusal.BLACKLISTED),
        ({"rules": {"blacklist": [OWNER]}}, OWNER, None),
        ({"rules": {"whitelist": [STRANGER]}, "visibility": "public"}, FRIEND, Refusal.NOT_LISTED),
        ({"rules": {"whitelist": [FRIEND]}, "visibility": "public"}, FRIEND, None),
        ({"rules": {"whitelist": [FRIEND]}}, FRIEND, Refusal.NOT_A_MEMBER),
        ({"rules": {"whitelist": [STRANGER]}, "members": member(FRIEND)}, FRIEND, None),
        ({"visibility": "public"}, FRIEND, None),
        ({"visibility": "secret"}, FRIEND, Refusal.NOT_A_MEMBER),
        ({"visibility": "public", "rules": {"requiresApproval": True}}, FRIEND, Refusal.NOT_A_MEMBER),
        ({"visibility": "private", "rules": {"requiresApproval": False}}, FRIEND, Refusal.NOT_A_MEMBER),
        ({"visibility": "public", "rules": {"minReputation": 0.5}}, FRIEND, Refusal.NOT_A_MEMBER),
        ({"visibility": "public", "rules": {"minReputation": 0}}, FRIEND, None),
        ({"visibility": "public", "rules": {"minStakingTier": "Adept"}}, FRIEND, Refusal.NOT_A_MEMBER),
        ({"visibility": "public", "rules": {"minStakingTier": "Neophyte"}}, FRIEND, None),
    ],
)
def test_s21_a_domain_decides_on_calls_and_conferences(
    domain: dict[str, Any], who: str, refusal: Refusal | None
) -> None:
    options = dict(domain)
    members = [options.pop("members")] if "members" in options else []
    one = gate(*members, **options)
    expected = one.call(who) if refusal is None else denied(refusal)
    assert one.call(who, domain_id="d") == expected
    assert one.join(who, "r", "d").refusal is refusal
    assert one.join(who, "r", "d").allowed is (refusal is None)


def test_s21_we_must_be_in_it_too() -> None:
    document = {
        "friends": [friend(ALICE)],
        "rooms": [{"id": "r", "members": [FRIEND]}],
        "domains": [{"id": "d", "ownerId": FRIEND, "members": [member(ME, status="banned")]}],
    }
    one = TrustGate(social(document), ME)
    assert one.call(FRIEND, room_id="r") == denied(Refusal.NOT_IN_ROOM)
    assert one.call(FRIEND, domain_id="d") == denied(Refusal.BANNED)
    assert one.create(ME, "r2", "d").refusal is Refusal.BANNED


def test_s21_a_room_or_domain_that_we_left() -> None:
    state = social({"friends": [friend(ALICE)], "removed": {"rooms": ["r"], "domains": ["d"]}})
    one = TrustGate(state, ME)
    assert one.call(FRIEND, room_id="r") == denied(Refusal.LEFT)
    assert one.call(FRIEND, domain_id="d") == denied(Refusal.LEFT)
    assert one.join(FRIEND, "r").refusal is Refusal.LEFT
    assert one.create(ME, "other", "d").refusal is Refusal.LEFT
    state.merge({"rooms": room(FRIEND, ME)})  # the gate sees what holds now
    assert one.call(FRIEND, room_id="r") == RING


def test_a_room_decides_who_takes_part() -> None:
    one = gate(rooms=room(ME, STRANGER))
    assert one.call(FRIEND, room_id="r") == denied(Refusal.NOT_IN_ROOM)
    assert one.join(FRIEND, "r").refusal is Refusal.NOT_IN_ROOM
    assert one.join(STRANGER, "r").allowed
    assert one.create(STRANGER, "r").allowed
    assert one.call(STRANGER, room_id="r") == REQUEST


def test_a_place_that_we_do_not_know_neither_grants_nor_forbids() -> None:
    one = gate()
    assert one.call(FRIEND, "unknown room", "unknown domain") == RING
    assert one.call(STRANGER, "unknown room", "unknown domain") == REQUEST
    assert one.join(FRIEND, "unknown room", "unknown domain").allowed
    assert one.create(ME, "unknown room").allowed
    assert one.join(STRANGER, "unknown room", "unknown domain").refusal is Refusal.STRANGER


def test_conferences_of_a_domain_may_be_forbidden_and_bounded() -> None:
    off = gate(member(FRIEND), rules={"enableConferencing": False, "maxConferenceSize": 4})
    for verdict in (off.create(ME, "r", "d"), off.join(FRIEND, "r", "d"), off.create(OWNER, "r", "d")):
        assert verdict == (Refusal.CONFERENCING_OFF, 4)
    assert off.call(FRIEND, domain_id="d") == RING  # a call of two is no conference
    bounded = gate(member(FRIEND), rules={"maxConferenceSize": 4})
    assert bounded.join(FRIEND, "r", "d") == (None, 4)
    assert gate(member(FRIEND)).join(FRIEND, "r", "d") == (None, None)


def test_a_call_that_has_grown_takes_whom_a_member_asks_in() -> None:
    one = gate(member(FRIEND, "member", "banned"))
    assert one.join(STRANGER, None).allowed
    assert one.join(FRIEND, None).allowed
    assert one.join(FRIEND, None, "d").refusal is Refusal.BANNED
    assert one.join(BLOCKED, None).refusal is Refusal.BLOCKED


def test_guests_take_part_and_do_not_open() -> None:
    one = gate(member(FRIEND, "guest"))
    assert one.join(FRIEND, "r", "d").allowed
    assert one.create(FRIEND, "r", "d").refusal is Refusal.GUEST
    assert one.create(ME, "r", "d").allowed


def test_who_moderates() -> None:
    one = gate(
        member(FRIEND, "admin"), member(STRANGER, "admin", "suspended"), rooms=room(ME, created_by=KEYLESS)
    )
    place: dict[str, Any] = {"initiator_id": "i", "room_id": "r", "domain_id": "d"}
    assert {who for who in ("i", KEYLESS, OWNER, FRIEND, STRANGER, ME) if one.moderates(who, **place)} == {
        "i",
        KEYLESS,
        OWNER,
        FRIEND,
    }
    assert not one.moderates(OWNER, initiator_id="i")


def test_the_words_are_those_of_the_schema() -> None:
    """The schema may not be loaded before the ready line, when the configuration is checked."""
    assert [role.value for role in Role] == [role.value for role in schema.DomainRole]
    assert {status.value for status in Status} == {status.value for status in schema.MembershipStatus}
    assert set(VISIBILITIES) == {visibility.value for visibility in schema.DomainVisibility}


PEOPLE = (ME, FRIEND, STRANGER, BLOCKED, KEYLESS, OWNER)
MEMBERS = st.lists(
    st.builds(
        member,
        st.sampled_from(PEOPLE),
        st.sampled_from([role.value for role in Role]),
        st.sampled_from([status.value for status in Status]),
    ),
    max_size=8,
)
LISTS = st.lists(st.sampled_from(PEOPLE), max_size=3)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "whitelist": LISTS,
        "blacklist": LISTS,
        "requiresApproval": st.booleans(),
        "minReputation": st.sampled_from([0, 1]),
        "enableConferencing": st.booleans(),
        "maxConferenceSize": st.integers(2, 9),
    },
)


@given(MEMBERS, RULES, st.sampled_from(VISIBILITIES), LISTS)
def test_no_rules_let_a_blocked_or_banned_user_in(
    members: list[dict[str, Any]], rules: dict[str, Any], visibility: str, room_members: list[str]
) -> None:
    one = gate(*members, visibility=visibility, rules=rules, rooms=room(*room_members))
    standing = {ME: "active"} | {entry["userId"]: entry["status"] for entry in members}
    for who in PEOPLE:
        verdict = one.call(who, "r", "d")
        assert (verdict.door is Door.DENY) == (verdict.refusal is not None)
        if verdict.door is Door.RING:
            assert who == FRIEND
        if one.create(who, "r", "d").allowed:
            assert one.join(who, "r", "d").allowed
        if one.join(who, "r", "d").allowed:
            assert who != BLOCKED
            assert who in room_members or not room_members
            assert who == OWNER or standing.get(who, "active") == "active"
            assert rules.get("enableConferencing", True)
            assert who == OWNER or who not in rules.get("blacklist", ())
