"""The ``conference:`` channels as a client meets them: results, codes, repetition, permissions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.media import messages as m
from sidecar.schema import CHANNELS
from tests.homes import EVERYTHING, Home
from tests.signaling_kit import ALICE, BOB, MALLORY
from tests.town import CAROL, ROOM, Town, people

CONFERENCE = sorted(name for name in CHANNELS if name.startswith("conference:"))


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    made = Town(tmp_path)
    yield made
    await made.close()


async def test_the_life_of_a_conference(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    session = await alice("conference:create", roomId=ROOM, type="video")
    call_id = session["id"]
    assert (session["roomId"], session["type"], session["state"]) == (ROOM, "video", "initiating")
    assert (session["initiatorId"], session["maxParticipants"]) == (alice.user_id, 8)
    (offer,) = bob.events("callOffer")
    assert (offer.call_id, offer.room_id, offer.verified) == (call_id, ROOM, True)
    assert (await bob("call:get", callId=call_id))["state"] == "ringing"
    assert people(await bob("conference:peek", roomId=ROOM)) == {alice.user_id: "connecting"}

    joined = await bob("conference:join", callId=call_id)
    assert (joined["id"], joined["state"]) == (call_id, "connecting")
    for home in (alice, bob):
        live = await home("call:get", callId=call_id)
        assert live["state"] == "active"
        assert people(live) == {alice.user_id: "connected", bob.user_id: "connected"}
        assert await home("call:list-active") == [live]
        peeked = await home("conference:peek", callId=call_id)
        assert peeked["callId"] == call_id
        assert set(people(peeked)) == {alice.user_id, bob.user_id}

    assert await bob("conference:leave", callId=call_id) == {"left": True}
    left = await bob("call:get", callId=call_id)
    assert (left["state"], left["endReason"]) == ("ended", "local-hangup")
    assert people(await alice("call:get", callId=call_id)) == {alice.user_id: "connected"}
    assert bob.history.records[0].end_reason == "local-hangup"


async def test_creating_joining_and_leaving_twice_is_as_once(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    first = await alice("conference:create", roomId=ROOM, type="audio")
    again = await alice("conference:create", roomId=ROOM, type="audio")
    assert again["id"] == first["id"]
    call_id = {"callId": first["id"]}
    one = await bob("conference:join", **call_id)
    commands = len(bob.media.sent)
    two = await bob("conference:join", **call_id)
    assert two["id"] == one["id"]
    assert await bob("conference:create", roomId=ROOM, type="audio") == await bob("call:get", **call_id)
    assert [type(command).__name__ for command in bob.media.sent[commands:]].count("OpenCall") == 0
    assert await bob("conference:leave", **call_id) == await bob("conference:leave", **call_id)
    assert len(bob.history.records) == 1
    rejoined = await bob("conference:join", **call_id, listenOnly=True)
    me = next(p for p in rejoined["participants"] if p["userId"] == bob.user_id)
    assert (rejoined["id"], me["audioEnabled"]) == (first["id"], False)


async def test_an_attempt_that_fails_leaves_no_space_behind(town: Town) -> None:
    (alice,) = await town.people(ALICE)
    session = await alice("conference:create", roomId=ROOM, type="audio")
    for _ in range(3):
        await alice("conference:join", callId=session["id"])
        await alice("conference:create", roomId=ROOM, type="audio")
        await alice.code("conference:join", callId="nothing")
        await alice.code("conference:create", roomId="nowhere", type="audio")
    assert len(alice.calling.conferences._spaces) == 1
    await alice("conference:leave", callId=session["id"])
    assert alice.calling.conferences._spaces == {}


async def test_a_conference_that_nobody_is_in_any_more_stops_ringing(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    call_id = {"callId": (await alice("conference:create", roomId=ROOM, type="audio"))["id"]}
    await town.later(1)
    await alice("conference:leave", **call_id)
    await town.later(1)
    gone = await bob("call:get", **call_id)
    assert (gone["state"], gone["endReason"]) == ("ended", "cancelled")
    assert await bob("conference:peek", roomId=ROOM) == {"participants": []}

    again = await alice("conference:create", roomId=ROOM, type="audio")
    assert again["id"] != call_id["callId"]
    assert [offer.call_id for offer in bob.events("callOffer")] == [call_id["callId"], again["id"]]


async def test_a_conference_that_was_not_heard_of_for_a_while_is_known_again(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    call_id = {"callId": (await alice("conference:create", roomId=ROOM, type="audio", ring=False))["id"]}
    conference = bob.calling.hall.get(call_id["callId"])
    bob.calling.hall.handle_timer(bob.clock.monotonic() + conference.rules.stale_s)
    assert await bob("conference:peek", roomId=ROOM) == {"participants": []}
    await town.later(65)  # it is announced again
    assert set(people(await bob("conference:peek", roomId=ROOM))) == {alice.user_id}
    assert (await bob("conference:join", **call_id))["id"] == call_id["callId"]
    assert bob.events("callOffer") == []


async def test_who_rejoins_shows_nobody_as_connected_who_is_not_yet(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    call_id = {"callId": (await alice("conference:create", roomId=ROOM, type="audio"))["id"]}
    await bob("conference:join", **call_id)
    await bob("conference:leave", **call_id)
    again = await bob("conference:join", **call_id)
    assert people(again)[alice.user_id] == "connecting"


def opened(home: Home) -> m.OpenCall:
    return next(sent for sent in reversed(home.media.sent) if isinstance(sent, m.OpenCall))


async def test_P02_nothing_of_an_earlier_stay_is_left_in_the_next(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    call_id = {"callId": (await alice("conference:create", roomId=ROOM, type="audio"))["id"]}

    async def again(**how: Any) -> dict[str, Any]:
        await bob("conference:leave", **call_id)
        session = await bob("conference:join", **call_id, **how)
        return next(person for person in session["participants"] if person["userId"] == bob.user_id)

    await bob("conference:join", **call_id)
    await bob("call:hold", **call_id)
    me = await again()
    assert (me["audioEnabled"], "leftAt" in me) == (True, False)
    assert (opened(bob).sources, opened(bob).muted) == ({"audio": "tone:440"}, [])
    assert (await bob("call:get", **call_id))["state"] != "on-hold"
    me = await again(listenOnly=True)
    assert (me["audioEnabled"], opened(bob).sources) == (False, {})
    await bob("call:mute-video", **call_id, muted=False)
    me = await again()
    assert (me["audioEnabled"], me["videoEnabled"]) == (True, False)
    assert opened(bob).sources == {"audio": "tone:440"}
    await bob("call:mute-audio", **call_id, muted=True)
    me = await again()
    assert (me["audioEnabled"], opened(bob).muted) == (False, ["audio"]), "what he muted stays so"


async def test_declining(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    call_id = {"callId": (await alice("conference:create", roomId=ROOM, type="audio"))["id"]}
    assert await bob("conference:decline", **call_id) == {"declined": True}
    assert await bob("conference:decline", **call_id) == {"declined": True}
    assert bob.history.records[0].end_reason == "declined"
    assert bob.media.sent == []
    assert await alice.code("conference:decline", **call_id) == "call.wrong-state"
    assert (await bob("conference:join", **call_id))["id"] == call_id["callId"]  # after all


async def test_a_conference_that_does_not_ring_can_be_found(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    session = await alice("conference:create", roomId=ROOM, type="audio", ring=False)
    assert bob.hub.events == []
    assert await bob("call:list-active") == []
    found = await bob("conference:peek", roomId=ROOM)
    assert (found["callId"], set(people(found))) == (session["id"], {alice.user_id})
    assert await bob("conference:peek", roomId="other") == {"participants": []}


async def test_a_call_grows_by_an_invitation(town: Town) -> None:
    alice, bob, carol = await town.people(ALICE, BOB, CAROL)
    call_id = {"callId": (await alice("call:initiate", userId=bob.user_id, type="audio"))["id"]}
    early = await alice.code("conference:invite", **call_id, userId=carol.user_id)
    assert early == "call.wrong-state"  # nobody has taken it
    await bob("call:accept", **call_id)
    assert await alice("conference:invite", **call_id, userId=carol.user_id) == {"invited": True}
    assert await alice("conference:invite", **call_id, userId=carol.user_id) == {"invited": True}
    assert len(carol.events("callOffer")) == 1
    await carol("conference:join", **call_id)
    await town.later(10)
    everyone = dict.fromkeys([alice.user_id, bob.user_id, carol.user_id], "connected")
    for home in (alice, bob, carol):
        assert people(await home("call:get", **call_id)) == everyone
    assert await alice("conference:invite", **call_id, userId=carol.user_id) == {"invited": True}  # is in
    for channel in ("call:end", "conference:leave"):
        assert await alice(channel, **call_id) in ({"ended": True}, {"left": True})


async def test_who_was_asked_in_meets_the_others_when_who_asked_has_left(town: Town) -> None:
    alice, bob, carol = await town.people(ALICE, BOB, CAROL)
    call_id = (await alice("call:initiate", userId=bob.user_id, type="audio"))["id"]
    await bob("call:accept", callId=call_id)
    await alice("conference:invite", callId=call_id, userId=carol.user_id)
    await town.later(7)
    await alice("conference:leave", callId=call_id)
    await town.later(2)
    await carol("conference:join", callId=call_id)
    await town.later(10)
    for home in (bob, carol):
        session = people(await home("call:get", callId=call_id))
        assert session == {bob.user_id: "connected", carol.user_id: "connected"}


async def test_who_asked_somebody_in_hears_of_the_decline(town: Town) -> None:
    alice, bob, carol = await town.people(ALICE, BOB, CAROL)
    call_id = (await alice("call:initiate", userId=bob.user_id, type="audio"))["id"]
    await bob("call:accept", callId=call_id)
    await bob("conference:invite", callId=call_id, userId=carol.user_id)
    await carol("conference:decline", callId=call_id)
    await town.later(2)
    assert people(await bob("call:get", callId=call_id)) == {
        alice.user_id: "connected",
        bob.user_id: "connected",
    }
    declined = bob.events("callStateChange")[-1].participant
    assert (declined.user_id, declined.state) == (carol.user_id, "declined")


async def test_who_leaves_and_joins_at_once_is_in(town: Town) -> None:
    alice, bob, carol = await town.people(ALICE, BOB, CAROL)
    call_id = (await alice("conference:create", roomId=ROOM, type="audio"))["id"]
    for home in (bob, carol):
        await home("conference:join", callId=call_id)
    await town.later(5)
    for home in (bob, carol):
        await home("conference:leave", callId=call_id)
        await home("conference:join", callId=call_id)
    await town.later(10)
    everyone = dict.fromkeys([alice.user_id, bob.user_id, carol.user_id], "connected")
    for home in (alice, bob, carol):
        assert people(await home("call:get", callId=call_id)) == everyone


async def test_only_members_are_invited_into_the_conference_of_a_room(town: Town) -> None:
    alice, bob, carol = await town.people(ALICE, BOB, CAROL)
    call_id = {"callId": (await alice("conference:create", roomId="other", type="audio"))["id"]}
    assert await alice.code("conference:invite", **call_id, userId=carol.user_id) == "policy.blocked"
    assert await alice("conference:invite", **call_id, userId=bob.user_id) == {"invited": True}
    assert len(bob.events("callOffer")) == 1
    assert carol.hub.events == []


async def test_moderators_mute_and_remove(town: Town) -> None:
    alice, bob, carol = await town.people(ALICE, BOB, CAROL)
    call_id = {"callId": (await bob("conference:create", roomId=ROOM, type="audio"))["id"]}
    for home in (alice, carol):
        await town.later(1)
        await home("conference:join", **call_id)
    await town.later(10)
    for channel in ("conference:mute-request", "conference:remove"):
        assert await carol.code(channel, **call_id, userId=alice.user_id) == "policy.blocked"
        assert await bob.code(channel, **call_id, userId=MALLORY.fingerprint) == "invalid-params"
    muted = await alice("conference:mute-request", **call_id, userId=carol.user_id)  # made the room
    assert muted == {"requested": True}
    await town.later(1)
    me = next(p for p in (await carol("call:get", **call_id))["participants"] if p["userId"] == carol.user_id)
    assert me["audioEnabled"] is False
    assert await bob("conference:remove", **call_id, userId=carol.user_id) == {"removed": True}
    await town.later(1)
    gone = await carol("call:get", **call_id)
    assert (gone["state"], gone["endReason"]) == ("ended", "policy-denied")
    assert await carol.code("conference:join", **call_id) == "call.wrong-state"
    assert carol.user_id not in people(await alice("call:get", **call_id))


async def test_one_conversation_at_a_time(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    talk = {"callId": (await alice("call:initiate", userId=bob.user_id, type="audio"))["id"]}
    await bob("call:accept", **talk)
    made = await bob("conference:peek", roomId=ROOM)
    assert made == {"participants": []}
    session = await alice_is_told(alice, "conference:create", roomId=ROOM, type="audio")
    assert session == talk["callId"]
    assert (await alice("call:hold", **talk))["state"] == "on-hold"
    call_id = {"callId": (await alice("conference:create", roomId=ROOM, type="audio"))["id"]}
    (waiting,) = bob.events("callOffer")[1:]
    assert waiting.waiting is True
    assert await bob.code("conference:join", **call_id) == "call.wrong-state"
    assert await alice.code("call:resume", **talk) == "call.wrong-state"
    assert (await alice("call:hold", **call_id))["state"] == "on-hold"
    assert (await alice("call:resume", **talk))["state"] == "active"
    assert await alice.code("call:accept", **call_id) == "call.wrong-state"
    assert await alice.code("call:resume", **call_id) == "call.wrong-state"


async def alice_is_told(home: Home, channel: str, **params: Any) -> str:
    """Refused because another call is on: which one."""
    error = await home.refused(channel, **params)
    assert error.code.value == "call.wrong-state"
    assert error.details is not None
    return str(error.details["callId"])


def filled(channel: str, call_id: str) -> dict[str, Any]:
    """Params that are right but for the call."""
    about = {"callId": call_id}
    if channel in ("conference:invite", "conference:mute-request", "conference:remove"):
        about["userId"] = BOB.fingerprint
    return about


@pytest.mark.parametrize("channel", [name for name in CONFERENCE if name != "conference:create"])
async def test_C15_an_unknown_an_empty_and_an_endless_id_have_a_code(town: Town, channel: str) -> None:
    (alice,) = await town.people(ALICE)
    assert await alice.code(channel, **filled(channel, "call_x")) == "call.not-found"
    assert await alice.code(channel, **filled(channel, "x" * 1000)) == "invalid-params"
    assert await alice.code(channel, **filled(channel, "")) == "invalid-params"
    assert await alice.code(channel, **filled(channel, "x"), more=1) == "invalid-params"


async def test_what_cannot_be_asked_is_refused_by_field(town: Town) -> None:
    (alice,) = await town.people(ALICE)
    for params in ({}, {"roomId": ROOM, "callId": "x"}):
        assert await alice.code("conference:peek", **params) == "invalid-params"
    for params in (
        {"roomId": "x" * 129, "type": "audio"},
        {"roomId": ROOM, "type": "smell"},
        {"roomId": ROOM},
        {"roomId": "nowhere", "type": "audio"},
        {"roomId": ROOM, "type": "audio", "domainId": ""},
    ):
        assert await alice.code("conference:create", **params) == "invalid-params"


@pytest.mark.parametrize("channel", CONFERENCE)
async def test_what_needs_a_permission_is_denied_without_it(town: Town, channel: str) -> None:
    (alice,) = await town.people(ALICE)
    params = (
        {"roomId": ROOM, "type": "audio"} if channel == "conference:create" else filled(channel, "call_x")
    )
    alice.client.permissions = EVERYTHING - {"network:webrtc"}
    free = channel in ("conference:leave", "conference:peek", "conference:decline")
    assert await alice.code(channel, **params) == ("call.not-found" if free else "policy.permission-missing")


async def test_a_machine_without_room_begins_nothing(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    call_id = {"callId": (await alice("conference:create", roomId=ROOM, type="audio"))["id"]}
    bob.full = alice.full = True
    assert await bob.code("conference:join", **call_id) == "resource"
    assert await bob.code("conference:create", roomId="other", type="audio") == "resource"
    assert await bob("conference:decline", **call_id) == {"declined": True}
    assert (await alice("call:get", **call_id))["state"] == "initiating"


async def test_too_many_conferences_that_ask_for_our_user_are_no_internal_error(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    bob.calling.hall.rules = type(bob.calling.hall.rules)(known_max=1)
    call_id = {"callId": (await alice("conference:create", roomId=ROOM, type="audio"))["id"]}
    assert (await bob("call:get", **call_id))["state"] == "ringing"
    assert await bob.code("conference:create", roomId="other", type="audio") == "resource"


async def test_the_ninth_is_told_that_it_is_full(town: Town) -> None:
    alice, bob, carol = await town.people(ALICE, BOB, CAROL)
    for home in (alice, bob, carol):
        home.calling.hall.rules = type(home.calling.hall.rules)(participants_max=2)
    call_id = {"callId": (await alice("conference:create", roomId=ROOM, type="audio"))["id"]}
    await bob("conference:join", **call_id)
    await town.later(65)  # the next announcement names both
    assert await carol.code("conference:join", **call_id) == "conference.full"
    assert await alice.code("conference:invite", **call_id, userId=carol.user_id) == "conference.full"


async def test_the_media_of_a_conference(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    call_id = {"callId": (await alice("conference:create", roomId=ROOM, type="video"))["id"]}
    assert await bob.code("call:mute-audio", **call_id, muted=True) == "call.wrong-state"  # not in it
    assert await alice("call:mute-audio", **call_id, muted=True) == {"muted": True}
    assert await alice("call:mute-video", **call_id, muted=True) == {"muted": True}
    (me, *_) = (await alice("call:get", **call_id))["participants"]
    assert (me["audioEnabled"], me["videoEnabled"]) == (False, False)
    await alice("conference:leave", **call_id)
    assert await alice.code("call:mute-audio", **call_id, muted=False) == "call.wrong-state"
    assert await alice.code("call:hold", **call_id) == "call.wrong-state"


async def test_every_conference_channel_is_served(town: Town) -> None:
    (alice,) = await town.people(ALICE)
    assert not [name for name in alice.registry.missing() if name.startswith("conference:")]
