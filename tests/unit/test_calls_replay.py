"""A graph that shows everything again: nothing old rings, also not in a node's next life (S01, S20, C18)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sidecar.signaling import layout
from sidecar.signaling.messages import EmptyBody, Kind, ReasonBody
from tests.calls_fakes import Bench, turn
from tests.signaling_kit import ALICE, BOB, SESSION, MemoryGraph, MemoryTrust, Node, friends

Part = Callable[[Node, Node], Awaitable[None]]
"""What the two say before Bob's first life ends."""


async def ringing(alice: Node, bob: Node) -> None:
    await alice.invites(BOB)
    await bob.next()
    bob.service.join_session("call_1", SESSION, ALICE.fingerprint)
    await bob.say(ALICE, Kind.RINGING, EmptyBody())


async def cancelled(alice: Node, bob: Node) -> None:
    await ringing(alice, bob)
    await alice.say(BOB, Kind.CANCEL, ReasonBody(reason="cancelled"))
    await bob.next()


async def talked(alice: Node, bob: Node) -> None:
    await ringing(alice, bob)
    await alice.say(BOB, Kind.END, ReasonBody(reason="local-hangup"))
    await bob.next()


class Lives:
    """Alice, and Bob's lives one after the other: they share what is on his disk."""

    def __init__(self, folder: Path) -> None:
        self.graph, self.disk, self.folder = MemoryGraph(), MemoryTrust(), folder
        self.alice = Node(self.graph, ALICE, friends(BOB), folder / "alice", seed=1)

    def bob(self, seed: int) -> Node:
        return Node(
            self.graph, BOB, friends(ALICE), self.folder / "bob", seed=seed, trust=self.disk,
            clock=self.alice.clock,
        )  # fmt: skip


@pytest.fixture
def lives(tmp_path: Path) -> Lives:
    for name in ("alice", "bob"):
        (tmp_path / name).mkdir()
    return Lives(tmp_path)


@pytest.mark.parametrize("part", [ringing, cancelled, talked])
async def test_S01_S20_every_leaf_of_a_call_shown_again_after_a_restart_rings_nobody(
    lives: Lives, part: Part, tmp_path: Path
) -> None:
    first = lives.bob(2)
    await asyncio.gather(lives.alice.service.start(), first.service.start())
    await part(lives.alice, first)
    await turn()
    await first.service.stop()

    second = lives.bob(3)
    await second.service.start()
    second.service.join_session("call_1", SESSION, ALICE.fingerprint)  # as if it were still interested
    await turn()
    shown = lives.graph.souls[layout.session_soul(SESSION)]
    assert shown
    for soul, leaves in list(lives.graph.souls.items()):
        for key, value in leaves.items():
            for watcher in list(lives.graph.watchers[soul]):
                watcher(key, value, 0)  # and once more while it runs
    await turn()

    bench = Bench(tmp_path)
    while not second.arrived.empty():
        bench.calls.on_signal(second.arrived.get_nowait())
    assert bench.hub.events == []
    assert bench.history.records == []
    assert second.counters["signal.dropped.replay"] >= 1
    assert second.counters["signal.duplicate"] >= 1
    await asyncio.gather(lives.alice.service.stop(), second.service.stop())


async def test_C18_the_other_form_of_an_invitation_is_as_old_as_the_first(lives: Lives) -> None:
    """Its nonce is new: the call id is what was burnt. The receipt got lost with the process."""
    strangers = layout.stranger_soul(BOB.fingerprint, lives.alice.clock.network_ms())
    first = lives.bob(2)
    await asyncio.gather(lives.alice.service.start(), first.service.start())
    lives.alice.service.leave_session("call_1")
    await lives.alice.invites(BOB)
    await first.next()
    await first.service.stop()
    lives.alice.clock.advance(4)
    lives.alice.service.delivery.tick()
    await turn()
    assert lives.graph.souls[strangers]

    second = lives.bob(3)
    await second.service.start()
    await turn()
    assert second.arrived.empty()
    assert second.counters["signal.dropped.replay"] == 2
    await asyncio.gather(lives.alice.service.stop(), second.service.stop())
