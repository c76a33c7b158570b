"""Network time: how far the relays' clocks are from ours, from the ``Date`` of HTTP answers (DESIGN D3).

A node whose clock is ten minutes wrong must be neither hidden (states in the future) nor expired. ``Date``
has a resolution of one second, so an answer gives an interval; a clock inside it is taken as right.
"""

from __future__ import annotations

import statistics

DATE_RESOLUTION_MS = 1000


class NetworkTime:
    """The median over relays of their offset to this machine's steady clock, in milliseconds.

    Our own clock is one more witness where their number is even: of two relays, one that lies changes nothing
    as long as the other or our own clock is right.
    """

    def __init__(self, offset_ms: int = 0) -> None:
        self._remembered_ms = offset_ms
        self._by_relay: dict[str, float] = {}

    @property
    def offset_ms(self) -> int:
        """What to add to the steady clock; the value remembered from the last run until a relay spoke."""
        if not self._by_relay:
            return self._remembered_ms
        offsets = list(self._by_relay.values())
        return round(statistics.median(offsets if len(offsets) % 2 else [*offsets, 0.0]))

    def observe(self, relay: str, date_ms: float, asked_ms: float, answered_ms: float) -> None:
        """A relay said ``date_ms`` somewhere between our steady times ``asked_ms`` and ``answered_ms``."""
        lowest = date_ms - answered_ms
        highest = date_ms + DATE_RESOLUTION_MS - asked_ms
        self._by_relay[relay] = 0.0 if lowest <= 0 <= highest else (lowest + highest) / 2
