"""One ZeroMQ socket on the running asyncio loop.

``ZMQ_FD`` is edge triggered, and its edge may be swallowed by any call on the socket: after every burst of
receiving *and after every send outside one* ``EVENTS`` has to be asked, or a message lies there until the
next one comes. A burst is capped so that a flood leaves the loop to others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import zmq

BURST: Final = 64


class LoopSocket:
    """Calls ``receive`` while there is something; it takes one message and raises ``zmq.Again`` at the end.

    ``settle`` runs after each burst, whatever it received: the place to send what has come up.
    """

    def __init__(
        self, socket: zmq.Socket[bytes], receive: Callable[[], None], settle: Callable[[], None] | None = None
    ) -> None:
        self._socket = socket
        self._receive = receive
        self._settle = settle
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._in_burst = False
        self._closed = False
        self._fd = socket.fileno()
        self._loop.add_reader(self._fd, self._on_readable)
        self._schedule()

    def sent(self) -> None:
        """Something was sent: the edge of what came in meanwhile may be gone."""
        if not (self._in_burst or self._scheduled or self._closed) and self._pending():
            self._schedule()

    def close(self) -> None:
        """Stops watching; the socket itself is the caller's."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._fd)

    def _pending(self) -> bool:
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._on_readable)

    def _on_readable(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        self._in_burst = True
        try:
            self._burst()
        finally:
            self._in_burst = False
        if not self._closed and not self._scheduled and self._pending():
            self._schedule()

    def _burst(self) -> None:
        receive = self._receive
        try:
            for _ in range(BURST):
                receive()
                if self._closed:
                    return
        except zmq.Again:
            pass
        if self._settle is not None:
            self._settle()
