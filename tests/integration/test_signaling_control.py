"""Signals over the control channel of a connection, and into the graph where it fails (DESIGN D4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.app.services.control_link import NOTES
from sidecar.media import messages as m
from sidecar.signaling import layout
from sidecar.signaling.messages import EmptyBody, Kind, OfferBody, ReasonBody
from sidecar.signaling.sealing import MAX_KEY_CHARS, MAX_VALUE_CHARS
from sidecar.signaling.spoken import ACK_WITHIN_S
from tests.integration.media_nodes import pair as media_pair
from tests.signaling_kit import ALICE, BOB, MALLORY, SESSION, Node, World, settle

SOUL = layout.session_soul(SESSION)
OFFER = OfferBody(sdp="v=0")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    for node in world.nodes:
        await node.service.stop()


@pytest.fixture
async def pair(world: World) -> tuple[Node, Node]:
    """Alice and Bob in a call whose connection is up."""
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
    alice.service.join_session("call_1", SESSION, BOB.fingerprint)
    bob.service.join_session("call_1", SESSION, ALICE.fingerprint)
    alice.connect(bob)
    return alice, bob


def say(node: Node, kind: Kind = Kind.OFFER, **more: Any) -> asyncio.Task[None]:
    to = ALICE if node.me is BOB else BOB
    bodies = {Kind.OFFER: OFFER, Kind.END: ReasonBody(reason="local-hangup")}
    return asyncio.create_task(node.say(to, kind, bodies.get(kind, EmptyBody()), **more))


def named(node: Node, name: str) -> list[m.SendControl]:
    return [note for note in node.notes if note.name == name]


def heard(node: Node, by: Node, name: str, data: dict[str, Any], call_id: str = "call_1") -> None:
    """What ``by`` says over its connection, whatever its own services think of it."""
    peer = m.PeerRef(call_id=call_id, user_id=by.me.fingerprint, gen=0)
    node.control.on_media_event(m.ControlHeard(peer=peer, name=name, data=data))


async def test_a_signal_that_is_acknowledged_leaves_no_trace_in_the_graph(pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    await say(alice)
    assert (await bob.next()).signal.kind is Kind.OFFER
    assert bob.graph.souls[SOUL] == {}
    (said,), (ack,) = named(alice, "signal"), named(bob, "signal-ack")
    assert set(said.data) == {"key", "value"}
    assert ack.data == {"key": said.data["key"]}


async def test_before_there_is_a_connection_the_graph_carries_everything(world: World) -> None:
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
    bob.service.join_session("call_1", SESSION, ALICE.fingerprint)
    await say(alice)
    assert (await bob.next()).signal.kind is Kind.OFFER
    assert alice.notes == []


async def test_an_invitation_never_takes_the_control_channel(pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    await alice.invites(BOB)
    assert (await bob.next()).signal.kind is Kind.INVITE
    assert named(alice, "signal") == []


async def test_a_lost_acknowledgement_costs_300_ms_and_the_second_delivery_is_silent(
    pair: tuple[Node, Node],
) -> None:
    alice, bob = pair
    bob.far_ends.clear()  # what he says is lost
    sending = say(alice)
    assert (await bob.next()).signal.kind is Kind.OFFER
    await settle()
    assert not sending.done()
    assert bob.graph.souls[SOUL] == {}
    alice.clock.advance(ACK_WITHIN_S)
    alice.service.delivery.tick()
    await sending
    await settle()
    assert list(bob.graph.souls[SOUL]) == [named(alice, "signal")[0].data["key"]]
    assert bob.arrived.empty()
    assert bob.counters["signal.duplicate"] == 1


async def test_a_lost_note_arrives_through_the_graph(pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    alice.far_ends.clear()
    sending = say(alice)
    await settle()
    assert bob.arrived.empty()
    alice.clock.advance(ACK_WITHIN_S)
    alice.service.delivery.tick()
    await sending
    assert (await bob.next()).signal.kind is Kind.OFFER
    again = say(alice)  # who has kept us waiting once is not waited for again
    assert (await bob.next()).signal.kind is Kind.OFFER
    await again


@pytest.mark.parametrize(
    "event",
    [
        m.PeerFailed(peer=m.PeerRef(call_id="call_1", user_id=BOB.fingerprint, gen=0), reason="x"),
        m.PeerLiveness(
            peer=m.PeerRef(call_id="call_1", user_id=BOB.fingerprint, gen=0), liveness=m.Liveness.LOST
        ),
        m.CallClosed(call_id="call_1", stats={}),
        m.MediaLost(),
    ],
)
async def test_a_channel_that_closes_meanwhile_is_not_waited_for(
    pair: tuple[Node, Node], event: m.Event
) -> None:
    alice, bob = pair
    alice.far_ends.clear()
    sending = say(alice)
    await settle()
    assert bob.arrived.empty()
    alice.control.on_media_event(event)
    assert (await bob.next()).signal.kind is Kind.OFFER
    await sending
    alice.notes.clear()
    await say(alice)
    assert alice.notes == []


async def test_a_connection_in_doubt_takes_both_ways_at_once(pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    peer = m.PeerRef(call_id="call_1", user_id=BOB.fingerprint, gen=0)
    alice.control.on_media_event(m.PeerLiveness(peer=peer, liveness=m.Liveness.SUSPECT))
    await say(alice)
    assert len(bob.graph.souls[SOUL]) == len(named(alice, "signal")) == 1
    assert (await bob.next()).signal.kind is Kind.OFFER
    alice.control.on_media_event(m.PeerLiveness(peer=peer, liveness=m.Liveness.ALIVE))
    await say(alice)
    assert len(bob.graph.souls[SOUL]) == 1


async def test_the_next_generation_takes_over(pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    alice.connect(bob, gen=1)
    old = m.PeerRef(call_id="call_1", user_id=BOB.fingerprint, gen=0)
    alice.control.on_media_event(m.PeerFailed(peer=old, reason="connection-lost"))
    await say(alice)
    assert [note.peer.gen for note in alice.notes] == [1]


@pytest.mark.parametrize("kind", [Kind.END])
async def test_a_goodbye_waits_for_nobody(pair: tuple[Node, Node], kind: Kind) -> None:
    """Its connection is closed right behind it."""
    alice, bob = pair
    await say(alice, kind)
    assert len(bob.graph.souls[SOUL]) == len(named(alice, "signal")) == 1
    assert (await bob.next()).signal.kind is kind
    await settle()
    assert bob.arrived.empty()


async def test_S14_a_signal_gets_through_while_no_relay_can_be_reached(pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    bob.graph.reachable = False
    await say(alice)
    assert (await bob.next()).signal.kind is Kind.OFFER


async def test_S08_a_hundred_deliveries_by_both_ways_have_one_effect(pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    await say(alice)
    (said,) = named(alice, "signal")
    for _ in range(50):
        heard(bob, alice, "signal", said.data)
        for watcher in list(bob.graph.watchers[SOUL]):
            watcher(said.data["key"], said.data["value"], 0)
    await settle()
    assert bob.arrived.qsize() == 1
    assert len(named(bob, "signal-ack")) == 51  # the acknowledgement may have been what was lost


async def test_S03_a_leaf_is_taken_from_its_writer_only(world: World) -> None:
    """Mallory, who is in the call too, cannot say what Alice wrote; nor can anybody who is not in it."""
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE, MALLORY)
    mallory = await world.node(MALLORY, BOB)
    bob.service.join_session("call_1", SESSION, ALICE.fingerprint)
    alice.connect(bob)
    await say(alice)
    (said,) = named(alice, "signal")
    await bob.next()
    bob.notes.clear()
    heard(bob, mallory, "signal", said.data)
    heard(bob, alice, "signal", said.data, "call_2")
    assert bob.counters["control.dropped.session"] == 2
    bob.service.join_session("call_1", SESSION, MALLORY.fingerprint)
    stolen = dict(said.data, key="9" + said.data["key"][1:])
    heard(bob, mallory, "signal", stolen)
    await settle()
    assert bob.arrived.empty()
    assert bob.notes == []


async def test_S20_what_is_said_about_an_ended_call_is_ignored(pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    bob.service.leave_session("call_1")
    sending = say(alice)
    await settle()
    assert bob.counters["control.dropped.session"] == 1
    assert named(bob, "signal-ack") == []
    alice.clock.advance(ACK_WITHIN_S)
    alice.service.delivery.tick()
    await sending
    await settle()
    assert bob.arrived.empty()


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"key": 1, "value": "x"},
        {"key": "k"},
        {"key": "k" * 129, "value": ""},
        {"key": "k", "value": "v" * 24577},
    ],
)
async def test_S18_malformed_notes_are_counted(pair: tuple[Node, Node], data: dict[str, Any]) -> None:
    alice, bob = pair
    heard(bob, alice, "signal", data)
    assert bob.counters == {"control.dropped.shape": 1}


@pytest.mark.parametrize("data", [{}, {"key": 1}, {"key": "unknown"}, {"key": None}])
async def test_acknowledgements_of_what_was_never_said_are_counted(
    pair: tuple[Node, Node], data: dict[str, Any]
) -> None:
    alice, bob = pair
    heard(bob, alice, "signal-ack", data)
    assert bob.counters == {"control.dropped.ack": 1}


async def test_an_acknowledgement_of_another_user_is_none(world: World, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    mallory = await world.node(MALLORY, ALICE)
    alice.far_ends.clear()
    sending = say(alice)
    await settle()
    heard(alice, mallory, "signal-ack", {"key": named(alice, "signal")[0].data["key"]})
    assert alice.counters["control.dropped.ack"] == 1
    alice.clock.advance(ACK_WITHIN_S)
    alice.service.delivery.tick()
    await sending
    assert (await bob.next()).signal.kind is Kind.OFFER


async def test_unknown_names_are_ignored_and_counted(pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    heard(bob, alice, "hologram", {"key": "k", "value": "v"})
    assert bob.counters == {"control.dropped.name": 1}


async def test_S16_a_flood_of_notes_is_cut_and_costs_another_peer_nothing(
    world: World, pair: tuple[Node, Node]
) -> None:
    alice, bob = pair
    mallory = await world.node(MALLORY, BOB)
    bob.counters.clear()
    for number in range(5000):
        heard(bob, mallory, "signal", {"key": f"{number}", "value": "v"})
    assert bob.counters["control.dropped.session"] == NOTES.burst
    assert bob.counters["control.dropped.rate"] == 5000 - NOTES.burst
    await say(alice)
    assert (await bob.next()).signal.kind is Kind.OFFER


async def test_connections_are_bounded(pair: tuple[Node, Node]) -> None:
    alice, _ = pair
    for number in range(1000):
        peer = m.PeerRef(call_id=f"call_{number}", user_id=BOB.fingerprint, gen=0)
        alice.control.on_media_event(m.PeerConnected(peer=peer))
        alice.control.on_media_event(m.PeerLiveness(peer=peer, liveness=m.Liveness.SUSPECT))
    assert len(alice.control._channels) == len(alice.control._in_doubt) == 256


async def test_a_sender_that_stops_leaves_nothing_behind(pair: tuple[Node, Node]) -> None:
    alice, _ = pair
    alice.far_ends.clear()
    sending = say(alice)
    await settle()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert len(alice.service.delivery._spoken) == 0
    assert alice.service.delivery._on_the_way == {}


async def test_the_largest_leaf_travels_over_a_real_control_channel() -> None:
    leaf = {"key": "k" * MAX_KEY_CHARS, "value": "v" * MAX_VALUE_CHARS}
    async with media_pair() as both:
        both.open()
        await both.connected()
        peer = m.PeerRef(call_id="call_1", user_id="bob", gen=0)
        for number in range(3):
            both.alice.engine.post(m.SendControl(peer=peer, name=f"signal{number}", data=leaf))
        for number in range(3):
            heard = await both.bob.event(m.ControlHeard, lambda note, n=number: note.name == f"signal{n}")
            assert heard.peer == m.PeerRef(call_id="call_1", user_id="alice", gen=0)
            assert heard.data == leaf
