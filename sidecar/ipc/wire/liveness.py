"""Heartbeats of one channel: say something every interval, give up after two intervals of silence."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

INTERVAL_S: Final = 5.0
"""Seconds; the default of both stock implementations."""

LATE_S: Final = 0.25
"""Seconds; a timer later than this means that we did not run, so the silence was not the peer's."""


class Verdict(Enum):
    """What a channel needs now."""

    QUIET = "quiet"
    BEAT = "beat"
    LOST = "lost"


class Liveness(msgspec.Struct, eq=False):
    """Last sign of the peer and the last of ours; both begin when the channel is opened."""

    interval_s: float
    last_heard: float
    last_beat: float

    def heard(self, now: float) -> None:
        """Anything arrived on the channel."""
        self.last_heard = now

    def excuse(self, late_s: float) -> None:
        """Time in which we did not listen does not count as silence."""
        self.last_heard += late_s

    def check(self, now: float) -> Verdict:
        if now > self.last_heard + 2 * self.interval_s:
            return Verdict.LOST
        if now < self.last_beat + self.interval_s:
            return Verdict.QUIET
        self.last_beat = now
        return Verdict.BEAT


class Sweep:
    """The one timer that visits all channels; it rests while there are none."""

    __slots__ = ("_due", "_every")

    def __init__(self, interval_s: float) -> None:
        self._every = min(interval_s / 4, 1.0)
        self._due: float | None = None

    def next_deadline(self) -> float | None:
        return self._due

    def wake(self, now: float) -> None:
        """A channel was opened."""
        if self._due is None:
            self._due = now + self._every

    def begin(self, now: float) -> float | None:
        """Starts a visit; how late it is beyond what is normal, or None when it is not yet due."""
        if self._due is None or now < self._due:
            return None
        late = now - self._due
        self._due = now + self._every
        return late if late > LATE_S else 0.0

    def rest(self) -> None:
        """The last channel has closed."""
        self._due = None
