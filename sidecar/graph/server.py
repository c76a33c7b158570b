"""The Gun relay on asyncio: sockets around ``core.router``; address and store come from outside."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from http import HTTPStatus

import msgspec
from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import WebSocketException
from websockets.http11 import Request, Response

from sidecar.clock import Clock, Random
from sidecar.errors import UnavailableError
from sidecar.graph.core import wire
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.store import NodeStore
from sidecar.graph.transport import silent_logger
from sidecar.log import Logger

KEEP_ALIVE_S = 20.0
EXPIRE_EVERY_S = 60.0
DEFAULT_PATH = "/gun"


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the sockets may cost; the rest is in ``Limits``."""

    connections: int = 4_096
    unsent_bytes: int = 4 * 1024 * 1024
    """Queued towards a client that does not read; beyond it the connection is dropped."""
    messages_per_s: float = 2_000.0
    burst: float = 10_000.0
    """Messages above the rate before reading from the connection is slowed down."""


class Health(msgspec.Struct, frozen=True):
    """Body of ``/healthz``."""

    status: str
    connections: int
    problems: tuple[str, ...] = ()


class _Bucket:
    """Messages a connection may still send; an overdrawn one is told how long not to be read."""

    def __init__(self, limits: ServerLimits, now: float) -> None:
        self._rate = limits.messages_per_s
        self._burst = self._tokens = limits.burst
        self._at = now

    def take(self, count: int, now: float) -> float:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - count
        self._at = now
        return max(0.0, -self._tokens / self._rate)


class GraphServer:
    """A relay on one address. HAM compares with the wall clock, the one that ``Date`` tells."""

    def __init__(
        self,
        store: NodeStore,
        *,
        clock: Clock,
        random: Random,
        log: Logger,
        limits: Limits | None = None,
        server_limits: ServerLimits | None = None,
        path: str = DEFAULT_PATH,
    ) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._limits = limits or Limits()
        self._server_limits = server_limits or ServerLimits()
        self._path = path
        self._router = Router(store, random, self._limits, self._flush)
        self._numbers = itertools.count(1)
        self._connections: dict[int, ServerConnection] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._server: Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Bind and serve; returns the address. Raises UnavailableError if it cannot be bound."""
        try:
            self._server = await serve(
                self._serve,
                host,
                port,
                process_request=self._answer_http,
                max_size=self._limits.frame_bytes,
                compression=None,
                ping_interval=KEEP_ALIVE_S,
                ping_timeout=KEEP_ALIVE_S,
                close_timeout=1.0,
                server_header=None,
                logger=silent_logger(),
            )
        except (OSError, OverflowError) as error:
            raise UnavailableError(f"cannot listen on {host}:{port}: {error}") from error
        self._keep_alive()
        self._expire()
        bound = next(iter(self._server.sockets)).getsockname()
        return str(bound[0]), int(bound[1])

    async def stop(self) -> None:
        """Take no more connections, acknowledge what is being written, then close the others."""
        if self._server is None:
            return
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        written = asyncio.Event()
        self._store.write({}, lambda _: written.set())
        await written.wait()
        self._server.close()
        await self._server.wait_closed()

    def health(self) -> Health:
        """Degraded while writes are being lost."""
        failing = self._router.failing
        problems = ("storage: writes fail",) if failing else ()
        return Health("degraded" if problems else "ok", len(self._connections), problems)

    @property
    def counters(self) -> dict[str, int]:
        """What was refused or dropped, by reason."""
        return dict(self._router.counters)

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Let an upgrade to our path through; everything else gets an answer, with the Date clients need."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            response = connection.respond(HTTPStatus.OK, msgspec.json.encode(self.health()).decode() + "\n")
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/json"
            return response
        if path != self._path:
            return connection.respond(HTTPStatus.NOT_FOUND, "not found\n")
        if "upgrade" not in request.headers.get("Connection", "").lower():
            return connection.respond(HTTPStatus.OK, "Gun relay: connect with a WebSocket\n")
        if len(self._connections) >= self._server_limits.connections:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        number = next(self._numbers)
        self._connections[number] = connection
        self._router.opened(number)
        self._flush()
        bucket = _Bucket(self._server_limits, self._clock.monotonic())
        try:
            async for frame in connection:
                if isinstance(frame, bytes):
                    self._router.counters["binary"] += 1
                    continue
                now = self._clock.monotonic()
                messages = self._router.received(number, frame, now, self._clock.wall_ms())
                self._flush()
                wait_s = bucket.take(messages, now)
                if wait_s > 0:
                    self._router.counters["slowed"] += 1
                    await asyncio.sleep(min(wait_s, 5.0))
        except WebSocketException:
            self._router.counters["broken-connection"] += 1
        finally:
            del self._connections[number]
            self._router.closed(number, self._clock.monotonic())

    def _flush(self) -> None:
        """Send what the router wants sent; nobody waits for anybody."""
        for effect in self._router.take():
            self._send_all(effect.connections, effect.text)
        due_ms = self._router.next_due_ms()
        if due_ms is not None:
            delay_s = max(0.0, due_ms - self._clock.wall_ms()) / 1000
            self._arrange("due", min(delay_s, KEEP_ALIVE_S), self._settle)

    def _send_all(self, numbers: Iterable[int], text: str) -> None:
        targets = [self._connections[number] for number in numbers if number in self._connections]
        broadcast(targets, text)
        for connection in targets:
            if connection.transport.get_write_buffer_size() > self._server_limits.unsent_bytes:
                self._router.counters["slow-reader"] += 1
                connection.transport.abort()

    def _settle(self) -> None:
        self._router.handle_timer(self._clock.monotonic(), self._clock.wall_ms())
        self._flush()

    def _keep_alive(self) -> None:
        self._send_all(list(self._connections), wire.KEEP_ALIVE)
        self._arrange("keep-alive", KEEP_ALIVE_S, self._keep_alive)

    def _expire(self) -> None:
        self._store.expire(self._clock.wall_ms())
        self._arrange("expire", EXPIRE_EVERY_S, self._expire)

    def _arrange(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(delay_s, call)
