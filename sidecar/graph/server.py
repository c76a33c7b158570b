"""The Gun relay on asyncio: sockets around ``core.router``; address and store come from outside."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from sidecar.clock import Clock, Random
from sidecar.errors import UnavailableError
from sidecar.graph.admission import LOOPBACK, Admission, Bucket, ServerLimits
from sidecar.graph.core import wire
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.guarded import GuardedConnection, guarded
from sidecar.graph.peering import Upstreams
from sidecar.graph.store import NodeStore
from sidecar.graph.transport import Socket, public_url, silent_logger
from sidecar.log import Logger

KEEP_ALIVE_S = 20.0
SAVE_WITHIN_S = 0.02
"""How long the subscriptions of gun.js clients gather before they are written."""
EXPIRE_EVERY_S = 60.0
DRAIN_S = 1.0
"""How long an end waits for what is being written: a disk that needs longer has not promised anything."""
MAX_PAUSE_S = 5.0
"""How long one that said too much is not read, until it is looked at again."""
UNREAD_FRAMES = 1
"""Of one connection, beside what one read of its socket brought: all of them together are a lot of memory."""
BUSY_S = 0.001
"""Frames that follow each other closer than this are sent together."""
DEFAULT_PATH = "/gun"
JSON = "application/json"


class Health(msgspec.Struct, frozen=True):
    """Body of ``/healthz``."""

    status: str
    connections: int
    problems: tuple[str, ...] = ()


class GraphServer:
    """A relay on one address. HAM compares with the wall clock, the one that ``Date`` tells.

    ``peers`` are relays to connect to, ``peer_tls`` checks their certificates; ``tls`` makes this one's port
    speak TLS; ``documents`` are JSON texts by path that every page may read.
    """

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
        peers: Sequence[str] = (),
        peer_tls: ssl.SSLContext | None = None,
        tls: ssl.SSLContext | None = None,
        trusted_addresses: Sequence[str] = LOOPBACK,
        documents: Mapping[str, Callable[[], str]] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._limits = limits or Limits()
        self._server_limits = server_limits or ServerLimits()
        self._path = path
        self._tls = tls
        self._documents = documents or {}
        self._router = Router(store, random, self._limits, self._flush_soon, upstreams=len(set(peers)))
        self._admission = Admission(self._server_limits, trusted_addresses)
        self._numbers = itertools.count(1)
        self._sockets: set[GuardedConnection] = set()
        self._connections: dict[int, ServerConnection] = {}
        self._peers: dict[int, Socket] = {}
        self._upstreams = Upstreams(
            peers,
            clock=clock,
            random=random,
            log=log,
            tls=peer_tls,
            on_open=self._peer_opened,
            on_frame=self._peer_said,
            on_close=self._peer_left,
        )
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._server: Server | None = None
        self._ending = asyncio.Event()
        self._flush_planned = False
        self._flushed_at = 0.0
        self.frames_out = 0

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Bind and serve; returns the address. Raises UnavailableError if it cannot be bound."""
        limits = self._server_limits
        try:
            self._server = await serve(
                self._serve,
                host,
                port,
                process_request=self._answer_http,
                create_connection=guarded(self._admission, limits, self._router.counters, self._sockets),
                max_size=max(wire.MAX_READ, self._limits.frame_bytes),
                max_queue=UNREAD_FRAMES,
                compression=None,
                open_timeout=limits.handshake_s,
                ping_interval=KEEP_ALIVE_S,
                ping_timeout=KEEP_ALIVE_S,
                close_timeout=1.0,
                server_header=None,
                logger=silent_logger(),
                ssl=self._tls,
                ssl_handshake_timeout=limits.handshake_s if self._tls else None,
            )
        except (OSError, OverflowError) as error:
            raise UnavailableError(f"cannot listen on {host}:{port}: {error}") from error
        self._keep_alive()
        self._expire()
        self._upstreams.start()
        bound = next(iter(self._server.sockets)).getsockname()
        return str(bound[0]), int(bound[1])

    async def stop(self) -> None:
        """Take no more connections, acknowledge what is being written, then close the others.

        What arrives meanwhile is not acknowledged, so that its sender keeps it.
        """
        if self._server is None:
            return
        self._ending.set()
        self._server.close(close_connections=False)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._save()
        written = asyncio.Event()
        self._store.write({}, lambda _: written.set())
        with suppress(TimeoutError):
            await asyncio.wait_for(written.wait(), DRAIN_S)
        self._flush()
        ends = [connection.close(1001) for connection in self._connections.values()]
        await asyncio.gather(self._upstreams.stop(), *ends, return_exceptions=True)
        for socket in list(self._sockets):  # in a handshake, or reading nothing
            socket.transport.abort()
        await self._server.wait_closed()

    def health(self) -> Health:
        """Degraded while writes are being lost or a peer is down."""
        problems = ["storage: writes fail"] if self._router.failing else []
        problems += [f"peer: {url} is not connected" for url, up in self.peers if not up]
        return Health("degraded" if problems else "ok", len(self._connections), tuple(problems))

    @property
    def counters(self) -> dict[str, int]:
        """What was refused or dropped, by reason."""
        return dict(self._router.counters)

    @property
    def handled(self) -> dict[str, int]:
        """Messages by kind."""
        return dict(self._router.handled)

    @property
    def subscriptions(self) -> int:
        """Souls and keys followed, once for each client."""
        return self._router.subscriptions

    @property
    def connections(self) -> int:
        """WebSockets of clients."""
        return len(self._connections)

    @property
    def peers(self) -> list[tuple[str, bool]]:
        """URL of each relay that this one connects to, and whether it is connected."""
        return [(public_url(link.url), link.up) for link in self._upstreams.links]

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Let an upgrade to our path through; everything else gets an answer, with the Date clients need."""
        path = request.path.partition("?")[0]
        if path == self._path:
            if "upgrade" in request.headers.get("Connection", "").lower():
                return self._refusal(connection)
            return connection.respond(HTTPStatus.OK, "Gun relay: connect with a WebSocket\n")
        if path == "/healthz":
            return answer(connection, msgspec.json.encode(self.health()).decode() + "\n", JSON)
        if path not in self._documents:
            return connection.respond(HTTPStatus.NOT_FOUND, "not found\n")
        response = answer(connection, self._documents[path]() + "\n", JSON)
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    def _refusal(self, connection: ServerConnection) -> Response | None:
        """The answer to one client too many."""
        assert isinstance(connection, GuardedConnection)
        if len(self._connections) >= self._server_limits.connections:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full\n")
        if connection.address.crowded():
            self._router.counters["crowded-address"] += 1
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "too many connections\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, GuardedConnection)
        number = next(self._numbers)
        self._connections[number] = connection
        self._router.opened(number)
        self._flush()
        limits = self._server_limits
        bucket = Bucket(limits.messages_per_s, limits.burst, self._clock.monotonic())
        try:
            async for frame in connection:
                now = self._clock.monotonic()
                messages = self._take_in(number, frame)
                wait_s = max(bucket.take(messages, now), connection.address.take(messages, now))
                if wait_s > 0:
                    self._router.counters["slowed"] += 1
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._ending.wait(), min(wait_s, MAX_PAUSE_S))
        except WebSocketException:
            self._router.counters["broken-connection"] += 1
        finally:
            del self._connections[number]
            self._router.closed(number, self._clock.monotonic())

    def _take_in(self, number: int, frame: str | bytes) -> int:
        """Let the router handle a frame; returns how many messages it held."""
        if self._ending.is_set():
            return 1
        if isinstance(frame, bytes):
            self._router.counters["binary"] += 1
            return 1
        messages = self._router.received(number, frame, self._clock.monotonic(), self._clock.wall_ms())
        self._flush_soon()
        return messages

    def _peer_opened(self, socket: Socket) -> int:
        number = next(self._numbers)
        self._peers[number] = socket
        self._router.opened(number, upstream=True)
        self._flush()
        return number

    def _peer_said(self, number: int, frame: str | bytes) -> None:
        self._take_in(number, frame)

    def _peer_left(self, number: int) -> None:
        del self._peers[number]
        self._router.closed(number, self._clock.monotonic())

    def _flush_soon(self) -> None:
        """Send at once, or when much is going on after this turn of the loop, all it brought in one write."""
        if self._flush_planned:
            return
        if self._clock.monotonic() - self._flushed_at > BUSY_S:
            self._flush()
            return
        self._flush_planned = True
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Send what the router wants sent; nobody waits for anybody."""
        self._flush_planned = False
        self._flushed_at = self._clock.monotonic()
        waiting: dict[int, list[bytes]] = {}
        for effect in self._router.take():
            frame = _frame(effect.text)
            for number in effect.connections:
                if number in self._peers:
                    self._peers[number].send(effect.text)
                else:
                    waiting.setdefault(number, []).append(frame)
        for number, frames in waiting.items():
            self._write(number, frames)
        if self._router.unsaved and "save" not in self._timers:
            self._arrange("save", SAVE_WITHIN_S, self._save)
        due_ms = self._router.next_due_ms()
        if due_ms is not None:
            delay_s = max(0.0, due_ms - self._clock.wall_ms()) / 1000
            self._arrange("due", min(delay_s, KEEP_ALIVE_S), self._settle)

    def _write(self, number: int, frames: list[bytes]) -> None:
        """Straight to the transport: a frame to many is made once, and no task waits for it to leave."""
        connection = self._connections.get(number)
        if connection is None or connection.state is not State.OPEN:
            return
        transport = connection.transport
        transport.write(b"".join(frames))
        self.frames_out += len(frames)
        if transport.get_write_buffer_size() > self._server_limits.unsent_bytes:
            self._router.counters["slow-reader"] += 1
            transport.abort()

    def _settle(self) -> None:
        self._router.handle_timer(self._clock.monotonic(), self._clock.wall_ms())
        self._flush()

    def _keep_alive(self) -> None:
        frame = _frame(wire.KEEP_ALIVE)
        for number in list(self._connections):
            self._write(number, [frame])
        self._arrange("keep-alive", KEEP_ALIVE_S, self._keep_alive)

    def _expire(self) -> None:
        self._store.expire(self._clock.wall_ms())
        self._save()
        self._admission.forget_settled(self._clock.monotonic())
        self._arrange("expire", EXPIRE_EVERY_S, self._expire)

    def _save(self) -> None:
        self._timers.pop("save", None)
        self._router.save(self._clock.wall_ms())

    def _arrange(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        if self._ending.is_set():
            return
        self._timers[name] = asyncio.get_running_loop().call_later(delay_s, call)


def _frame(text: str) -> bytes:
    """One text frame of a server (RFC 6455 section 5.2); nothing is compressed."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def answer(connection: ServerConnection, text: str, content_type: str) -> Response:
    """200 with a body."""
    response = connection.respond(HTTPStatus.OK, text)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = content_type
    return response
