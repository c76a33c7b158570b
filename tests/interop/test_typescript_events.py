"""Events in the TypeScript client, from our own hub: order, gaps, and what a lost link does to them."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.interop.test_typescript_client import our_server
from tests.interop.typescript import PACKAGE, PEERS, build, line, node, started

pytestmark = pytest.mark.real_peer("node")


@pytest.fixture(scope="module", autouse=True)
def package() -> None:
    build(PACKAGE)


class Listener:
    """A program that hears events."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def said(self, key: str) -> dict[str, Any]:
        """The next line that tells of ``key``."""
        while True:
            told = json.loads(await line(self._process))
            if key in told:
                return told

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())

    async def heard(self) -> dict[str, Any]:
        self.tell("heard")
        return await self.said("heard")


@asynccontextmanager
async def listener(endpoint: str, **options: Any) -> AsyncIterator[Listener]:
    async with started(["node", str(PEERS / "events.mjs"), endpoint, json.dumps(options)]) as process:
        told = Listener(process)
        await told.said("connected")
        yield told


async def emit(endpoint: str, count: int) -> None:
    """Makes events, in bursts that fit the hub's buffer of one reader."""
    options = json.dumps({"wrap": True, "heartbeatMs": 200})
    while count > 0:
        await node(PEERS / "rpc.mjs", endpoint, "emit", options, str(min(count, 400)))
        count -= 400


async def test_events_arrive_in_order() -> None:
    async with our_server() as (endpoint, _), listener(endpoint) as events:
        await emit(endpoint, 1000)
        await events.said("reached")
        assert await events.heard() == {"heard": list(range(1, 1001)), "missed": 0}


async def test_i02_a_blocked_reader_is_told_how_many_it_missed_and_stalls_nobody() -> None:
    async with our_server() as (endpoint, _), listener(endpoint) as blocked, listener(endpoint) as other:
        blocked.tell("sleep 2000")
        await emit(endpoint, 2000)
        assert await other.said("reached") == {"reached": "n1000"}
        assert await other.said("reached") == {"reached": "n2000"}
        assert await other.heard() == {"heard": list(range(1, 2001)), "missed": 0}
        await blocked.said("slept")
        await blocked.said("reached")
        told = await blocked.heard()
        assert told["heard"] == sorted(set(told["heard"]))
        assert told["missed"] > 0
        assert len(told["heard"]) + told["missed"] == 2000


async def test_i03_a_client_that_comes_back_misses_nothing() -> None:
    async with (
        our_server(heartbeat_s=0.2) as (endpoint, server),
        listener(endpoint, heartbeatMs=200) as events,
    ):
        await emit(endpoint, 3)
        server.send_signal(signal.SIGSTOP)
        assert await events.said("notice") == {"notice": "lost"}
        while_away = asyncio.create_task(emit(endpoint, 5))
        server.send_signal(signal.SIGCONT)
        assert await events.said("notice") == {"notice": "resumed"}
        await while_away
        await emit(endpoint, 992)
        await events.said("reached")
        assert await events.heard() == {"heard": list(range(1, 1001)), "missed": 0}
