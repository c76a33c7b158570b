"""gun.js clients when the connection or our relay goes away and comes back (gun.md section 10)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.interop.gun_peers import GunJs, GunJsClient, OurRelay, door, gun_js

pytestmark = pytest.mark.real_peer("gun")

BUILDS = ("core", "full")


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[OurRelay]:
    relay = OurRelay(tmp_path / "relay")
    await relay.start()
    yield relay
    await relay.stop()


@pytest.fixture
async def url(relay: OurRelay) -> AsyncIterator[str]:
    async with door(relay) as url:
        yield url


@pytest.fixture
async def builds(tmp_path: Path) -> AsyncIterator[dict[str, GunJs]]:
    async with contextlib.AsyncExitStack() as stack:
        yield {build: await stack.enter_async_context(gun_js(build, tmp_path)) for build in BUILDS}


async def back(*clients: GunJsClient) -> None:
    await asyncio.gather(*(client.reconnects() for client in clients))


async def restart(relay: OurRelay, how: signal.Signals, *clients: GunJsClient) -> None:
    for client in clients:
        await client.settle()
        client.forget("connected")
    await relay.stop(how)
    await relay.start()
    await back(*clients)


async def test_a_lost_connection_costs_no_watch(url: str, builds: dict[str, GunJs]) -> None:
    """``require('gun')`` does not ask again: the relay knows it by its pid."""
    writer = await builds["core"].client(url)
    watchers = [await builds[build].client(url) for build in BUILDS]
    for watcher in watchers:
        await watcher.watch("on", "n", ["counter", "n"])
        await watcher.watch("on", "whole", ["counter"])
    await writer.put(["counter"], {"n": 1})
    await asyncio.gather(*(watcher.hears("n", 1) for watcher in watchers))
    for client in (writer, *watchers):
        await client.settle()
        client.forget("connected")
        await client.call("drop")
    await back(writer, *watchers)
    await writer.put(["counter", "n"], 2)
    for watcher in watchers:
        await watcher.hears("n", 2)
        await watcher.hears("whole", {"n": 2})


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["sigterm", "sigkill"])
async def test_a_restart_of_the_relay_costs_no_watch(
    relay: OurRelay, url: str, builds: dict[str, GunJs], how: signal.Signals
) -> None:
    writers = [await builds[build].client(url) for build in BUILDS]
    watchers = [await builds[build].client(url) for build in BUILDS]
    for watcher in watchers:
        await watcher.watch("on", "n", ["counter", "n"])
    for writer in writers:
        await writer.put(["counter"], {"n": 1})
    await asyncio.gather(*(watcher.hears("n", 1) for watcher in watchers))
    await relay.knows("counter", len(watchers))
    await restart(relay, how, *writers, *watchers)
    for number, writer in enumerate(writers, 2):
        await writer.put(["counter"], {"n": number})
        await asyncio.gather(*(watcher.hears("n", number) for watcher in watchers))
    for build in BUILDS:
        await (await builds[build].client(url)).reads(["counter"], {"n": 3})


@pytest.mark.parametrize("watching", [True, False], ids=["watching", "writing only"])
@pytest.mark.parametrize("build", BUILDS)
async def test_what_was_written_offline_surfaces(
    relay: OurRelay, url: str, builds: dict[str, GunJs], build: str, watching: bool
) -> None:
    """gun.js never sends it again, but the relay asks back: what was changed, and what is new."""
    writer, watcher = await builds[build].client(url), await builds["core"].client(url)
    await watcher.watch("on", "live", ["note"])
    if watching:
        await writer.watch("on", "own", ["note"])
        await writer.put(["note"], {"text": "online"})
    else:
        await writer.put(["note", "text"], "online")  # a path is asked for by gun.js itself
    await watcher.hears("live", {"text": "online"})
    for client in (writer, watcher):
        await client.settle()
        client.forget("connected")
    await relay.stop(signal.SIGTERM)
    writer.tell("put", path=["note", "text"], value="offline")
    writer.tell("put", path=["new"], value={"text": "new"})
    await writer.call("drop")  # it has done what it was told before
    await relay.start()
    await back(writer, watcher)
    late = await builds["core"].client(url)
    await late.reads(["note"], {"text": "offline"})
    await late.reads(["new"], {"text": "new"})
    await watcher.hears("live", {"text": "offline"})


async def test_a_client_with_a_large_node_is_not_locked_out_when_it_is_back(
    url: str, builds: dict[str, GunJs]
) -> None:
    """gun.js answers for a whole node in one frame: one of 800 KB is taken, one of 2 MB dropped and told."""
    writer = await builds["full"].client(url)
    other = await builds["core"].client(url)
    for soul, count in (("large", 20), ("huge", 50)):
        await writer.watch("on", soul, [soul])
        for number in range(count):
            await writer.put([soul, f"k{number}"], "x" * 40_000)
    for _ in range(2):
        await writer.settle()
        writer.forget("connected")
        await writer.call("drop")
        await back(writer)
        await writer.put(["minor", "n"], "still here")
    await other.reads(["minor", "n"], "still here")
    await other.reads(["huge", "k49"], "x" * 40_000)
