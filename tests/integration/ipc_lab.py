"""A bridge with a handful of channels, and clients of every manner to put to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgpack
import msgspec
import zmq

from sidecar import log
from sidecar.errors import LocalError
from sidecar.ipc.bound import Bound
from sidecar.ipc.events import EventHub, Subscription
from sidecar.ipc.registry import Client, Registry
from sidecar.ipc.zmq_client import ZmqClient
from sidecar.ipc.zmq_server import ZmqServer
from sidecar.ipc.zmq_socket import LoopSocket


class EchoParams(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class SizeParams(msgspec.Struct, forbid_unknown_fields=True):
    size: int


class EventsParams(msgspec.Struct, forbid_unknown_fields=True):
    types: list[str] | None = None
    since: int | None = None


class Tick(msgspec.Struct):
    n: int


class Spec(NamedTuple):
    name: str
    params: type[msgspec.Struct] | None = None
    stream: bool = False
    permission: str | None = None


SPECS = (
    Spec("echo", EchoParams),
    Spec("later", EchoParams),
    Spec("hang"),
    Spec("fail", EchoParams),
    Spec("refuse"),
    Spec("blob", SizeParams),
    Spec("count", SizeParams, stream=True),
    Spec("break", SizeParams, stream=True),
    Spec("blobs", SizeParams, stream=True),
    Spec("events", EventsParams, stream=True),
    Spec("unserved"),
)


class Lab:
    """The server, its hub, and what its handlers saw."""

    def __init__(self, *, buffer: int = 512, **options: Any) -> None:
        self.lines: list[dict[str, Any]] = []
        self._log_waiters: list[tuple[str, asyncio.Future[None]]] = []
        log.configure(self._on_line, lambda: 0, "debug")
        self.hub = EventHub(buffer=buffer)
        self.gone: asyncio.Queue[Client] = asyncio.Queue()
        self.started: asyncio.Queue[str] = asyncio.Queue()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        registry = Registry(log.get("ipc"), lambda: "e1", {spec.name: spec for spec in SPECS})
        for name in ("echo", "later", "hang", "fail", "refuse", "blob"):
            registry.channel(name, getattr(self, f"_{name}"))
        for name in ("count", "break", "blobs", "events"):
            registry.stream(name, getattr(self, f"_{name}"))
        self.server = ZmqServer(registry, log.get("ipc"), on_client_gone=self.gone.put_nowait, **options)
        self.endpoint = ""

    def _on_line(self, line: bytes) -> None:
        self.lines.append(json.loads(line))
        for message, waiter in self._log_waiters:
            if message == self.lines[-1]["msg"] and not waiter.done():
                waiter.set_result(None)

    async def logged(self, message: str) -> None:
        """Waits until a line with this text is there."""
        if not any(line["msg"] == message for line in self.lines):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._log_waiters.append((message, waiter))
            await asyncio.wait_for(waiter, 10.0)

    def _echo(self, _: Client, params: EchoParams) -> str:
        return params.text

    async def _later(self, _: Client, params: EchoParams) -> str:
        await asyncio.sleep(0)
        return params.text

    async def _hang(self, client: Client, _: None) -> None:
        self.started.put_nowait(client.id)
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.put_nowait(client.id)

    async def _fail(self, _: Client, params: EchoParams) -> None:
        raise {"value": ValueError, "timeout": TimeoutError, "cancelled": asyncio.CancelledError}[
            params.text
        ]("a secret")

    def _refuse(self, _: Client, __: None) -> None:
        raise LocalError("not now", details={"why": "test"})

    def _blob(self, _: Client, params: SizeParams) -> bytes:
        return bytes(params.size)

    async def _count(self, client: Client, params: SizeParams) -> AsyncIterator[int]:
        try:
            for n in range(params.size):
                yield n
        finally:
            self.ended.put_nowait(client.id)

    async def _break(self, _: Client, params: SizeParams) -> AsyncIterator[int]:
        for n in range(params.size):
            yield n
        raise ValueError("a secret")

    async def _blobs(self, _: Client, params: SizeParams) -> AsyncIterator[bytes]:
        while True:
            yield bytes(params.size)

    def _events(self, client: Client, params: EventsParams) -> Subscription:
        self.started.put_nowait(client.id)
        return self.hub.subscribe(client, params.types, params.since)

    def client(self, **options: Any) -> ZmqClient:
        return ZmqClient(self.endpoint, **options)


@asynccontextmanager
async def lab(bound: Bound | None = None, **options: Any) -> AsyncIterator[Lab]:
    """A running bridge, by default on a fresh ipc socket; nothing of it is left afterwards."""
    made = Lab(**options)
    made.endpoint = await made.server.start(bound)
    try:
        yield made
    finally:
        await made.server.stop()
        log.configure(lambda line: None, lambda: 0, "off")
        left = [task for task in asyncio.all_tasks() if "Runner" in repr(task.get_coro())]
        assert left == []


class RawClient:
    """A DEALER that says exactly what it is told and reads only when asked."""

    def __init__(self, endpoint: str, *, receive_high_water: int = 1000) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVHWM, receive_high_water)
        self.socket.connect(endpoint)

    def close(self) -> None:
        self.socket.close(0)
        self.context.term()

    def send(self, payload: bytes) -> None:
        self.socket.send_multipart([b"", payload])

    def request(self, name: str, args: Any, message_id: Any = "m") -> None:
        self.send(msgpack.packb([{"message_id": message_id, "v": 3}, name, args]))

    def event(self, name: str, args: Any, to: Any) -> None:
        self.send(msgpack.packb([{"message_id": "e", "v": 3, "response_to": to}, name, args]))

    async def receive(self, timeout_s: float = 10.0) -> tuple[Any, str, Any]:
        """(channel, name, args) of the next message."""
        got: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()

        def read() -> None:
            if got.done():
                raise zmq.Again
            got.set_result(self.socket.recv_multipart(zmq.NOBLOCK))

        watch = LoopSocket(self.socket, read)
        try:
            frames = await asyncio.wait_for(got, timeout_s)
        finally:
            watch.close()
        header, name, args = msgpack.unpackb(frames[-1])
        return header["response_to"], name, args

    async def code(self, timeout_s: float = 10.0) -> str:
        """The code of the next message, which is an error."""
        _, name, args = await self.receive(timeout_s)
        assert name == "ERR"
        return str(args[0])
