"""The process's three standard streams: handshake in, one ready line out, logs on stderr.

A parent may close or stop reading any of them at any time (FAULTS I07): no write here raises or blocks.
Loaded before the ready line.
"""

from __future__ import annotations

import os
import select
import sys
import time
from typing import TYPE_CHECKING, Any

from sidecar import log

if TYPE_CHECKING:
    import asyncio

STDIN, STDOUT, STDERR = 0, 1, 2


def take_stdout() -> int:
    """Keeps the real stdout for the ready line and points fd 1 at stderr, so that stray prints do no harm."""
    ours = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    return ours


def write_once(fd: int, line: bytes) -> bool:
    """Writes the ready line and closes ``fd``; False: nobody reads it any more."""
    try:
        while line:
            line = line[os.write(fd, line) :]
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


class LineWriter:
    """Whole lines to a descriptor; what would block is dropped, and the next line says how many were.

    A pipe that polls writable takes PIPE_BUF bytes at once, and lines are shorter (``log.MAX_LINE``).
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._closed = False
        self._dropped = 0

    def __call__(self, line: bytes) -> None:
        if self._closed:
            return
        if not self._writable():
            self._dropped += 1
            return
        if self._dropped:
            line = line[:-2] + b',"dropped":%d}\n' % self._dropped
            self._dropped = 0
        try:
            os.write(self._fd, line)
        except BlockingIOError:
            self._dropped += 1
        except OSError:  # EPIPE: the reader is gone for good
            self._closed = True

    def _writable(self) -> bool:
        if sys.platform == "win32":
            return True
        poll = select.poll()  # of this call alone: threads write too, and one object polls for one at a time
        poll.register(self._fd, select.POLLOUT)
        try:
            return any(events & ~select.POLLHUP for _, events in poll.poll(0))
        except OSError:
            return False


def start_logs(level: str) -> None:
    """Sends every logger of this process to stderr as JSON lines."""
    log.configure(LineWriter(STDERR), lambda: time.time_ns() // 1_000_000, level)


def log_lost_errors(loop: asyncio.AbstractEventLoop, logger: log.Logger) -> None:
    """What fails in a task that nobody awaits, a library's included, becomes a line like all others."""
    loop.set_exception_handler(lambda _, context: _lost(logger, context))


def _lost(logger: log.Logger, context: dict[str, Any]) -> None:
    import traceback  # the ready line does not wait for it

    error = context.get("exception")
    lines = traceback.format_exception(error) if isinstance(error, BaseException) else []
    logger.warning("a task failed", problem=context.get("message"), traceback="".join(lines)[-1400:])
