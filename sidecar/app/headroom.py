"""Whether this machine has room for one more call: descriptors and disk (FAULTS I10).

Asked before a call starts, so that a shortage refuses new calls and never breaks those that run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from sidecar.errors import UnavailableError

CALL_DESCRIPTORS = 24
"""What one call may open in one process: sockets of a few interfaces, capture devices, a recording."""
MIN_DISK_BYTES = 8 * 1024 * 1024
"""Below this the databases cannot be trusted to commit."""


class Room(NamedTuple):
    """What is left."""

    descriptors: int | None
    """In the process that has fewest; None where the system does not tell."""
    disk_bytes: int | None


def check(room: Room) -> None:
    """Raises ``UnavailableError`` (resource) when a new call could not be carried to its end."""
    if room.descriptors is not None and room.descriptors < CALL_DESCRIPTORS:
        raise UnavailableError(
            "too few file descriptors are left for another call",
            details={"resource": "descriptors", "left": max(0, room.descriptors)},
        )
    if room.disk_bytes is not None and room.disk_bytes < MIN_DISK_BYTES:
        raise UnavailableError(
            "too little disk space is left for another call",
            details={"resource": "disk", "left": room.disk_bytes},
        )


def measure(data_dir: str, pids: Iterable[int]) -> Room:
    """The room of this process, of those in ``pids``, which share its limits, and of the data directory."""
    disk: int | None = None
    with suppress(OSError):
        disk = shutil.disk_usage(data_dir).free
    return Room(_descriptors(["self", *map(str, pids)]), disk)


def _descriptors(processes: list[str], folder: Callable[[str], str] = "/proc/{}/fd".format) -> int | None:
    limit = _descriptor_limit()
    used = [count for count in map(_count, map(folder, processes)) if count is not None]
    return limit - max(used) if limit is not None and used else None


def _descriptor_limit() -> int | None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _count(folder: str) -> int | None:
    try:
        return len(os.listdir(folder))
    except OSError:
        return None
