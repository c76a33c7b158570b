"""The machine's clocks and randomness, behind the protocols of ``sidecar.clock``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""Linux has a clock of its own that counts sleep; that of macOS does (``clock_gettime(3)`` there), while
``time.monotonic`` does not. On Windows only ``time.monotonic`` is there, which does."""


def _since_boot() -> float:
    """Seconds that also run while the machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class SystemClock:
    """All but ``wall_ms`` count the time for which the machine slept: a call that rang before a sleep of two
    hours has rung for two hours. ``network_ms`` is the wall time at the start of this process, carried on by
    a clock nobody can set, plus the offset learnt from relays: a step of the wall clock changes nothing that
    leaves the node.
    """

    def __init__(self) -> None:
        self._start_wall_ms = time.time() * 1000 - _since_boot() * 1000
        self._offset_ms: Callable[[], int] = lambda: 0

    def follow(self, offset_ms: Callable[[], int]) -> None:
        """From now on ``offset_ms()`` says how far the relays are ahead of ``steady_ms``."""
        self._offset_ms = offset_ms

    def monotonic(self) -> float:
        return _since_boot()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def steady_ms(self) -> int:
        """Unix time as this machine believed it at the start of the process, carried on."""
        return int(self._start_wall_ms + _since_boot() * 1000)

    def network_ms(self) -> int:
        return self.steady_ms() + self._offset_ms()


class SystemRandom:
    """The kernel's generator."""

    def bytes(self, n: int) -> bytes:
        return os.urandom(n)
