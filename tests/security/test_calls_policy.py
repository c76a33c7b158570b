"""Who may reach our user: the social copy at the door of calls and conferences, seen by those who knock.

Whole nodes on a graph in memory; what a stranger or a blocked user could learn is compared with what it
learns of somebody who is away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.schema import CallState
from sidecar.signaling import layout, sealing
from sidecar.signaling.messages import InviteBody
from sidecar.signaling.sealing import Lock
from sidecar.trust import boxkeys, identity
from sidecar.trust.identity import Identity
from sidecar.trust.pins import Pin
from tests.homes import Home, Street, settle
from tests.signaling_kit import (
    ALICE,
    BOB,
    MALLORY,
    SESSION,
    MemoryTrust,
    SeededRandom,
    signal_from,
    user,
)

CAROL = user(4)
ROOM = "room_1"


def room(*people: Identity, room_id: str = ROOM) -> dict[str, Any]:
    members = [who.fingerprint for who in people]
    return {"id": room_id, "members": members, "createdBy": members[0]}


def domain(*members: tuple[Identity, str, str], owner: Identity, **rules: Any) -> dict[str, Any]:
    return {
        "id": "d",
        "ownerId": owner.fingerprint,
        "rules": rules,
        "members": [{"userId": w.fingerprint, "role": r, "status": s} for w, r, s in members],
    }


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    made = Street(tmp_path)
    yield made
    await made.close()


async def call(caller: Home, callee: Home | Identity, **more: Any) -> str:
    user_id = callee.user_id if isinstance(callee, Home) else callee.fingerprint
    return str((await caller("call:initiate", userId=user_id, type="audio", **more))["id"])


def unheard(home: Home) -> bool:
    """Whether nothing has reached this user, and nobody has learnt anything of this node."""
    return home.hub.events == [] and home.said == 0 and home.media.sent == [] and home.history.records == []


# --- calls of our user ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user_id", "code"),
    [
        (ALICE.fingerprint, "invalid-params"),
        (MALLORY.fingerprint, "policy.blocked"),
        ("0" * 16, "invalid-params"),
        ("x" * 1000, "invalid-params"),
        ("x" * 128, "invalid-params"),
        ("../keys#<?1", "invalid-params"),
        ("", "invalid-params"),
    ],
)
async def test_C16_a_call_to_nobody_who_can_be_called_is_denied_with_a_code(
    street: Street, user_id: str, code: str
) -> None:
    alice = await street.home(ALICE, BOB, blocked=[MALLORY.fingerprint])
    error = await alice.refused("call:initiate", userId=user_id, type="audio")
    assert error.code.value == code
    if code == "invalid-params":
        assert "userId" in error.message
        assert error.details is not None
        assert error.details["field"] == "userId"
    assert unheard(alice)
    assert await alice("call:list-active") == []
    talk = await call(alice, BOB)
    assert await alice.code("conference:invite", callId=talk, userId=user_id) == code


async def test_C16_an_unknown_user_whom_no_relay_can_be_asked_for(street: Street) -> None:
    alice = await street.home(ALICE)
    street.graph.reachable = False
    assert await alice.code("call:initiate", userId="0" * 16, type="audio") == "graph.unreachable"
    assert await alice("call:list-active") == []


async def test_the_rules_of_a_place_hold_for_our_own_user_too(street: Street) -> None:
    places = {
        "rooms": [room(ALICE, CAROL), room(BOB, CAROL, room_id="theirs")],
        "domains": [domain((ALICE, "member", "active"), (BOB, "member", "banned"), owner=CAROL)],
        "removed": {"rooms": ["left"]},
    }
    alice = await street.home(ALICE, BOB, **places)
    bob = {"userId": BOB.fingerprint, "type": "audio"}
    for place in ({"roomId": ROOM}, {"roomId": "theirs"}, {"roomId": "left"}, {"domainId": "d"}):
        assert await alice.code("call:initiate", **bob, **place) == "policy.blocked"
    assert await alice.code("conference:create", roomId="left", type="audio") == "policy.blocked"
    assert await alice.code("conference:create", roomId="theirs", type="audio") == "policy.blocked"
    assert await alice.code("conference:create", roomId="unheard of", type="audio") == "invalid-params"
    for elsewhere in ("left", "theirs"):
        assert await alice.code("conference:peek", roomId=elsewhere) == "policy.blocked"
    assert await alice("conference:peek", roomId="unheard of") == {"participants": []}
    assert unheard(alice)


# --- strangers and blocked users ------------------------------------------------------------------------


async def test_S22_a_stranger_gets_neither_candidates_nor_words_before_our_user_acts(street: Street) -> None:
    mallory, bob = await street.home(MALLORY), await street.home(BOB)
    call_id = await call(mallory, bob)
    (request,) = bob.events("callRequest")
    assert (request.call_id, request.verified) == (call_id, False)
    assert bob.events("callOffer") == []
    assert bob.said == 0
    assert bob.media.opened() == []
    watching = {soul for soul in street.graph.watched() if soul.startswith("calls/s/")}
    assert [len(street.graph.watchers[soul]) for soul in watching] == [1]  # the caller
    assert mallory.media.connections() == set()  # an invitation of a stranger carries no offer
    assert await bob("call:list-active") == []  # nothing rings
    await bob("call:accept", callId=call_id)
    assert bob.said == 1
    assert len(bob.media.opened()) == 2
    assert (await bob("call:get", callId=call_id))["state"] == "active"


async def test_S22_a_friend_gets_no_candidates_before_the_call_is_taken(street: Street) -> None:
    alice, bob = await street.home(ALICE, BOB), await street.home(BOB, ALICE)
    call_id = await call(alice, bob)
    assert len(bob.events("callOffer")) == 1
    assert bob.media.opened() == []
    await bob("call:reject", callId=call_id)
    assert bob.media.opened() == []


@pytest.mark.parametrize("how", ["lets it be", "blocks him", "ends the program"])
async def test_a_stranger_learns_nothing_of_a_user_who_does_not_take_the_call(
    street: Street, how: str
) -> None:
    mallory, bob = await street.home(MALLORY), await street.home(BOB)
    call_id = await call(mallory, bob)
    if how == "lets it be":
        bob.later(61)
    elif how == "blocks him":
        await bob("social:block", userId=mallory.user_id)
        assert await bob.code("call:accept", callId=call_id) == "call.wrong-state"
    else:
        await bob.calling.close(app_gone=False, within_s=0.1)
    await settle()
    assert bob.said == 0
    assert len(mallory.hub.events) == 1  # that it is being dialled


async def test_strangers_ring_three_times_a_minute_where_they_may_ring(street: Street) -> None:
    bob = await street.home(BOB, calls={"strangersRing": True})
    for number in range(5):
        stranger = await street.home(user(50 + number))
        call_id = await call(stranger, bob)
        for offer in bob.events("callOffer")[-1:]:
            await bob("call:end", callId=offer.call_id)
        assert call_id in {event.call_id for event in [*bob.events("callOffer"), *bob.events("callRequest")]}
    assert len(bob.events("callOffer")) == 3
    assert len(bob.events("callRequest")) == 2


@pytest.mark.parametrize("way", ["as a friend", "as a stranger", "by a room", "from another device"])
async def test_S17_a_blocked_user_sees_what_it_sees_of_somebody_who_is_away(tmp_path: Path, way: str) -> None:
    seen = []
    for there in (True, False):
        street = Street(tmp_path / str(there))
        contacts = () if way == "as a stranger" else (BOB,)
        places = {"rooms": [room(MALLORY, BOB)]} if way == "by a room" else {}
        bob = await street.home(BOB, MALLORY, blocked=[MALLORY.fingerprint], **places)
        if not there:
            await bob.signaling.stop()
        if way == "from another device":
            await street.home(MALLORY, *contacts, **places)
        mallory = await street.home(MALLORY, *contacts, **places)
        by = {"roomId": ROOM} if way == "by a room" else {}
        call_id = await call(mallory, bob, **by)
        await street.later(65)
        assert unheard(bob)
        session = await mallory("call:get", callId=call_id)
        events = [(name, getattr(data, "state", None)) for name, data in mallory.hub.events]
        seen.append((session["state"], session["endReason"], events, sorted(map(len, street.graph.souls))))
        if there:
            assert bob.counters["signal.dropped.blocked"] >= 1
        await street.close()
    assert seen[0] == seen[1]


async def test_S17_a_block_ends_the_call_that_lives_and_says_goodbye(street: Street) -> None:
    alice, bob = await street.home(ALICE, BOB), await street.home(BOB, ALICE)
    call_id = await call(alice, bob)
    await bob("call:accept", callId=call_id)
    assert (await bob("call:get", callId=call_id))["state"] == "active"
    await bob("social:block", userId=alice.user_id)
    for home, reason in ((bob, "local-hangup"), (alice, "remote-hangup")):
        session = await home("call:get", callId=call_id)
        assert (session["state"], session["endReason"]) == ("ended", reason)
    assert await bob("social:unblock", userId=alice.user_id) == {"blocked": False}
    await call(alice, bob)
    assert len(bob.events("callOffer")) == 2


async def test_S17_somebody_whom_we_were_calling_stops_ringing_when_we_block_him(street: Street) -> None:
    alice, bob = await street.home(ALICE, BOB), await street.home(BOB, ALICE)
    call_id = await call(alice, bob)
    assert (await bob("call:get", callId=call_id))["state"] == "ringing"
    await alice("social:block", userId=bob.user_id)
    assert (await bob("call:get", callId=call_id))["endReason"] == "cancelled"


async def test_P02_another_key_is_told_of_and_takes_no_call(street: Street) -> None:
    """As if the keys of Bob and Mallory had one fingerprint: only then can a key change at all."""
    trust = MemoryTrust()
    trust.pinned = {BOB.fingerprint: Pin(MALLORY.pub, ())}
    alice, bob = await street.home(ALICE, trust=trust), await street.home(BOB, ALICE)
    ours = await call(alice, bob)  # sealed to the pinned key
    theirs = await call(bob, alice)  # of two crossing calls one would be taken without asking
    await street.later(4)
    (change,) = alice.events("keyChanged")
    assert (change.user_id, change.old_key, change.new_key) == (BOB.fingerprint, MALLORY.pub, BOB.pub)
    assert (await alice("call:get", callId=ours))["state"] == "initiating"
    assert await alice.code("call:get", callId=theirs) == "call.not-found"
    assert alice.events("callOffer") == alice.events("callRequest") == []
    assert alice.counters["signal.dropped.pin"] >= 1


# --- rooms and domains ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"rooms": [room(BOB, ALICE)], "removed": {"rooms": [ROOM]}}, "left"),
        ({"rooms": [room(BOB, CAROL)]}, "not-in-room"),
        ({"domains": [domain((ALICE, "member", "banned"), owner=BOB)]}, "banned"),
        ({"domains": [domain((BOB, "member", "suspended"), owner=ALICE)]}, "suspended"),
        ({"domains": [domain(owner=BOB, blacklist=[ALICE.fingerprint])]}, "blacklisted"),
        ({"removed": {"domains": ["d"]}}, "left"),
    ],
)
async def test_S21_a_call_by_a_place_that_keeps_one_of_us_out_is_not_heard(
    street: Street, known: dict[str, Any], reason: str
) -> None:
    bob = await street.home(BOB, ALICE, **known)
    alice = await street.home(ALICE, BOB)  # her copy knows of no such rule
    if "rooms" in known and "removed" in known:
        await bob("social:sync", removed=known["removed"])
    call_id = await call(alice, bob, roomId=ROOM, domainId="d")
    assert bob.hub.events == []
    assert bob.dropped == {f"refused-{reason}": 1}
    assert (await alice("call:get", callId=call_id))["state"] == "initiating"
    await alice("call:end", callId=call_id)
    await call(alice, bob)  # the place is kept shut, not the friend
    assert len(bob.events("callOffer")) == 1


@pytest.mark.parametrize(
    "known",
    [
        {"rooms": [room(ALICE, CAROL)]},
        {},
        {"rooms": [room(ALICE, BOB)], "domains": [domain(owner=CAROL, enableConferencing=False)]},
        {"rooms": [room(ALICE, BOB)], "domains": [domain((BOB, "member", "banned"), owner=ALICE)]},
        {
            "rooms": [room(ALICE, BOB)],
            "domains": [domain((ALICE, "guest", "active"), (BOB, "member", "active"), owner=CAROL)],
        },
    ],
)
async def test_S21_a_conference_where_we_or_its_maker_may_not_be_is_not_heard_of(
    street: Street, known: dict[str, Any]
) -> None:
    bob = await street.home(BOB, ALICE, **known)
    alice = await street.home(ALICE, BOB, rooms=[room(ALICE, BOB)])
    conference = await alice("conference:create", roomId=ROOM, type="audio", domainId="d")
    assert bob.hub.events == []
    assert sum(bob.dropped.values()) == 1
    assert await bob.code("conference:join", callId=conference["id"]) == "call.not-found"


async def test_S21_a_member_whom_our_copy_keeps_out_is_not_answered(street: Street) -> None:
    """Alice lets Mallory in, Bob's domain has banned him: Bob asks his own copy."""
    everyone = (ALICE, BOB, MALLORY)
    members = room(*everyone)
    alice = await street.home(ALICE, BOB, MALLORY, rooms=[members])
    bob = await street.home(
        BOB, ALICE, MALLORY, rooms=[members], domains=[domain((MALLORY, "member", "banned"),
        (BOB, "member", "active"), (ALICE, "member", "active"), owner=CAROL)],
    )  # fmt: skip
    mallory = await street.home(MALLORY, ALICE, BOB, rooms=[members])
    made = await alice("conference:create", roomId=ROOM, type="audio", domainId="d")
    call_id = made["id"]
    await bob("conference:join", callId=call_id)
    await street.later(1)
    await mallory("conference:join", callId=call_id)
    await street.later(10)
    assert bob.dropped["refused-member"] >= 1
    assert people(await alice("call:get", callId=call_id)) == {w.fingerprint for w in everyone}
    assert people(await bob("call:get", callId=call_id)) == {ALICE.fingerprint, BOB.fingerprint}
    assert bob.media.connections() == {alice.user_id}


def people(session: dict[str, Any]) -> set[str]:
    return {person["userId"] for person in session["participants"]}


async def meeting(street: Street, *everyone: Identity, **known: Any) -> tuple[str, list[Home]]:
    """A conference of a room that all are in."""
    places = {"rooms": [room(*everyone)], **known}
    homes = [await street.home(me, *(w for w in everyone if w is not me), **places) for me in everyone]
    by = {"domainId": "d"} if "domains" in known else {}
    session = await homes[0]("conference:create", roomId=ROOM, type="audio", **by)
    for other in homes[1:]:
        await other("conference:join", callId=session["id"])
    await street.later(10)
    return session["id"], homes


async def test_S17_a_block_takes_somebody_out_of_our_conference_and_not_us(street: Street) -> None:
    call_id, (alice, bob, mallory) = await meeting(street, ALICE, BOB, MALLORY)
    assert len(people(await bob("call:get", callId=call_id))) == 3
    await bob("social:block", userId=mallory.user_id)
    session = await bob("call:get", callId=call_id)
    assert session["state"] == "active"
    assert people(session) == {alice.user_id, bob.user_id}
    (left,) = bob.events("participantLeft")
    assert left.user_id == mallory.user_id
    assert people(await alice("call:get", callId=call_id)) == {a.user_id for a in (alice, bob, mallory)}


async def test_S21_who_leaves_a_room_or_is_banned_leaves_its_conference(street: Street) -> None:
    call_id, (alice, bob, carol) = await meeting(street, ALICE, BOB, CAROL)
    await bob("social:sync", removed={"rooms": [ROOM]})
    gone = await bob("call:get", callId=call_id)
    assert (gone["state"], gone["endReason"]) == ("ended", "policy-denied")
    assert await bob.code("conference:join", callId=call_id) == "call.wrong-state"
    assert people(await alice("call:get", callId=call_id)) == {alice.user_id, carol.user_id}


async def test_a_domain_sets_the_ceiling_and_the_moderators(street: Street) -> None:
    members = ((ALICE, "member", "active"), (BOB, "admin", "active"), (CAROL, "member", "active"))
    rules = domain(*members, owner=MALLORY, maxConferenceSize=2)
    call_id, (alice, bob) = await meeting(street, ALICE, BOB, domains=[rules])
    session = await bob("call:get", callId=call_id)
    assert session["maxParticipants"] == 2
    await bob("conference:mute-request", callId=call_id, userId=alice.user_id)  # an admin, not the initiator
    await settle()
    me = next(
        p for p in (await alice("call:get", callId=call_id))["participants"] if p["userId"] == alice.user_id
    )
    assert me["audioEnabled"] is False
    await bob("conference:remove", callId=call_id, userId=alice.user_id)
    ended = await alice("call:get", callId=call_id)
    assert (ended["state"], ended["endReason"]) == ("ended", "policy-denied")


async def test_a_conference_in_a_room_rings_members_who_are_no_friends_and_says_nothing_of_them(
    street: Street,
) -> None:
    members = room(ALICE, BOB, CAROL)
    carol = await street.home(CAROL, rooms=[members])
    bob = await street.home(BOB, ALICE, rooms=[members])
    outsider = await street.home(MALLORY, rooms=[room(MALLORY, ALICE, CAROL)])
    alice = await street.home(ALICE, BOB, rooms=[members], self={"displayName": "Al\u202eice\n"})
    session = await alice("conference:create", roomId=ROOM, type="audio")
    (offer,) = carol.events("callOffer")
    assert (offer.call_id, offer.room_id, offer.verified) == (session["id"], ROOM, False)
    assert offer.from_display_name == "Alice"
    assert (carol.said, carol.media.sent) == (0, [])
    await outsider("conference:create", roomId=ROOM, type="audio")  # who says he is in the room
    assert len(carol.events("callOffer")) == 1
    assert carol.counters["signal.dropped.place"] == 1
    await bob("conference:join", callId=session["id"])
    await carol("conference:join", callId=session["id"])
    await street.later(10)
    for home in (alice, bob, carol):
        seen = await home("call:get", callId=session["id"])
        assert people(seen) == {alice.user_id, bob.user_id, carol.user_id}
        assert seen["state"] == CallState.ACTIVE.value
    connected = {p["userId"] for p in seen["participants"] if p["state"] == "connected"}
    assert bob.user_id in connected  # no friend of hers, and nothing was known of him


# --- a flood --------------------------------------------------------------------------------------------

STRANGERS, OFFERS = 500, 10_000


def knock(street: Street, who: Identity, number: int, random: SeededRandom) -> None:
    """One valid invitation in Bob's stranger inbox."""
    key = boxkeys.of_identity(BOB.seed)
    now_ms = street.clock.network_ms()
    signal = signal_from(
        who,
        BOB,
        call_id=f"call_{number}",
        nonce=random.bytes(16).hex(),
        issued_at_ms=now_ms,
        expires_at_ms=now_ms + 60_000,
        body=InviteBody(call_type="audio", session=SESSION, display_name="x"),
    )
    soul = layout.stranger_soul(BOB.fingerprint, now_ms)
    leaf = sealing.seal_signal(signal, who, Lock(key.kid, key.public, None), soul, random)
    street.graph.plant(leaf.soul, leaf.key, leaf.value)


@pytest.mark.parametrize("rings", [False, True])
async def test_S16_a_flood_of_strangers_reaches_nobody_and_a_friend_still_rings(
    street: Street, rings: bool
) -> None:
    bob = await street.home(BOB, ALICE, calls={"strangersRing": rings})
    alice = await street.home(ALICE, BOB)
    random = SeededRandom(1)
    crowd = [identity.generate(random.bytes(32)) for _ in range(STRANGERS)]
    offers = OFFERS if not rings else OFFERS // 10
    for number in range(offers):
        knock(street, crowd[number % STRANGERS], number, random)
        if number % (offers // 60) == 0:
            bob.later(1)
            await settle(3)
    shown, rung = bob.events("callRequest"), bob.events("callOffer")
    assert 0 < len(shown) <= 8 * 2  # eight at a time, each for a minute
    assert len(rung) <= (6 if rings else 0)  # three at once, and three in the minute after
    assert bob.said == 0
    dropped = {name: count for name, count in bob.counters.items() if name.startswith("signal.dropped")}
    assert sum(dropped.values()) + bob.counters["signal.received"] == offers
    assert bob.counters["signal.received"] <= 204  # the hourly budget, and what a minute gives back
    for offer in rung:
        await bob("call:reject", callId=offer.call_id)
    call_id = await call(alice, bob)
    assert bob.events("callOffer")[-1].call_id == call_id
    assert (await alice("call:get", callId=call_id))["state"] == "ringing"
