"""D5: how long a path may be silent. Pure; fed with what was heard and with ticks.

Rules, and everything that changes the judgement lives here:

    alive --2.5 s silent--> suspect --5 s--> reconnecting --30 s--> lost (final)
    suspect, reconnecting --anything heard--> alive
    a transport that reports itself closed is suspect at once, whatever was heard before

Time in which the loop did not run (a gap between two ticks above 250 ms: a suspended laptop, a starved
machine) is subtracted: silence that nobody listened to proves nothing.
"""

from __future__ import annotations

from sidecar.media.messages import Liveness

TICK_S = 0.1
"""How often the owner should tick."""
TICK_GAP_S = 0.25
"""A longer gap means that the loop did not run: 2.5 ticks, far under the 2.5 s of suspect."""


class LivenessMachine:
    """Judges one path from the moment it was connected (``start``)."""

    def __init__(self, *, suspect_s: float, reconnecting_s: float, lost_s: float) -> None:
        self._limits = (
            (lost_s, Liveness.LOST),
            (reconnecting_s, Liveness.RECONNECTING),
            (suspect_s, Liveness.SUSPECT),
        )
        self._suspect_s = suspect_s
        self._heard_at = 0.0
        self._ticked_at: float | None = None
        self._closed = False
        self.state = Liveness.ALIVE

    def start(self, now: float) -> None:
        """The path is connected; silence counts from here."""
        self._heard_at = now
        self._ticked_at = now

    def heard(self, now: float) -> None:
        """An authenticated packet or a control message arrived."""
        if now > self._heard_at and not self._closed:
            self._heard_at = now

    def path_closed(self, now: float) -> None:
        """The transport is gone: nothing can be heard any more, so do not wait for the silence."""
        if not self._closed:
            self._closed = True
            self._heard_at = min(self._heard_at, now - self._suspect_s)

    def handle_tick(self, now: float) -> Liveness | None:
        """The new judgement if it changed."""
        if self._ticked_at is None or self.state is Liveness.LOST:
            return None
        gap = now - self._ticked_at
        self._ticked_at = now
        if gap > TICK_GAP_S:
            self._heard_at = min(now, self._heard_at + gap)
        judged = self._judge(now - self._heard_at)
        if judged is self.state:
            return None
        self.state = judged
        return judged

    def _judge(self, silence_s: float) -> Liveness:
        for limit, state in self._limits:
            if silence_s >= limit:
                return state
        return Liveness.SUSPECT if self._closed else Liveness.ALIVE
