"""Our peer's connections on real sockets: dead ones are replaced, old ones renewed, time is learnt."""

from __future__ import annotations

import asyncio
import time

import pytest

from sidecar.errors import UnavailableError
from sidecar.graph import transport
from sidecar.graph.client import GraphClient
from sidecar.graph.core import link, reader, renewal, wire
from tests.graph_nodes import SOUL, Gate, Heard, WatchedStore, gate, graph_client, graph_relay, leaf, until

DEADLINE_S = 20.0


async def test_a_dead_relay_does_not_hold_up_a_read_or_a_put() -> None:
    key, value = leaf("x")
    async with graph_relay() as (_, one), graph_relay() as (_, two), gate(two) as dead:
        async with graph_client([dead.url, one]) as alice:
            await until(lambda: all(state.rtt_ms is not None for state in alice.relays), alice)
            dead.shut()
            begin = time.perf_counter()
            await alice.put_leaf(SOUL, key, value)
            assert await alice.read_leaves(SOUL, timeout_s=10) == {key: value}
            assert time.perf_counter() - begin < 5 * link.PATIENCE_S


async def test_relays_are_listed_the_best_first() -> None:
    async with graph_relay() as (_, one), graph_relay() as (_, two):
        nowhere = "http://127.0.0.1:1/gun"
        async with graph_client([nowhere, one, two]) as alice:
            await until(lambda: sum(state.rtt_ms is not None for state in alice.relays) == 2, alice)
            ranked = alice.relays
            assert ranked[-1] == (nowhere, False, None)
            assert {state.url for state in ranked[:2]} == {one, two}
            assert (ranked[0].rtt_ms or 0) <= (ranked[1].rtt_ms or 0)


async def test_a_silent_relay_is_replaced_at_once_while_a_call_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "CLOSE_PING_EVERY_S", 0.05)
    monkeypatch.setattr(link, "CLOSE_PONG_WITHIN_S", 0.5)
    async with graph_relay() as (_, url), gate(url) as way:
        async with graph_client(way.url) as alice, graph_client(url) as bob:
            heard = Heard()
            alice.watch_leaves(SOUL, heard)
            alice.keep_close(True)
            await until(lambda: alice.relays[0].rtt_ms is not None, alice)
            way.shut()
            await bob.put_leaf(SOUL, *leaf("said into the silence"))
            await heard.until(1)
            alice.keep_close(False)


async def test_after_a_sleep_dead_connections_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async with graph_relay() as (_, url), gate(url) as way:
        async with graph_client(way.url) as alice, graph_client(url) as bob:
            heard = Heard()
            alice.watch_leaves(SOUL, heard)
            await alice.read_leaves(SOUL, timeout_s=DEADLINE_S)
            way.shut()
            await bob.put_leaf(SOUL, *leaf("said while she slept"))
            woken_ms = alice._clock.wall_ms() + 7_200_000
            monkeypatch.setattr(alice._clock, "wall_ms", lambda: woken_ms)
            alice.keep_close(False)  # the first look at the clocks after the sleep
            await heard.until(1)


@pytest.fixture
def plain_relays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our relay without the word that tells it from gun.js, and days of a fraction of a second."""
    hello = wire.write_hello
    monkeypatch.setattr(wire, "write_hello", lambda *args, aleph=False, **more: hello(*args, **more))
    monkeypatch.setattr(renewal, "RENEW_EVERY_S", 0.3)
    monkeypatch.setattr(renewal, "OVERLAP_S", 0.1)
    monkeypatch.setattr(reader, "QUIET_S", 0.02)


async def opened(way: Gate, count: int, client: GraphClient) -> None:
    await until(lambda: way.opened >= count, client)


async def test_renewed_connections_lose_no_leaf_and_tell_none_twice(plain_relays: None) -> None:
    async with graph_relay() as (_, url), gate(url) as way:
        async with graph_client(way.url) as alice, graph_client(url) as bob:
            heard, sent = Heard(), 0
            alice.watch_leaves(SOUL, heard)
            renewed = asyncio.create_task(
                opened(way, 12, alice)
            )  # each has a question for the time beside it
            while not renewed.done():
                await bob.put_leaf(SOUL, *leaf(str(sent)))
                sent += 1
                await heard.until(sent)
            await renewed
            assert heard.times_told == sent
            # the current one, one that comes or goes, and a question for the time
            assert way.alive <= 3


async def test_a_renewal_that_finds_no_relay_keeps_the_connection(
    plain_relays: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = asyncio.Event()

    async def refuse(url: str, **_: object) -> transport.Socket:
        refused.set()
        raise UnavailableError("no second connection")

    async with graph_relay() as (_, url), graph_client(url) as alice, graph_client(url) as bob:
        heard = Heard()
        alice.watch_leaves(SOUL, heard)
        monkeypatch.setattr(transport, "open_socket", refuse)
        await asyncio.wait_for(refused.wait(), DEADLINE_S)
        await bob.put_leaf(SOUL, *leaf("still here"))
        await heard.until(1)


async def test_our_own_relays_are_not_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "RENEW_EVERY_S", 0.01)
    async with graph_relay() as (_, url), graph_client(url) as alice:
        await until(lambda: alice._peer.links[0].aleph, alice)
        await alice.read_leaves(SOUL, timeout_s=DEADLINE_S)
        before = alice._sockets._current
        for number in range(5):
            await alice.put_leaf(SOUL, *leaf(str(number)))
        assert alice._sockets._current == before
        assert not alice._sockets._second


async def test_one_relay_of_three_that_lies_about_the_time_is_outvoted() -> None:
    store = WatchedStore()
    async with (
        graph_relay() as (_, one),
        graph_relay(skew_ms=3_600_000) as (_, liar),
        graph_relay() as (_, two),
    ):
        async with graph_client([one, liar, two], store=store, skew_ms=-600_000) as alice:
            await store.until(lambda: len(alice._time._time._by_relay) == 3)
            assert abs(alice.network_offset_ms() - 600_000) < 2_000


async def test_a_relay_that_takes_nothing_is_dropped_at_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_UNSENT", 64 * 1024)
    async with graph_relay() as (_, url), gate(url) as way:
        async with graph_client(way.url) as alice:
            await until(lambda: alice.relays[0].connected, alice)
            way.shut()
            puts = [
                asyncio.create_task(alice.put_leaf(SOUL, *leaf(f"{number}" + "x" * 60_000)))
                for number in range(100)
            ]
            await until(lambda: way.opened > 2, alice)
            for put in puts:
                put.cancel()
            await asyncio.gather(*puts, return_exceptions=True)
