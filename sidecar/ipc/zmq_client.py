"""A Python caller for the bridge: tools of ours and tests. Works against stock zerorpc servers too."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import msgspec
import zmq

from sidecar.errors import UnavailableError
from sidecar.ipc.wire.client import ClientWire, Done, Event, Failed, Item, Lost, Request, Result
from sidecar.ipc.wire.credit import WINDOW
from sidecar.ipc.wire.liveness import INTERVAL_S
from sidecar.ipc.wire.messages import MessageIds
from sidecar.ipc.zmq_socket import LoopSocket

TIMEOUT_S: Final = 30.0


class CallFailed(Exception):
    """The server answered with an error: its code, or a stock server's exception name, is ``code``."""

    def __init__(self, code: str, message: str, details: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details
        """JSON from ours, a traceback from a stock server, or empty."""


class LostRemote(UnavailableError):
    """The server fell silent for two heartbeat intervals."""


class ZmqClient:
    """One connection; ``curve`` is (server public key, our public key, our secret key) in Z85."""

    def __init__(
        self,
        endpoint: str,
        *,
        curve: tuple[str, str, str] | None = None,
        heartbeat_s: float = INTERVAL_S,
        window: int = WINDOW,
    ) -> None:
        self._wire = ClientWire(MessageIds(os.urandom(12).hex()), heartbeat_s=heartbeat_s)
        self._window = window
        self._waiting: dict[Request, deque[Event]] = {}
        self._wakeups: dict[Request, asyncio.Future[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._dealer = self._context.socket(zmq.DEALER)
        self._dealer.setsockopt(zmq.LINGER, 0)
        if curve is not None:
            server_key, public_key, secret_key = (key.encode() for key in curve)
            self._dealer.setsockopt(zmq.CURVE_SERVERKEY, server_key)
            self._dealer.setsockopt(zmq.CURVE_PUBLICKEY, public_key)
            self._dealer.setsockopt(zmq.CURVE_SECRETKEY, secret_key)
        self._dealer.connect(endpoint)
        self._socket = LoopSocket(self._dealer, self._receive)

    def close(self, linger_ms: int = 0) -> None:
        """Ends the connection; what still waits for an answer is lost."""
        self._socket.close()
        if self._timer is not None:
            self._timer.cancel()
        for request in list(self._waiting):
            self._deliver(Lost(request))
        self._dealer.close(linger_ms)
        self._context.term()

    async def call(self, method: str, params: Any = None, *, timeout_s: float | None = TIMEOUT_S) -> Any:
        """The decoded result; raises ``CallFailed``, ``LostRemote`` or ``TimeoutError``."""
        async with asyncio.timeout(timeout_s), aclosing(self.stream(method, params)) as answers:
            async for answer in answers:
                return answer
        return None

    async def stream(self, method: str, params: Any = None) -> AsyncGenerator[Any, None]:
        """Decoded items (or the one result) as they come; leaving the iteration cancels."""
        request = self._wire.open(method, (params,), self._loop.time(), self._window)
        events = self._waiting[request] = deque()
        self._flush()
        try:
            while True:
                while events:
                    event = events.popleft()
                    if isinstance(event, Failed):
                        raise CallFailed(event.name, event.message, event.details)
                    if isinstance(event, Lost):
                        raise LostRemote("the server is silent")
                    if isinstance(event, Done):
                        return
                    if isinstance(event, Item):
                        self._wire.taken(request)
                        self._flush()
                    yield msgspec.msgpack.decode(event.value)
                    if isinstance(event, Result):
                        return
                await self._arrival(request)
        finally:
            del self._waiting[request]
            self._wire.cancel(request)
            self._flush()

    async def _arrival(self, request: Request) -> None:
        wakeup = self._wakeups[request] = self._loop.create_future()
        try:
            await wakeup
        finally:
            del self._wakeups[request]

    def _receive(self) -> None:
        frames = self._dealer.recv_multipart(zmq.NOBLOCK)
        event = self._wire.receive(frames[-1], self._loop.time())
        if event is not None:
            self._deliver(event)

    def _deliver(self, event: Event) -> None:
        waiting = self._waiting.get(event.request)
        if waiting is not None:
            waiting.append(event)
        wakeup = self._wakeups.get(event.request)
        if wakeup is not None and not wakeup.done():
            wakeup.set_result(None)

    def _flush(self) -> None:
        if self._dealer.closed:
            return
        for payload in self._wire.take_outgoing():
            try:
                self._dealer.send_multipart((b"", payload), zmq.NOBLOCK)
            except zmq.Again:
                raise UnavailableError("too much waits for the server") from None
        self._socket.sent()
        due = self._wire.next_deadline()
        if due is not None and self._timer is None:
            self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        for event in self._wire.handle_timer(self._loop.time()):
            self._deliver(event)
        self._flush()
