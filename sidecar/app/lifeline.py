"""Notices that the parent is gone: stdin at its end, or its process no longer there (FAULTS I07, I09).

A thread, not the event loop: it must notice while the loop is blocked, and Windows cannot select on a pipe.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable

POLL_S = 0.5
"""Between looks at a parent where the system has no descriptor for processes (macOS)."""


class Lifeline:
    """Calls ``on_gone(cause)`` once, from its own thread; ``cause`` is ``stdin-eof`` or ``parent-gone``."""

    def __init__(self, stdin: int | None, parent_pid: int | None, on_gone: Callable[[str], None]) -> None:
        self._stdin = stdin
        self._parent_pid = parent_pid
        self._on_gone = on_gone

    def start(self) -> None:
        watch = self._watch_stdin if sys.platform == "win32" else self._watch
        threading.Thread(target=watch, name="lifeline", daemon=True).start()

    def _watch_stdin(self) -> None:
        if self._stdin is not None:
            while _read(self._stdin):
                pass
            self._on_gone("stdin-eof")

    def _watch(self) -> None:
        parent = _process_descriptor(self._parent_pid)
        poll = select.poll()
        if self._stdin is not None:
            poll.register(self._stdin, select.POLLIN)
        if parent is not None:
            poll.register(parent, select.POLLIN)
        blind = self._parent_pid is not None and parent is None
        while True:
            ready = dict(poll.poll(POLL_S * 1000 if blind else None))
            if self._stdin in ready and not _read(self._stdin):
                return self._on_gone("stdin-eof")
            if parent in ready or (blind and not _alive(self._parent_pid)):
                return self._on_gone("parent-gone")


def _read(fd: int) -> bytes:
    """What the parent wrote after the handshake, which means nothing; empty at the end."""
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""


def _process_descriptor(pid: int | None) -> int | None:
    if pid is None or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # gone already, or a kernel before 5.3: looking at the pid settles it
        return None


def _alive(pid: int | None) -> bool:
    if pid is None:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives and is somebody else's
        return True
    return True
