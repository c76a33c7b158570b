"""Notices that the machine slept or the process stood still: then no connection is to be trusted."""

from __future__ import annotations

TICK_S = 5.0
"""How often somebody has to look: the longest time a sleep goes unnoticed."""
SLACK_S = 2.0


class TickGap:
    """Compares the clocks at each look. A laptop's sleep is missing from some monotonic clocks, but not from
    the wall clock; elsewhere, and of a stopped process, it is a long time without a look."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        """Monotonic time between the last two looks."""
        self._seen: tuple[float, float] | None = None

    def noticed(self, now: float, wall_ms: float) -> bool:
        """Whether time passed unseen since the last look. A wall clock that was only set gives a false alarm,
        which costs a ping."""
        seen, self._seen = self._seen, (now, wall_ms)
        if seen is None:
            return False
        self.passed_s = passed_s = now - seen[0]
        slept_s = (wall_ms - seen[1]) / 1000 - passed_s
        return slept_s > SLACK_S or passed_s > TICK_S + SLACK_S
