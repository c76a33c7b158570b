"""Whether this machine has room for one more call: descriptors, address space, disk (FAULTS I10).

Asked before a call starts, so that a shortage refuses new calls and never breaks those that run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from sidecar.errors import UnavailableError

CALL_DESCRIPTORS = 24
"""What one call may open in one process: sockets of a few interfaces, capture devices, a recording."""
CALL_ADDRESS_BYTES = 96 * 1024 * 1024
"""What one call may map in one process: threads with their stacks, codecs, pictures."""
MIN_DISK_BYTES = 8 * 1024 * 1024
"""Below this the databases cannot be trusted to commit."""


class Room(NamedTuple):
    """What is left."""

    descriptors: int | None
    """In the process that has fewest; None where the system does not tell."""
    disk_bytes: int | None = None
    address_bytes: int | None = None
    """In the process that has least; None where nothing limits it."""


def check(room: Room) -> None:
    """Raises ``UnavailableError`` (resource) when a new call could not be carried to its end."""
    if room.descriptors is not None and room.descriptors < CALL_DESCRIPTORS:
        raise UnavailableError(
            "too few file descriptors are left for another call",
            details={"resource": "descriptors", "left": max(0, room.descriptors)},
        )
    if room.address_bytes is not None and room.address_bytes < CALL_ADDRESS_BYTES:
        raise UnavailableError(
            "too little memory may be used for another call",
            details={"resource": "memory", "left": max(0, room.address_bytes)},
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
    processes = ["self", *map(str, pids)]
    return Room(
        _left(_limit("RLIMIT_NOFILE"), map(_open_descriptors, processes)),
        disk,
        _left(_limit("RLIMIT_AS"), map(_mapped_bytes, processes)),
    )


def _left(limit: int | None, used: Iterable[int | None]) -> int | None:
    known = [amount for amount in used if amount is not None]
    return limit - max(known) if limit is not None and known else None


def _limit(name: str) -> int | None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return None
    soft, _ = resource.getrlimit(getattr(resource, name))
    return None if soft == resource.RLIM_INFINITY else soft


def _open_descriptors(process: str) -> int | None:
    try:
        return len(os.listdir(f"/proc/{process}/fd"))
    except OSError:
        return None


def _mapped_bytes(process: str) -> int | None:
    try:
        with open(f"/proc/{process}/statm", "rb") as statm:
            return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
