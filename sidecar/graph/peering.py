"""Links to the relays this one was told to peer with: sockets around ``core.link``, decisions there.

A relay connects to what its operator named and to nothing else, whatever a client says (DESIGN D9).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from sidecar.clock import Clock, Random
from sidecar.errors import UnavailableError
from sidecar.graph import transport
from sidecar.graph.core.effects import Connect, Disconnect, Effect, LinkChanged, Ping
from sidecar.graph.core.link import Link
from sidecar.graph.core.peer import MAX_FRAME
from sidecar.log import Logger


class Upstreams:
    """One connection to each URL, made again whenever it is lost, with backoff and jitter.

    ``on_open(socket)`` answers with the number that ``on_frame(number, frame)`` and ``on_close(number)``
    are called with. Raises LocalError for what is not the URL of a relay.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        clock: Clock,
        random: Random,
        log: Logger,
        tls: ssl.SSLContext | None,
        on_open: Callable[[transport.Socket], int],
        on_frame: Callable[[int, str | bytes], None],
        on_close: Callable[[int], None],
    ) -> None:
        for url in urls:
            transport.relay_url(url)
        self.links = [Link(url, random) for url in dict.fromkeys(urls)]
        self._clock = clock
        self._log = log
        self._tls = tls
        self._on_open = on_open
        self._on_frame = on_frame
        self._on_close = on_close
        self._sockets: dict[str, transport.Socket] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._pings: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._running = False

    def start(self) -> None:
        """Begin connecting; returns at once."""
        self._running = True
        for link in self.links:
            self._pump(link)

    async def stop(self) -> None:
        """Close every link and make none again."""
        self._running = False
        for timer in self._timers.values():
            timer.cancel()
        await asyncio.gather(*(socket.close() for socket in self._sockets.values()), return_exceptions=True)
        tasks = [*self._tasks.values(), *self._pings]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _pump(self, link: Link, effects: Sequence[Effect] = ()) -> None:
        """Do what a link wants, let it look at the time, and come back at its deadline."""
        if not self._running:
            return
        now = self._clock.monotonic()
        for effect in (*effects, *link.handle_timer(now)):
            self._perform(link, effect)
        if link.url in self._timers:
            self._timers[link.url].cancel()
        deadline = link.next_deadline()
        if deadline is not None:
            loop = asyncio.get_running_loop()
            self._timers[link.url] = loop.call_later(max(0.0, deadline - now), self._pump, link)

    def _perform(self, link: Link, effect: Effect) -> None:
        match effect:
            case Connect():
                self._tasks[link.url] = asyncio.create_task(self._run(link))
            case Disconnect():
                self._tasks[link.url].cancel()
            case Ping():
                self._start_ping(self._ping(link, self._sockets[link.url]))
            case LinkChanged(_, old, new, cause):
                where = transport.public_url(link.url)
                self._log.info("peer link", relay=where, old=old.value, new=new.value, cause=cause)

    async def _run(self, link: Link) -> None:
        """The life of one connection; a link that asked for its end is not told of it."""
        cause = "closed"
        number: int | None = None
        socket: transport.Socket | None = None
        try:
            socket = await transport.open_socket(link.url, max_frame=MAX_FRAME, tls=self._tls)
            self._sockets[link.url] = socket
            number = self._on_open(socket)
            self._pump(link, link.opened(self._clock.monotonic()))
            while True:
                self._on_frame(number, await socket.receive())
        except (ConnectionError, UnavailableError) as error:
            cause = str(error)
        except Exception as error:  # a bug must not end the link for good
            cause = type(error).__name__
            self._log.error("peer link failed", error=f"{cause}: {error}")
        finally:
            if socket is not None:
                socket.abort()
                self._sockets.pop(link.url, None)
            if number is not None:
                self._on_close(number)
        self._pump(link, link.closed(cause, self._clock.monotonic()))

    async def _ping(self, link: Link, socket: transport.Socket) -> None:
        try:
            await socket.ping()
        except ConnectionError:
            return
        if self._sockets.get(link.url) is socket:
            link.ponged(self._clock.monotonic())
            self._pump(link)

    def _start_ping(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._pings.add(task)
        task.add_done_callback(self._pings.discard)
