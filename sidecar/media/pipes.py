"""Framed pipes between our own processes: a thread reads, a thread writes, the loop never waits for either.

Threads, because Windows cannot select on a pipe, and because a media loop must not stall on a slow reader.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress

from sidecar.errors import InternalError
from sidecar.media.core.framing import FrameReader

READ_BYTES = 64 * 1024


class PipeReader:
    """Calls ``on_frame(body)`` for each frame and ``on_end()`` once, both on its own thread."""

    def __init__(self, fd: int, on_frame: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._fd = fd
        self._on_frame = on_frame
        self._on_end = on_end
        self._thread = threading.Thread(target=self._read, name="pipe-reader", daemon=True)

    def start(self) -> None:
        """Starts reading."""
        self._thread.start()

    def _read(self) -> None:
        frames = FrameReader()
        with suppress(OSError, InternalError):
            while data := os.read(self._fd, READ_BYTES):
                for body in frames.feed(data):
                    self._on_frame(body)
        self._on_end()


class PipeWriter:
    """Writes frames in order; ``send`` refuses instead of waiting when ``max_bytes`` are queued."""

    def __init__(self, fd: int, max_bytes: int) -> None:
        self._fd = fd
        self._max_bytes = max_bytes
        self._waiting = 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="pipe-writer", daemon=True)

    def start(self) -> None:
        """Starts writing."""
        self._thread.start()

    def send(self, data: bytes) -> bool:
        """Queues a frame; False when there is no room and it was dropped."""
        with self._lock:
            if self._waiting + len(data) > self._max_bytes:
                return False
            self._waiting += len(data)
        self._queue.put(data)
        return True

    def close(self) -> None:
        """Closes the pipe after what is queued was written."""
        self._queue.put(None)

    def _write(self) -> None:
        with suppress(OSError):
            while (data := self._queue.get()) is not None:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._fd, view) :]
                with self._lock:
                    self._waiting -= len(data)
        with suppress(OSError):
            os.close(self._fd)
