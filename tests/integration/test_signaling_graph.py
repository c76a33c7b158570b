"""Signaling over real sockets: our graph client and our relay between two users."""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path

from sidecar.graph.core.leaves import make_key
from sidecar.graph.store import MemoryStore
from sidecar.signaling import layout
from sidecar.signaling.messages import Kind, ReasonBody
from tests.graph_nodes import Skewed, graph_client, graph_relay
from tests.signaling_kit import ALICE, BOB, MALLORY, Node, friends, shared
from tests.signaling_nodes import node, take_call


async def test_a_call_between_two_users(tmp_path: Path) -> None:
    async with graph_relay() as (_, url):
        async with node(url, ALICE, BOB, tmp_path) as alice, node(url, BOB, ALICE, tmp_path) as bob:
            await take_call(alice, bob)
            await bob.say(ALICE, Kind.END, ReasonBody(reason="local-hangup"))
            assert (await alice.next()).signal.kind is Kind.END
            for one in (alice, bob):
                assert [name for name in one.counters if "dropped" in name] == []


async def test_an_invitation_waits_for_a_user_who_starts_later(tmp_path: Path) -> None:
    async with graph_relay() as (_, url), node(url, ALICE, BOB, tmp_path) as alice:
        await alice.invites(BOB)
        async with node(url, BOB, ALICE, tmp_path) as bob:
            assert (await bob.next()).signal.call_id == "call_1"


async def test_signaling_is_fast(tmp_path: Path) -> None:
    """Invitation, receipt and acceptance over one relay; the deadline has slack for a busy machine."""
    async with graph_relay() as (_, url):
        async with node(url, ALICE, BOB, tmp_path) as alice, node(url, BOB, ALICE, tmp_path) as bob:
            taken = [await take_call(alice, bob, f"call_{n}", f"{n:032x}") for n in range(10)]
            assert statistics.median(taken) < 0.25


async def test_a_call_goes_on_over_a_restart_of_the_relay(tmp_path: Path) -> None:
    store = MemoryStore()
    async with graph_relay(store) as (server, url):
        port = int(url.split(":")[2].split("/")[0])
        async with node(url, ALICE, BOB, tmp_path) as alice, node(url, BOB, ALICE, tmp_path) as bob:
            await take_call(alice, bob)
            await server.stop()
            ending = asyncio.create_task(bob.say(ALICE, Kind.END, ReasonBody(reason="local-hangup")))
            async with graph_relay(store, port=port):
                assert (await asyncio.wait_for(alice.arrived.get(), 30)).signal.kind is Kind.END
                await ending


async def test_s10_ten_minutes_of_skew_on_either_side(tmp_path: Path) -> None:
    for skew_ms in (600_000, -600_000):
        folder = tmp_path / str(skew_ms)
        async with graph_relay() as (_, url):
            async with (
                node(url, ALICE, BOB, folder, skew_ms=skew_ms) as alice,
                node(url, BOB, ALICE, folder) as bob,
            ):
                await take_call(alice, bob)
                assert [name for name in (*alice.counters, *bob.counters) if "card" in name] == []


async def test_s06_a_third_party_can_alter_nothing(tmp_path: Path) -> None:
    """Mallory knows every soul, writes nulls and junk over and beside what lies there, and replays leaves."""
    async with graph_relay() as (_, url), graph_client(url) as mallory:
        async with node(url, ALICE, BOB, tmp_path) as alice:
            await alice.invites(BOB)
            now_ms = alice.clock.network_ms()
            soul = layout.pairwise_soul(shared(ALICE, BOB), BOB.fingerprint, now_ms)
            ((key, value),) = (await mallory.read_leaves(soul, timeout_s=5)).items()
            for junk in ("null", "junk", value.replace('"v":1', '"v":2')):
                await mallory.put_leaf(soul, make_key(b"\x01" * 16, junk), junk)
            await mallory.put_leaf(soul, make_key(b"\x02" * 16, value), value)
            await mallory.put_leaf(layout.stranger_soul(BOB.fingerprint, now_ms), key, value)
            async with node(url, BOB, ALICE, tmp_path) as bob:
                assert (await bob.next()).signal.call_id == "call_1"
                await take_call(alice, bob, "call_2", "02" * 16)
                assert bob.arrived.empty()
                assert bob.counters["signal.dropped.shape"] == 3
                assert bob.counters["signal.dropped.kid"] == 2


async def test_s17_a_blocked_user_is_never_heard(tmp_path: Path) -> None:
    async with graph_relay() as (_, url), graph_client(url) as client:
        clock = Skewed()
        clock.follow(client.network_offset_ms)
        bob = Node(client, BOB, friends(ALICE, blocked=(MALLORY.fingerprint,)), tmp_path / "bob", clock=clock)
        await bob.service.start()
        async with node(url, MALLORY, BOB, tmp_path) as mallory, node(url, ALICE, BOB, tmp_path) as alice:
            await mallory.invites(BOB)
            mallory.clock = clock
            await mallory.service.stop()
            await alice.invites(BOB, call_id="call_2")
            assert (await bob.next()).user_id == ALICE.fingerprint
        await bob.service.stop()
        assert bob.arrived.empty()
