"""The sockets of a client: one to each relay, for a moment two while a connection is renewed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from sidecar.clock import Clock
from sidecar.errors import UnavailableError
from sidecar.graph import transport
from sidecar.graph.core import effects
from sidecar.graph.core.peer import MAX_FRAME, Peer
from sidecar.graph.relay_time import RelayTime

Connecting = effects.Connect | effects.Disconnect | effects.Renew | effects.Retire
Wire = Connecting | effects.Send | effects.Ping
"""The effects performed here."""


class Sockets:
    """Performs the peer's wishes about connections and reports to it what comes of them.

    ``changed`` is called after each report. A task that is cancelled reports nothing: the peer wanted it.
    """

    def __init__(
        self,
        peer: Peer,
        time: RelayTime,
        *,
        clock: Clock,
        tls: ssl.SSLContext | None,
        changed: Callable[[], None],
    ) -> None:
        self._peer = peer
        self._time = time
        self._clock = clock
        self._tls = tls
        self._changed = changed
        self._current: dict[str, transport.Socket] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._second: dict[str, asyncio.Task[None]] = {}
        """A connection beside the current one: not open yet, or on its way out."""
        self._side_tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close all connections politely and wait for their tasks."""
        sockets = self._current.values()
        await asyncio.gather(*(socket.close() for socket in sockets), return_exceptions=True)
        tasks = [*self._tasks.values(), *self._second.values(), *self._side_tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def perform(self, effect: Wire) -> None:
        match effect:
            case effects.Send(url, text):
                if url in self._current:
                    self._current[url].send(text)
            case effects.Ping(url):
                if url in self._current:
                    self._aside(self._ping(url, self._current[url]))
            case _:
                self._connect(effect)

    def _connect(self, effect: Connecting) -> None:
        match effect:
            case effects.Connect(url):
                self._tasks[url] = asyncio.create_task(self._run(url))
            case effects.Disconnect(url):
                self._tasks[url].cancel()
            case effects.Renew(url):
                self._second[url] = asyncio.create_task(self._renew(url))
            case effects.Retire(url):
                second = self._second.pop(url, None)
                if second is not None:
                    second.cancel()

    async def _run(self, url: str) -> None:
        """The life of one connection, from the attempt on."""
        try:
            asked_ms = self._time.steady_ms()
            socket = await transport.open_socket(url, max_frame=MAX_FRAME, tls=self._tls)
        except UnavailableError as error:
            self._peer.closed(url, str(error), self._now())
            self._changed()
            return
        self._current[url] = socket
        self._peer.opened(url, self._now())
        await self._live(url, socket, asked_ms)

    async def _renew(self, url: str) -> None:
        """As :meth:`_run`; once open it changes places with the current connection."""
        try:
            asked_ms = self._time.steady_ms()
            socket = await transport.open_socket(url, max_frame=MAX_FRAME, tls=self._tls)
        except UnavailableError:
            self._second.pop(url, None)
            self._peer.not_renewed(url, self._now())
            self._changed()
            return
        self._tasks[url], self._second[url] = self._second[url], self._tasks[url]
        self._current[url] = socket
        self._peer.renewed(url, self._now())
        await self._live(url, socket, asked_ms)

    async def _live(self, url: str, socket: transport.Socket, asked_ms: float) -> None:
        """An open connection until its end, which is told only if it was the current one."""
        clock = self._aside(self._time.follow(url, socket.date, asked_ms))
        cause = "closed"
        try:
            self._changed()
            while True:
                text = await socket.receive()
                self._peer.received(url, text, self._now(), self._clock.network_ms())
                self._changed()
        except ConnectionError as error:
            cause = str(error)
        finally:
            clock.cancel()
            socket.abort()
            is_current = self._current.get(url) is socket
            if is_current:
                del self._current[url]
        if is_current:
            self._peer.closed(url, cause, self._now())
            self._changed()

    async def _ping(self, url: str, socket: transport.Socket) -> None:
        try:
            await socket.ping()
        except ConnectionError:
            return
        if self._current.get(url) is socket:
            self._peer.ponged(url, self._now())
            self._changed()

    def _now(self) -> float:
        return self._clock.monotonic()

    def _aside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._side_tasks.add(task)
        task.add_done_callback(self._side_tasks.discard)
        return task
