"""A relay of ours as a process, bad clients of it, and a bad relay: what the fault tests share."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.peers import ROOT

DEADLINE_S = 30.0
Message = dict[str, Any]
_numbers = itertools.count(1)
"""Ids are unique among all clients of a graph: a relay drops one it knows."""


class RelayProcess:
    """The process that ``aleph-sidecar relay`` runs its Gun relay with, told its limits on stdin."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""
        self.port = 0

    async def until_ready(self) -> None:
        assert self.process.stdout is not None
        ready = json.loads(await asyncio.wait_for(self.process.stdout.readline(), DEADLINE_S))
        self.port = ready["port"]
        self.url = f"http://127.0.0.1:{self.port}/gun"

    @property
    def rss(self) -> int:
        """Bytes in memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    @property
    def lives(self) -> bool:
        return self.process.returncode is None

    async def health(self) -> Message:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        raw = await asyncio.wait_for(reader.read(), DEADLINE_S)
        writer.close()
        await writer.wait_closed()
        health = json.loads(raw.partition(b"\r\n\r\n")[2])
        assert isinstance(health, dict)
        return health

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def exit_code(self) -> int:
        return await asyncio.wait_for(self.process.wait(), DEADLINE_S)


@asynccontextmanager
async def relay_process(
    data_dir: object = None, *, ready: bool = True, **config: Any
) -> AsyncIterator[RelayProcess]:
    """``config``: members of GunRelayConfig. Without a folder the graph is kept in memory."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sidecar.app.processes.gun_relay",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert process.stdin is not None
    folder = None if data_dir is None else str(data_dir)
    line = {"host": "127.0.0.1", "port": 0, "data_dir": folder, **config}
    process.stdin.write(json.dumps(line).encode() + b"\n")
    relay = RelayProcess(process)
    try:
        if ready:
            await relay.until_ready()
        yield relay
    finally:
        await relay.kill()


class Client:
    """A Gun client that says what it is told to, and keeps what it heard."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.heard: list[Message] = []

    async def say(self, frame: Message | str | bytes) -> str:
        """Send a frame as it is, or a message with an id of its own; returns the id."""
        message_id = ""
        if isinstance(frame, dict):
            message_id = f"m{next(_numbers)}"
            frame = json.dumps({"#": message_id, **frame})
        await self.connection.send(frame)
        return message_id

    async def until(self, matches: Callable[[Message], bool]) -> Message:
        """The next message that matches."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                frame = json.loads(await self.connection.recv())
                for message in frame if isinstance(frame, list) else [frame]:
                    self.heard.append(message)
                    if matches(message):
                        return message

    async def answer(self, message_id: str) -> Message:
        return await self.until(lambda message: message.get("@") == message_id)

    async def ask(self, frame: Message) -> Message:
        """Say it and wait for the answer."""
        return await self.answer(await self.say(frame))

    async def close_code(self) -> int:
        with suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(self.connection.recv(), DEADLINE_S)
        assert self.connection.close_code is not None
        return self.connection.close_code


@asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[Client]:
    address = url.replace("http", "ws")
    connection = await connect(
        address, proxy=None, compression=None, max_size=None, close_timeout=1, **options
    )
    try:
        yield Client(connection)
    finally:
        await end(connection)


async def end(connection: ClientConnection) -> None:
    """Close it; asyncio raises an AttributeError if it was lost with bytes unsent."""
    with suppress(AttributeError):
        await connection.close()


def put(soul: str, state: Any, **cells: Any) -> Message:
    """A message that writes these cells."""
    return {"put": {soul: {"_": {"#": soul, ">": dict.fromkeys(cells, state)}, **cells}}}


class BadRelay:
    """A relay that says what the test wants; it keeps what it was told."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        self.gets: list[Message] = []
        self._asked = asyncio.Condition()
        self._sockets: list[ServerConnection] = []

    async def serve(self, connection: ServerConnection) -> None:
        self.connections += 1
        self._sockets.append(connection)
        await connection.send('{"#":"hello","dam":"?","pid":"bad"}')
        with suppress(ConnectionClosed):
            async for frame in connection:
                parsed = json.loads(frame)
                for message in parsed if isinstance(parsed, list) else [parsed]:
                    if "get" in message:
                        async with self._asked:
                            self.gets.append(message)
                            self._asked.notify_all()

    async def asked(self, soul: str) -> Message:
        """The first get of a soul."""

        def found() -> Message | None:
            return next((one for one in self.gets if one["get"]["#"] == soul), None)

        async with asyncio.timeout(DEADLINE_S), self._asked:
            while (message := found()) is None:
                await self._asked.wait()
            return message

    async def say(self, frames: Iterable[str | bytes]) -> None:
        """To whoever connected last."""
        for frame in frames:
            await self._sockets[-1].send(frame)


@asynccontextmanager
async def bad_relay() -> AsyncIterator[BadRelay]:
    relay = BadRelay()

    def only_sockets(connection: ServerConnection, request: Request) -> Response | None:
        upgrade = "upgrade" in request.headers.get("Connection", "").lower()
        return None if upgrade else connection.respond(200, "a relay\n")

    async with serve(
        relay.serve, "127.0.0.1", 0, process_request=only_sockets, compression=None, max_size=None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        relay.url = f"http://127.0.0.1:{port}/gun"
        yield relay


def port_of(url: str) -> int:
    return urlsplit(url).port or 0
