"""The ZeroMQ side of the bridge: one ROUTER socket, a ``ServerWire`` behind it, a ``Runner`` for the work.

It decides about connections only. libzmq tells the descriptor of a connection that ended, and whose that was
is learnt from a client's first message: so a killed client is noticed at once and its channels are cancelled.
What a client does not read waits in a bounded ``Outbox``; large answers go to libzmq without a copy, and
only as many at a time as libzmq should hold.
"""

from __future__ import annotations

import asyncio
import errno
import os
import struct
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

import zmq

from sidecar.errors import Code, UnavailableError
from sidecar.ipc.bound import Bound, bind_ipc
from sidecar.ipc.registry import Client, Registry
from sidecar.ipc.runner import Runner
from sidecar.ipc.wire.directory import Directory
from sidecar.ipc.wire.limits import Limits
from sidecar.ipc.wire.liveness import INTERVAL_S
from sidecar.ipc.wire.messages import MessageIds
from sidecar.ipc.wire.outbox import Admission, Outbox, Total
from sidecar.ipc.wire.server import Outgoing, ServerWire
from sidecar.ipc.zap import ZapHandler
from sidecar.ipc.zmq_socket import LoopSocket
from sidecar.log import Logger

LARGE: Final = 64 * 1024
"""Bytes from which a message is sent without a copy and counted until libzmq has let go of it."""
LARGE_IN_FLIGHT: Final = 16 * 1024 * 1024
"""Bytes of such messages that libzmq may hold for one client; one message may be larger than that."""
RETRY_S: Final = (0.002, 0.05)
"""Shortest and longest wait before a full connection is tried again, beside the signal libzmq gives."""

LINGER_MS: Final = 100
"""For the last answers at the end."""

_LAST = int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
"""Plain numbers: the operators of ``zmq.Flag`` cost more than a whole send."""
_MONITOR_EVENT = struct.Struct("=hi")


class _Connection:
    """One client's connection and what waits for it."""

    __slots__ = ("client", "fd", "identity", "in_flight", "outbox")

    def __init__(self, identity: bytes, fd: int, client: Client, outbox: Outbox) -> None:
        self.identity = identity
        self.fd = fd
        self.client = client
        self.outbox = outbox
        self.in_flight: deque[tuple[zmq.MessageTracker, int]] = deque()

    def room_for_large(self, size: int) -> bool:
        while self.in_flight and self.in_flight[0][0].done:
            self.in_flight.popleft()
        held = sum(held for _, held in self.in_flight)
        return not held or held + size <= LARGE_IN_FLIGHT


class ZmqServer:
    """Serves a ``Registry`` to every client of one bound socket."""

    def __init__(
        self,
        registry: Registry,
        log: Logger,
        *,
        permissions: frozenset[str] = frozenset(),
        admitted: bool = True,
        on_client_gone: Callable[[Client], None] | None = None,
        name: str = "aleph-sidecar",
        limits: Limits = Limits(),  # noqa: B008 - immutable
        heartbeat_s: float = INTERVAL_S,
    ) -> None:
        """``permissions`` and ``admitted`` are those of a client that has not said hello yet."""
        self._log = log
        self._permissions = permissions
        self._admitted = admitted
        self._on_client_gone = on_client_gone
        self._limits = limits
        self._wire = ServerWire(
            Directory(name, registry.methods()),
            MessageIds(os.urandom(8).hex()),
            limits=limits,
            heartbeat_s=heartbeat_s,
        )
        self._connections: dict[bytes, _Connection] = {}
        self._clients: dict[bytes, Client] = {}
        self._runner = Runner(
            self._wire,
            registry,
            clients=self._clients,
            is_clogged=self._is_clogged,
            flush=self._flush,
            flush_soon=self._flush_soon,
        )
        self._by_fd: dict[int, bytes] = {}
        self._closed_unread: set[int] = set()
        """Descriptors of connections that ended before their first message was read, if they sent one."""
        self._clogged: set[bytes] = set()
        self._waiting_total = Total()
        self._client_number = 0
        self._began = 0
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._retry_s = RETRY_S[0]
        self._bound: Bound | None = None

    # -- life

    async def start(self, bound: Bound | None = None) -> str:
        """Takes over a bound socket, by default a fresh ``ipc`` one, and returns its endpoint."""
        bound = bound or bind_ipc()
        self._bound = bound
        self._loop = asyncio.get_running_loop()
        self._router = bound.router
        self._recv: Callable[..., Any] = bound.router.recv
        # The compiled method itself: zmq.Socket wraps it for draft socket types.
        self._send_frame: Callable[..., Any] = super(zmq.Socket, bound.router).send
        self._zap = ZapHandler(bound.zap, bound.allowed, self._log) if bound.zap is not None else None
        self._monitor_socket = bound.monitor
        self._monitor = LoopSocket(bound.monitor, self._receive_monitor)
        self._socket = LoopSocket(bound.router, self._receive, self._settle, self._transmit)
        return bound.endpoint

    async def stop(self) -> None:
        """Cancels what runs, closes the socket and removes its file. Safe to call twice."""
        bound = self._bound
        if bound is None:
            return
        await self._runner.close()
        self._transmit()
        self._bound = None
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        for watched in (self._socket, self._monitor, self._zap):
            if watched is not None:
                watched.close()
        for identity in list(self._connections):
            self._forget(identity)
        bound.close(LINGER_MS)

    @property
    def clients(self) -> list[Client]:
        return list(self._clients.values())

    @property
    def counters(self) -> Counter[str]:
        """What was dropped or refused, by reason."""
        return self._wire.counters

    @property
    def active(self) -> int:
        """Calls and streams that are running."""
        return self._runner.active

    @property
    def waiting_bytes(self) -> int:
        """Answers that clients have not taken yet, beside what libzmq holds."""
        return self._waiting_total.bytes

    # -- receiving

    def _receive(self) -> None:
        recv = self._recv
        identity = recv(_LAST)
        first = last = recv(_LAST, False)
        if first.more:
            last = recv(_LAST, False)
            if last.more or len(first):
                self._skip_rest(last)
                return
        connection = self._connections.get(identity)
        if connection is None:
            connection = self._enter(identity, int(last.get(zmq.SRCFD)))
        self._handle(identity, connection, last.bytes)

    def _skip_rest(self, frame: zmq.Frame) -> None:
        """A message is one frame, or an empty one (as REQ and zerorpc put) and one more; this is neither."""
        while frame.more:
            frame = self._recv(_LAST, False)
        self._wire.counters["malformed-envelope"] += 1

    def _enter(self, identity: bytes, fd: int) -> _Connection | None:
        """A client's first message; None when there are too many."""
        self._drain_monitor()
        if self._wire.connect(identity):
            self._client_number += 1
            client = Client(f"c{self._client_number}", self._permissions, admitted=self._admitted)
            outbox = Outbox(self._limits, self._waiting_total)
            self._clients[identity] = client
            connection = self._connections[identity] = _Connection(identity, fd, client, outbox)
            stale = self._by_fd.pop(fd, None)
            self._by_fd[fd] = identity
            if stale is not None:
                self._gone(stale)
            self._log.info("client connected", client=client.id, clients=len(self._connections))
            if fd in self._closed_unread:
                self._closed_unread.discard(fd)
                self._send(connection, self._wire.probe())  # says EHOSTUNREACH if it is that connection
            return self._connections.get(identity)
        return None

    def _handle(self, identity: bytes, connection: _Connection | None, payload: bytes) -> None:
        if connection is not None and len(connection.outbox):
            admission = connection.outbox.admission()
            if admission is Admission.DROP:
                self._wire.counters["request-dropped"] += 1
                return
            if admission is Admission.REFUSE:
                problem = UnavailableError("answers wait unread by this client", code=Code.RESOURCE)
                self._wire.refuse(identity, payload, problem)
                return
        event = self._wire.receive(identity, payload, self._loop.time())
        if event is not None:
            self._runner.perform(event)
        if self._wire.outgoing:
            self._transmit()

    def _settle(self) -> bool:
        """After a burst. True when something was sent or will be: tasks that began in it answer next turn."""
        self._arm_timer()
        began, self._began = self._runner.started != self._began, self._runner.started
        if self._clogged:
            self._retry_clogged()
        return began or bool(self._clogged)

    # -- sending

    def _flush_soon(self) -> None:
        """Answers of one burst leave together: the thread that writes them is woken once."""
        if not self._socket.flush_due:
            self._flush()

    def _flush(self) -> None:
        """Sends from outside a burst."""
        if self._bound is not None:
            self._transmit()
            self._socket.sent()

    def _transmit(self) -> None:
        for outgoing in self._wire.take_outgoing():
            connection = self._connections.get(outgoing.identity)
            if connection is None:
                self._send_unregistered(outgoing)
            elif len(connection.outbox) or not self._send(connection, outgoing.payload):
                self._wait(connection, outgoing)

    def _send(self, connection: _Connection, payload: bytes) -> bool:
        """False: the connection takes no more for now."""
        large = len(payload) >= LARGE
        if large and not connection.room_for_large(len(payload)):
            return False
        send = self._send_frame
        try:
            send(connection.identity, _MORE)
            send(b"", _MORE)
            if large:
                tracker = send(payload, _LAST, False, True)
                connection.in_flight.append((tracker, len(payload)))
            else:
                send(payload, _LAST)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != errno.EHOSTUNREACH:
                raise
            self._gone(connection.identity)
        return True

    def _send_unregistered(self, outgoing: Outgoing) -> None:
        """The refusal of one client too many; it is not worth waiting for."""
        try:
            self._router.send_multipart([outgoing.identity, b"", outgoing.payload], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (errno.EHOSTUNREACH, errno.EAGAIN):
                raise

    def _wait(self, connection: _Connection, outgoing: Outgoing) -> None:
        if not outgoing.channel_id or connection.identity not in self._connections:
            return
        payload = outgoing.payload
        if not connection.outbox.fits(len(payload)):
            self._wire.counters["answer-replaced"] += 1
            payload = self._wire.apology(outgoing.channel_id)
        connection.outbox.push(payload, self._loop.time())
        self._clogged.add(connection.identity)
        self._arm_retry()

    def _is_clogged(self, identity: bytes) -> bool:
        return identity in self._clogged

    def _retry_clogged(self) -> None:
        now = self._loop.time()
        for identity in tuple(self._clogged):
            connection = self._connections[identity]
            outbox = connection.outbox
            while len(outbox) and self._send(connection, outbox.head()):
                if len(outbox):
                    outbox.pop(now)
                self._retry_s = RETRY_S[0]
            if outbox.stalled(now):
                self._log.warning("client takes no answers", client=connection.client.id)
                self._gone(identity)
            elif not len(outbox) and identity in self._clogged:
                self._clogged.discard(identity)
                self._runner.unclogged(identity)

    def _arm_retry(self) -> None:
        if self._retry is None and self._clogged and self._bound is not None:
            self._retry = self._loop.call_later(self._retry_s, self._on_retry)

    def _on_retry(self) -> None:
        self._retry = None
        self._retry_s = min(self._retry_s * 2, RETRY_S[1])
        self._retry_clogged()
        self._arm_retry()
        self._flush()

    # -- time

    def _arm_timer(self) -> None:
        if self._timer is None:
            due = self._wire.next_deadline()
            if due is not None:
                self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        for event in self._wire.handle_timer(self._loop.time()):
            self._runner.perform(event)
        self._flush()
        self._arm_timer()

    # -- connections that end

    def _receive_monitor(self) -> None:
        event, fd = _MONITOR_EVENT.unpack(self._monitor_socket.recv_multipart(zmq.NOBLOCK)[0])
        if event == zmq.EVENT_DISCONNECTED:
            identity = self._by_fd.get(fd)
            if identity is not None:
                self._gone(identity)
            else:
                self._closed_unread.add(fd)
        else:
            self._wire.counters["handshake-refused"] += 1

    def _drain_monitor(self) -> None:
        """A descriptor may be used again: its old owner is forgotten before a new one is entered."""
        try:
            while True:
                self._receive_monitor()
        except zmq.Again:
            return

    def _gone(self, identity: bytes) -> None:
        for event in self._wire.disconnect(identity):
            self._runner.perform(event)
        self._forget(identity)

    def _forget(self, identity: bytes) -> None:
        self._clients.pop(identity, None)
        connection = self._connections.pop(identity, None)
        if connection is None:
            return
        if self._by_fd.get(connection.fd) == identity:
            del self._by_fd[connection.fd]
        self._clogged.discard(identity)
        connection.outbox.clear()
        self._log.info("client gone", client=connection.client.id, clients=len(self._connections))
        if self._on_client_gone is not None:
            self._on_client_gone(connection.client)
