"""Relays that peer: links that come back, changes that go both ways and come to rest."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sidecar.app import exit_codes
from sidecar.errors import LocalError
from sidecar.graph.server import GraphServer
from tests.graph_nodes import SOUL, Heard, graph_client, graph_relay, leaf
from tests.sidecars import relay, spawn

DEADLINE_S = 20.0


async def health(url: str) -> dict[str, Any]:
    """What ``/healthz`` says."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    raw = await asyncio.wait_for(reader.read(), DEADLINE_S)
    writer.close()
    answer = json.loads(raw.partition(b"\r\n\r\n")[2])
    assert isinstance(answer, dict)
    return answer


async def until(url: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Asks until it is so: a link tells nobody when it is there."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds(answer := await health(url)):
            pass
    return answer


async def linked(url: str) -> None:
    """All peers of this relay are connected."""
    await until(url, lambda answer: answer["problems"] == [])


@contextlib.asynccontextmanager
async def two_relays() -> AsyncIterator[tuple[str, str]]:
    """The URLs of a relay and of one that peers with it."""
    async with graph_relay() as (_, upper), graph_relay(peers=[upper]) as (_, lower):
        await linked(lower)
        yield upper, lower


# The link


async def test_a_peer_that_is_away_is_named_and_connected_when_it_is_back() -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = contextlib.AsyncExitStack()
        upper: GraphServer
        upper, upper_url = await first.enter_async_context(graph_relay())
        _, url = await stack.enter_async_context(graph_relay(peers=[upper_url]))
        await linked(url)
        assert upper.health().connections == 1
        await first.aclose()
        answer = await until(url, lambda answer: answer["status"] == "degraded")
        assert answer["problems"] == [f"peer: {upper_url} is not connected"]
        port = urlsplit(upper_url).port or 0
        await stack.enter_async_context(graph_relay(port=port))
        await linked(url)


async def test_health_shows_no_password_of_a_peers_url() -> None:
    peer = "http://user:secret@127.0.0.1:1/gun?token=secret"
    async with graph_relay(peers=[peer]) as (server, _):
        assert server.health().problems == ("peer: http://127.0.0.1:1/gun is not connected",)


async def test_a_peer_named_twice_is_connected_once_and_a_wrong_url_is_refused() -> None:
    async with graph_relay() as (upper, upper_url):
        async with graph_relay(peers=[upper_url, upper_url]) as (_, url):
            await linked(url)
            assert upper.health().connections == 1
    with pytest.raises(LocalError):
        async with graph_relay(peers=["ftp://127.0.0.1/gun"]):
            pass


async def test_the_flag_wins_over_the_configuration_and_is_checked(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"network": {"relay": {"peers": ["http://127.0.0.1:1/gun"]}}}))
    flags = ("--config", str(config))
    async with relay(tmp_path / "a", *flags) as process:
        answer = await health(process.ready["gun"])
        assert answer["problems"] == ["peer: http://127.0.0.1:1/gun is not connected"]
        async with relay(tmp_path / "b", *flags, "--peer", process.ready["gun"]) as other:
            await linked(other.ready["gun"])
    wrong = await spawn("relay", "--data", str(tmp_path / "c"), "--peer", "nowhere")
    assert await wrong.exit_code() == exit_codes.USAGE
    assert "--peer" in wrong.raw_log[-1]


# What goes over it


async def test_a_leaf_reaches_subscribers_and_late_readers_of_both_relays() -> None:
    async with two_relays() as urls:
        for here, there in (urls, urls[::-1]):
            soul = f"calls/s/{urlsplit(here).port:032x}#<?172800"
            (live_key, live), (late_key, late) = leaf("live"), leaf("late")
            async with graph_client(here) as writer, graph_client(there) as reader:
                heard = Heard()
                reader.watch_leaves(soul, heard)
                await reader.read_leaves(soul, timeout_s=5)
                await writer.put_leaf(soul, live_key, live)
                await heard.until(1)
                await writer.put_leaf(soul, late_key, late)
                await heard.until(2)
            async with graph_client(there) as late_reader:
                found = await late_reader.read_leaves(soul, timeout_s=5)
            assert found == {live_key: live, late_key: late}


async def test_what_was_there_before_is_found_through_the_peer() -> None:
    key, value = leaf("old")
    async with graph_relay() as (_, upper):
        async with graph_client(upper) as writer:
            await writer.put_leaf(SOUL, key, value)
        async with graph_relay(peers=[upper]) as (_, lower):
            await linked(lower)
            async with graph_client(lower) as reader:
                heard = Heard()
                reader.watch_leaves(SOUL, heard)
                await heard.until(1)
                assert heard.leaves == {key: value}


async def test_what_was_written_while_the_peer_was_away_reaches_it() -> None:
    key, value = leaf("meanwhile")
    async with contextlib.AsyncExitStack() as stack:
        first = contextlib.AsyncExitStack()
        _, upper = await first.enter_async_context(graph_relay())
        _, lower = await stack.enter_async_context(graph_relay(peers=[upper]))
        await linked(lower)
        await first.aclose()
        await until(lower, lambda answer: answer["status"] == "degraded")
        writer = await stack.enter_async_context(graph_client(lower))
        await writer.put_leaf(SOUL, key, value)
        port = urlsplit(upper).port or 0
        await stack.enter_async_context(graph_relay(port=port))
        reader = await stack.enter_async_context(graph_client(upper))
        heard = Heard()
        reader.watch_leaves(SOUL, heard)
        await heard.until(1)
        assert heard.leaves == {key: value}


async def test_a_ring_of_relays_passes_a_change_on_and_comes_to_rest() -> None:
    async with contextlib.AsyncExitStack() as stack:
        closing = contextlib.AsyncExitStack()
        _, first = await closing.enter_async_context(graph_relay())
        second_server, second = await stack.enter_async_context(graph_relay(peers=[first]))
        third_server, third = await stack.enter_async_context(graph_relay(peers=[second]))
        await closing.aclose()
        port = urlsplit(first).port or 0
        first_server, _ = await stack.enter_async_context(graph_relay(port=port, peers=[third]))
        for url in (first, second, third):
            await linked(url)
        clients = [await stack.enter_async_context(graph_client(url)) for url in (first, second, third)]
        heard = [Heard() for _ in clients]
        for client, ear in zip(clients, heard, strict=True):
            client.watch_leaves(SOUL, ear)
            await client.read_leaves(SOUL, timeout_s=5)
        sent = dict(leaf(f"value {number}") for number in range(30))
        for number, (key, value) in enumerate(sent.items()):
            await clients[number % 3].put_leaf(SOUL, key, value)
        for place, ear in enumerate(heard):
            others = [key for number, key in enumerate(sent) if number % 3 != place]
            await ear.until(20)
            assert sorted(ear.leaves) == sorted(others)
            assert ear.times_told == 20
        for client in clients:
            await client.read_leaves("calls/s/quiet#", timeout_s=5)
        puts = [server.handled["put"] for server in (first_server, second_server, third_server)]
        assert all(count < 30 * 6 for count in puts), puts
