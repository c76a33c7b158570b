"""Where time and randomness come in: protocols only, the system's own live in ``sidecar.app``.

Timers run on ``monotonic``; wall time is for people and files; ``network_ms`` (monotonic plus the median
offset learnt from relays, DESIGN D3) stamps everything that leaves the node.
"""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Three clocks that must not be mixed up."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never steps back."""

    def wall_ms(self) -> int:
        """Unix time in milliseconds as this machine believes it."""

    def network_ms(self) -> int:
        """Unix time in milliseconds as the relays believe it."""


class Random(Protocol):
    """A source of unpredictable bytes; simulation passes a seeded one."""

    def bytes(self, n: int) -> bytes:
        """``n`` random bytes."""
