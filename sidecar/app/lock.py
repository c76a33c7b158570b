"""One sidecar per data directory: an advisory lock the kernel drops with its process, however that ends.

Loaded before the ready line.
"""

from __future__ import annotations

import errno
import os
import sys

from sidecar.errors import UnavailableError

NAME = "lock"


class AlreadyRunning(UnavailableError):
    """Another sidecar owns the directory; ``details.pid`` is its process, where known."""


class DataDirLock:
    """Held until ``release`` or the end of the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def make_private(directory: str) -> None:
    """Makes ``directory``, mode 0700, and its parents; raises ``UnavailableError`` when that cannot be."""
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"data directory {directory}: {error.strerror}") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise UnavailableError(f"data directory {directory}: not writable")


def acquire(directory: str) -> DataDirLock:
    """Locks ``directory`` or raises ``AlreadyRunning`` at once; never waits."""
    path = os.path.join(directory, NAME)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        raise UnavailableError(f"lock file {path}: {error.strerror}") from None
    try:
        _lock(fd)
    except OSError as error:
        owner = _owner(fd)
        os.close(fd)
        if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            raise UnavailableError(f"lock file {path}: {error.strerror}") from None
        raise AlreadyRunning(
            f"another sidecar runs with the data directory {directory}"
            + (f", process {owner}" if owner else ""),
            details={"pid": owner} if owner else None,
        ) from None
    os.ftruncate(fd, 0)
    os.write(fd, b"%d\n" % os.getpid())
    return DataDirLock(fd)


def _lock(fd: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(fd, 1 << 20, os.SEEK_SET)  # a locked byte cannot be read there: one far behind the pid
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        os.lseek(fd, 0, os.SEEK_SET)
        return
    import fcntl

    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _owner(fd: int) -> int | None:
    try:
        text = os.read(fd, 20).strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
