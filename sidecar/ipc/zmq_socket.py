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

    ``settle`` runs after each burst, whatever it received. It returns whether something was sent or will be;
    then ``flush`` runs in the next turn, after what the burst has started: the place to send all of that.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        receive: Callable[[], None],
        settle: Callable[[], bool] | None = None,
        flush: Callable[[], None] | None = None,
    ) -> None:
        self._socket = socket
        self._receive = receive
        self._settle = settle
        self._flush = flush
        self._loop = asyncio.get_running_loop()
        self._checking = False
        self._poll = [(socket, int(zmq.POLLIN))]
        self._in_burst = False
        self._closed = False
        self._fd = socket.fileno()
        self._loop.add_reader(self._fd, self._on_readable)
        self.sent()

    def sent(self) -> None:
        """Something was sent: the edge of what came in meanwhile may be gone. Asked once a turn."""
        if not (self._in_burst or self._checking or self._closed):
            self._checking = True
            self._loop.call_soon(self._check)

    @property
    def flush_due(self) -> bool:
        """Whether ``flush`` will run before the loop sleeps."""
        return self._checking

    def close(self) -> None:
        """Stops watching; the socket itself is the caller's."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._fd)

    def _check(self) -> None:
        self._checking = False
        if self._flush is not None and not self._closed:
            self._flush()
        if not self._closed and int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._on_readable()

    def _on_readable(self) -> None:
        if self._closed:
            return
        self._in_burst = True
        try:
            unsure = self._burst()
        finally:
            self._in_burst = False
        if unsure:
            self.sent()

    def _burst(self) -> bool:
        """Whether more may be waiting: the cap was reached, or something was sent after the last look."""
        receive, emptied = self._receive, False
        try:
            for number in range(BURST):
                receive()
                if self._closed:
                    return False
                # One message is the usual burst, and asking costs a third of the exception.
                if number == 0 and not zmq.zmq_poll(self._poll, 0):
                    emptied = True
                    break
        except zmq.Again:
            emptied = True
        sent = self._settle is not None and self._settle()
        return sent or not emptied
