"""From RTP time to the time of a file: steady like the sender's clock, placed like the arrival. Pure."""

from __future__ import annotations

from sidecar.media.messages import Line

CLOCK_KHZ = {Line.AUDIO: 48, Line.CAMERA: 90, Line.SCREEN: 90}
MAX_DRIFT_MS = 1_000
"""Further from its arrival, a frame's own time is not believed: the sender jumped or slept."""


class Timeline:
    """One line of one participant; ``place`` returns milliseconds in the file, always increasing."""

    def __init__(self, line: Line) -> None:
        self._khz = CLOCK_KHZ[line]
        self._gen: int | None = None
        self._offset_ms = 0.0
        self._last_ms = -1

    def place(self, gen: int, timestamp: int, at_ms: int) -> int:
        """``timestamp`` in the line's clock, ``at_ms`` since the start of the recording."""
        own_ms = timestamp / self._khz
        if gen != self._gen or abs(own_ms + self._offset_ms - at_ms) > MAX_DRIFT_MS:
            self._gen = gen
            self._offset_ms = at_ms - own_ms
        self._last_ms = max(self._last_ms + 1, round(own_ms + self._offset_ms))
        return self._last_ms
