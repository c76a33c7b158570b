"""Early, late and leaking signals between whole signaling services (FAULTS S07, S20, S22)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar import log
from sidecar.app.services.trust_store import TrustStore
from sidecar.media.messages import SendControl
from sidecar.signaling import layout
from sidecar.signaling.messages import AcceptBody, EmptyBody, Kind, ReasonBody
from tests.homes import Home, Street
from tests.signaling_kit import (
    ALICE,
    BOB,
    MALLORY,
    NOW_MS,
    SESSION,
    Node,
    World,
    settle,
    user,
)

SOUL = layout.session_soul(SESSION)
SDP = "v=0\r\na=candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host\r\n"
ACCEPT = AcceptBody(sdp=SDP, sdp_type="offer")
CAROL = user(4)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    for node in world.nodes:
        await node.service.stop()


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    made = Street(tmp_path)
    yield made
    await made.close()


# --- S07 --------------------------------------------------------------------------------------------------


async def kinds(node: Node) -> list[Kind]:
    await settle()
    return [node.arrived.get_nowait().signal.kind for _ in range(node.arrived.qsize())]


async def test_S07_what_lies_in_a_session_before_its_reader_comes_is_read(world: World) -> None:
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
    await alice.say(BOB, Kind.ACCEPT, ACCEPT)
    await alice.say(BOB, Kind.END, ReasonBody(reason="local-hangup"))
    assert bob.arrived.empty()
    bob.service.join_session("call_1", SESSION, ALICE.fingerprint)
    assert await kinds(bob) == [Kind.ACCEPT, Kind.END]


async def test_S07_a_member_whom_we_are_told_of_after_it_has_spoken(world: World) -> None:
    """In a conference members write to each other before each has heard of all."""
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE, CAROL)
    carol = await world.node(CAROL, BOB)
    bob.service.join_session("call_1", SESSION, ALICE.fingerprint)
    await carol.say(BOB, Kind.RINGING, EmptyBody())
    await carol.say(BOB, Kind.ACCEPT, ACCEPT)
    await alice.say(BOB, Kind.RINGING, EmptyBody())
    assert await kinds(bob) == [Kind.RINGING]
    bob.service.join_session("call_1", SESSION, CAROL.fingerprint)
    assert await kinds(bob) == [Kind.RINGING, Kind.ACCEPT]
    assert "signal.dropped.kid" not in bob.counters


async def test_S07_a_member_whose_key_card_comes_after_its_words(world: World) -> None:
    """Nobody of the three is a friend of Carol, and her card takes its time to the relay of Bob."""
    bob = await world.node(BOB, ALICE)
    cards = layout.keys_soul(CAROL.fingerprint)
    carol = await world.node(CAROL, BOB)
    hers = dict(world.graph.souls.pop(cards))
    bob.service.join_session("call_1", SESSION, CAROL.fingerprint)
    await carol.say(BOB, Kind.RINGING, EmptyBody())
    await carol.say(BOB, Kind.ACCEPT, ACCEPT)
    assert await kinds(bob) == []
    world.clock.advance(20)
    for key, text in hers.items():
        world.graph.plant(cards, key, text)
    assert await kinds(bob) == [Kind.RINGING, Kind.ACCEPT]
    bob.service.leave_session("call_1")
    assert cards not in world.graph.watched()


async def test_S07_who_comes_too_late_is_not_heard(world: World) -> None:
    bob, carol = await world.node(BOB, CAROL), await world.node(CAROL, BOB)
    bob.service.join_session("call_1", SESSION, ALICE.fingerprint)
    await carol.say(BOB, Kind.RINGING, EmptyBody())
    world.clock.advance(60)
    bob.service.join_session("call_1", SESSION, CAROL.fingerprint)
    assert await kinds(bob) == []
    assert bob.counters == {"signal.dropped.kid": 1}


# --- S20 --------------------------------------------------------------------------------------------------


async def test_S20_what_waits_for_an_ended_call_is_forgotten(world: World) -> None:
    bob, carol = await world.node(BOB, CAROL), await world.node(CAROL, BOB)
    bob.service.join_session("call_1", SESSION, ALICE.fingerprint)
    await carol.say(BOB, Kind.RINGING, EmptyBody())
    bob.service.leave_session("call_1")
    assert bob.counters == {"signal.dropped.kid": 1}
    assert world.graph.watchers[SOUL] == []
    await carol.say(BOB, Kind.ACCEPT, ACCEPT)
    assert await kinds(bob) == []


async def test_S20_nonces_on_disk_go_when_their_signals_have_expired(tmp_path: Path) -> None:
    store = TrustStore(tmp_path, asyncio.get_running_loop().call_soon_threadsafe, log.get("trust"))
    burnt = [(BOB.pub, f"{number:032x}", NOW_MS + number) for number in range(1000)]
    store.burn(burnt, NOW_MS, lambda stored: None)
    done = asyncio.get_running_loop().create_future()
    store.burn([(ALICE.pub, "0f" * 16, NOW_MS + 60_000)], NOW_MS + 2000, done.set_result)
    assert await done
    assert store.nonces() == [(ALICE.pub, "0f" * 16, NOW_MS + 60_000)]
    store.close()


async def test_S20_the_tombstone_of_a_call_ends_its_old_signals_and_then_itself(street: Street) -> None:
    alice, bob = await street.home(ALICE, BOB), await street.home(BOB, ALICE)
    call_id = await connected(alice, bob)
    await alice("call:end", callId=call_id)
    events = len(bob.hub.events)
    for soul, leaves in list(street.graph.souls.items()):
        for key, value in list(leaves.items()):
            for watcher in list(street.graph.watchers[soul]):
                watcher(key, value, 0)
    await street.later(1)
    assert len(bob.hub.events) == events
    assert (await bob("call:get", callId=call_id))["state"] == "ended"
    assert any(soul.startswith("calls/s/") for soul in street.graph.watched())  # for what is on its way
    await street.later(300)
    assert not any(soul.startswith("calls/s/") for soul in street.graph.watched())
    assert await bob.code("call:get", callId=call_id) == "call.not-found"


async def connected(caller: Home, callee: Home) -> str:
    session = await caller("call:initiate", userId=callee.user_id, type="audio")
    await callee("call:accept", callId=session["id"])
    assert (await caller("call:get", callId=session["id"]))["state"] == "active"
    return str(session["id"])


# --- S22 --------------------------------------------------------------------------------------------------


def said(node: Node) -> list[dict[str, object]]:
    """The payloads of all that this node has ever sealed."""
    return [json.loads(text)["payload"] for _, text, sent in node.envelopes if sent]


async def test_S22_an_invitation_to_a_stranger_carries_no_addresses_in_any_leaf(world: World) -> None:
    """Neither the first one nor the second form of one that a contact has not opened."""
    mallory, alice = await world.node(MALLORY), await world.node(ALICE, BOB)
    bob = await world.node(BOB)  # knows neither
    await mallory.invites(BOB, "call_m", sdp=SDP)
    await alice.invites(BOB, "call_a", sdp=SDP)
    world.clock.advance(3)
    alice.service.delivery.tick()
    assert await kinds(bob) == [Kind.INVITE, Kind.INVITE]
    for seen in said(mallory):
        assert "192.0.2.7" not in json.dumps(seen)
    first, second = said(alice)
    assert "sdp" in first["body"]  # lies where only Bob could read it, if he knew her
    assert "192.0.2.7" not in json.dumps(second)
    assert [text for _, text, sent in bob.envelopes if not sent and "192.0.2.7" in text] == []


async def test_S22_nothing_is_said_to_a_stranger_before_the_call_is_taken(street: Street) -> None:
    mallory, bob = await street.home(MALLORY), await street.home(BOB)

    def written() -> dict[str, int]:
        souls = {soul: len(leaves) for soul, leaves in street.graph.souls.items() if leaves}
        return {soul: count for soul, count in souls.items() if not soul.startswith("calls/keys/")}

    call_id = str((await mallory("call:initiate", userId=BOB.fingerprint, type="audio"))["id"])
    await street.later(5)
    (inbox,) = written()
    assert inbox == layout.stranger_soul(BOB.fingerprint, NOW_MS)
    assert bob.events("callRequest")
    assert bob.said == 0
    await bob("call:accept", callId=call_id)
    (session,) = written().keys() - {inbox}
    assert session.startswith("calls/s/")


# --- whole nodes over their control channels --------------------------------------------------------------


async def test_a_conference_of_connected_members_writes_nothing_more_into_its_session(street: Street) -> None:
    people = (ALICE, BOB, CAROL)
    room = {
        "id": "room_1",
        "members": [who.fingerprint for who in people],
        "createdBy": ALICE.fingerprint,
    }
    homes = [await street.home(who, *(set(people) - {who}), rooms=[room]) for who in people]
    alice, bob, carol = homes
    call_id = (await alice("conference:create", roomId="room_1", type="audio"))["id"]
    for home in (bob, carol):
        await home("conference:join", callId=call_id)

    def in_sessions() -> int:
        souls = street.graph.souls.items()
        return sum(len(leaves) for soul, leaves in souls if soul.startswith("calls/s/"))

    before, heard = in_sessions(), dict(carol.counters)
    assert await alice("conference:mute-request", callId=call_id, userId=carol.user_id)
    assert in_sessions() == before
    assert carol.counters == heard | {"signal.received": heard["signal.received"] + 1}
    assert [note.name for note in carol.media.sent if isinstance(note, SendControl)][-1] == "signal-ack"
