"""The child processes of this one, so that a forced end leaves none behind.

A child also ends by itself when the pipe from us closes; this is for one that cannot.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

_children: set[int] = set()


def adopt(pid: int) -> None:
    """From now on ``pid`` ends with us."""
    _children.add(pid)


def release(pid: int) -> None:
    """It has ended and was waited for: its number may be another's soon."""
    _children.discard(pid)


def children() -> frozenset[int]:
    """Those that live, as far as we know."""
    return frozenset(_children)


def kill_all() -> None:
    """Ends them at once; may be called from any thread."""
    for pid in tuple(_children):
        with suppress(OSError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
