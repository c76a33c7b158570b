"""``calls``: the machines alone, simulated lives, signals per join, strangers flooding a real sidecar."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from bench import calls_flood
from bench.report import Aim, Numbers, Options, Report, Row, interleaved, machine, row
from sidecar.app.tools.simulation.network import PRESETS
from sidecar.app.tools.simulation.world import World
from sidecar.calls import effects as f
from sidecar.calls import events as e
from sidecar.calls.facts import CALLER_GEN
from sidecar.calls.rules import Rules
from sidecar.calls.switchboard import Switchboard
from sidecar.conference import events as ke
from sidecar.conference.facts import Guest, Room
from sidecar.conference.ids import conference_id
from sidecar.ids import fingerprint, hex_id
from sidecar.schema import CallType
from sidecar.signaling.messages import InviteBody, Kind, Party, Signal

LIVES = 400
MESH = 8
JOIN_EVERY_S = 12.0
"""Long enough for gossip to tell everybody."""


def run(options: Options) -> Report:
    rounds = 9 if options.long else 3
    medians = interleaved(rounds, {"machine": machines, "plain": lives(False), "sealed": lives(True)})
    plain, sealed = medians["plain"]["perS"], medians["sealed"]["perS"]
    joins = signals_per_join()
    flood = asyncio.run(calls_flood.measure(3 if options.long else 1))
    rows = [
        row("machine transitions", "1/s", medians["machine"]["perS"]),
        row("simulated calls, plain", "1/s", plain),
        row("simulated calls, really sealed", "1/s", sealed, peer="plain", peer_value=plain),
        *join_rows(joins),
        row(
            "CPU with 200 strangers' signals a second", "% core", flood.busy, aim=Aim(most=30, of_ratio=False)
        ),
        row("CPU without them", "% core", flood.idle),
        row("a friend's call rings in the flood", "ms", flood.ring_ms, aim=Aim(most=1000, of_ratio=False)),
        row("a friend's call rings without it", "ms", flood.calm_ms),
    ]
    return Report(
        "calls",
        machine(),
        rows,
        [
            f"medians of {rounds} interleaved rounds; a transition is a state change and its effects",
            f"written per join of members 2 to {MESH}, by all members: "
            + ", ".join(f"{count}" for count in joins),
            f"flood: {flood.sent} sealed invitations of {flood.strangers} strangers in {flood.seconds:.1f} s "
            f"({flood.sent / flood.seconds:.0f}/s) through a relay process; CPU of the core process alone",
        ],
    )


def machines() -> Numbers:
    """Incoming calls that ring, are accepted, connect and are ended."""
    board = Switchboard(Rules(), "me", "Me", public_key="our key", device="here")
    moves, now, began = 0, 1000.0, time.process_time()
    for number in range(4 * LIVES):
        call_id, now = f"call_{number}", now + 10.0
        for event in _life(call_id, round(now * 1000)):
            moves += sum(isinstance(effect, f.Moved) for effect in board.handle(event, now))
        board.handle_timer(now + 9.0)
    return {"perS": moves / (time.process_time() - began)}


def _life(call_id: str, now_ms: int) -> list[e.Event]:
    invitation = Signal(
        kind=Kind.INVITE,
        call_id=call_id,
        sender=Party("their key", "there"),
        recipient=Party("our key"),
        body=InviteBody(call_type="audio", session="5e" * 16, display_name="They", sdp="v=0 offer"),
        epoch="epoch",
        gen=CALLER_GEN,
        seq=0,
        issued_at_ms=now_ms,
        expires_at_ms=now_ms + 60_000,
        nonce=call_id,
    )
    return [
        e.SignalArrived(signal=invitation, user_id="they", contact=True, at_ms=now_ms, network_ms=now_ms),
        e.Accept(call_id=call_id),
        e.LocalDescription(call_id=call_id, user_id="they", gen=CALLER_GEN, type="answer", sdp="v=0"),
        e.PeerConnected(call_id=call_id, user_id="they", gen=CALLER_GEN),
        e.End(call_id=call_id),
    ]


def lives(sealed: bool) -> Callable[[], Numbers]:
    """Whole calls between two nodes, from initiate to forgotten."""

    def once() -> Numbers:
        calls = LIVES // 4 if sealed else LIVES
        began = time.process_time()
        world = World(1, PRESETS["perfect"], sealed=sealed)
        people = [world.user(name, index + 1) for index, name in enumerate(("a", "b"))]
        alice, bob = (world.device(one) for one in people)
        world.befriend(*people)
        world.start()
        for number in range(calls):
            call_id = f"call_{number}"
            initiate = e.Initiate(
                call_id=call_id,
                user_id=bob.user_id,
                display_name="b",
                call_type=CallType.VIDEO,
                relation=e.Relation.CONTACT,
                session=f"{number:032x}",
                at_ms=alice.clock.wall_ms(),
            )
            at = 15.0 * number
            for after, node, event in (
                (0, alice, initiate),
                (2, bob, e.Accept(call_id=call_id)),
                (4, bob, e.End(call_id=call_id)),
            ):
                world.at(at + after, partial(node.tell, event))
        world.run(15.0 * calls + 300)
        if world.shared.counts["ended remote-hangup"] != calls:
            raise RuntimeError(f"not every call was a call: {dict(world.shared.counts)}")
        return {"perS": calls / (time.process_time() - began)}

    return once


def signals_per_join() -> list[int]:
    """Signals that all members together write for the second to the last join. Not in it: the joiner's lease,
    one write, and the announcement once a minute, which goes on without joins."""
    world = World(1, PRESETS["perfect"])
    people = [world.user(f"user{index}", index + 1) for index in range(MESH)]
    nodes = [world.device(one) for one in people]
    world.befriend(*people)
    world.set_rooms({"room": Room(room_id="room", members=tuple(Guest(one.user_id) for one in people))})
    world.start()
    nonce = "ab" * 16
    room_id = conference_id("room", nonce, people[0].identity.pub)
    counts = world.shared.counts
    written: list[int] = []
    for index, node in enumerate(nodes):
        lease, at_ms = node.new_lease(), node.clock.network_ms()
        before = counts["signals"] - counts["signal announce"]
        if index == 0:
            node.tell(
                ke.Create(
                    call_id=room_id, room_id="room", call_type=CallType.AUDIO, session="5e" * 16,
                    key=hex_id(b"\1" * 32), nonce=nonce, lease=lease, at_ms=at_ms, network_ms=at_ms,
                    ring=False,
                )
            )  # fmt: skip
        else:
            node.tell(ke.Join(call_id=room_id, lease=lease, at_ms=at_ms, network_ms=at_ms))
        world.run((index + 1) * JOIN_EVERY_S)
        written.append(counts["signals"] - counts["signal announce"] - before)
    seen = {fingerprint(person.identity.pub) for person in people}
    conference = nodes[0].exchange.hall.get(room_id)
    if conference is None or {person.user_id for person in conference.others()} != seen:
        raise RuntimeError("not everybody is in")
    return written[1:]


def join_rows(joins: list[int]) -> list[Row]:
    """Linear: the last join costs as much per member that was there as the first."""
    per_member = joins[-1] / (MESH - 1)
    aim = Aim(most=1.0)
    return [
        row("signals written, second member joins", "", joins[0]),
        row(f"signals written, member {MESH} joins", "", joins[-1]),
        row(
            "per member there, last join to first", "", per_member, peer="first", peer_value=joins[0], aim=aim
        ),
    ]
