"""Our own ends of the graph for tests: a client with a clock that follows it, and a relay on a port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sidecar import log
from sidecar.app.system_clock import SystemClock, SystemRandom
from sidecar.graph.client import GraphClient
from sidecar.graph.core import leaves
from sidecar.graph.core.router import Limits
from sidecar.graph.server import GraphServer, ServerLimits
from sidecar.graph.store import MemoryStore, NodeStore, Store
from sidecar.storage.sqlite import SqliteStore

SOUL = "calls/s/04d28d912d8b982c9caf8bf36d983b94#<?172800"


class Skewed(SystemClock):
    """A machine whose clock is wrong by ``skew_ms``."""

    def __init__(self, skew_ms: int = 0) -> None:
        super().__init__()
        self._skew_ms = skew_ms

    def wall_ms(self) -> int:
        return super().wall_ms() + self._skew_ms

    def steady_ms(self) -> int:
        return super().steady_ms() + self._skew_ms


@contextlib.asynccontextmanager
async def graph_client(
    urls: str | Sequence[str],
    *,
    store: Store | None = None,
    skew_ms: int = 0,
    connected: bool = True,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[GraphClient]:
    clock = Skewed(skew_ms)
    client = GraphClient(
        [urls] if isinstance(urls, str) else urls,
        clock=clock,
        random=SystemRandom(),
        store=store or MemoryStore(),
        log=log.get("test"),
        tls=tls,
    )
    clock.follow(client.network_offset_ms)
    await client.start()
    try:
        if connected:
            await client.read_leaves("nothing/here#", timeout_s=20)  # ends when a relay has answered
        yield client
    finally:
        await client.stop()


async def until(condition: Callable[[], bool], client: GraphClient) -> None:
    """Waits for a state of the client's connections, looking again after everything it is told."""
    told = asyncio.Event()
    pump = client._sockets._changed

    def changed() -> None:
        pump()
        told.set()

    client._sockets._changed = changed
    async with asyncio.timeout(20):
        while not condition():
            told.clear()
            await told.wait()


@contextlib.asynccontextmanager
async def graph_relay(
    store: NodeStore | None = None,
    *,
    port: int = 0,
    limits: Limits | None = None,
    server_limits: ServerLimits | None = None,
    skew_ms: int = 0,
    **options: Any,
) -> AsyncIterator[tuple[GraphServer, str]]:
    server = GraphServer(
        store or MemoryStore(),
        clock=Skewed(skew_ms),
        random=SystemRandom(),
        log=log.get("test"),
        limits=limits,
        server_limits=server_limits,
        **options,
    )
    host, bound = await server.start("127.0.0.1", port)
    try:
        yield server, f"http://{host}:{bound}/gun"
    finally:
        await server.stop()


class Gate:
    """A way to a relay that can be shut: connections stay open, and nothing passes."""

    def __init__(self) -> None:
        self.url = ""
        self.opened = 0
        self.alive = 0
        self._passing: set[asyncio.Event] = set()

    def shut(self) -> None:
        """What is open now is dead from now on; new connections pass."""
        for passing in self._passing:
            passing.clear()
        self._passing = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        self.opened += 1
        self.alive += 1
        passing = asyncio.Event()
        passing.set()
        self._passing.add(passing)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(self._carry(reader, back, passing), self._carry(there, writer, passing))
        finally:
            self.alive -= 1
            for ended in (back, writer):
                ended.transport.abort()
            await asyncio.sleep(0)  # the transports close with the loop's next turn

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                await passing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def gate(url: str) -> AsyncIterator[Gate]:
    """A gate before the relay at ``url``."""
    made, port, tasks, writers = Gate(), urlsplit(url).port or 0, set(), set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        tasks.add(asyncio.create_task(made.serve(reader, writer, port)))

    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # little is taken while it is shut
    server = await asyncio.start_server(accept, sock=listening)
    made.url = f"http://127.0.0.1:{listening.getsockname()[1]}/gun"
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:  # also of those that were never served
            writer.transport.abort()
        await asyncio.sleep(0)


def open_sqlite(path: Path) -> SqliteStore:
    call_soon = asyncio.get_running_loop().call_soon_threadsafe
    return SqliteStore(path, expires_ms=leaves.expires_ms, call_soon=call_soon)


def leaf(value: str) -> tuple[str, str]:
    """A key and its value."""
    return leaves.make_key(os.urandom(16), value), value


class WatchedStore(MemoryStore):
    """A client's store that tells when it changes."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def remove_from_outbox(self, soul: str, key: str) -> None:
        super().remove_from_outbox(soul, key)
        self._changed.set()

    def set_setting(self, name: str, value: str) -> None:
        super().set_setting(name, value)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Heard:
    """Collects the leaves of a watch."""

    def __init__(self) -> None:
        self.leaves: dict[str, str] = {}
        self.times_told = 0
        self._changed = asyncio.Event()

    def __call__(self, key: str, value: str, state: int) -> None:
        self.leaves[key] = value
        self.times_told += 1
        self._changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.leaves) < count:
                self._changed.clear()
                await self._changed.wait()


class Values:
    """Collects what a watch of signed values is told."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.states: list[float] = []
        self._changed = asyncio.Event()

    def __call__(self, key: str, value: Any, state: float) -> None:
        self.values[key] = value
        self.states.append(state)
        self._changed.set()

    async def until(self, expected: dict[str, Any]) -> None:
        async with asyncio.timeout(20):
            while self.values != expected:
                self._changed.clear()
                await self._changed.wait()
