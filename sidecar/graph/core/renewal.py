"""A new connection once a day, because gun.js has no way to end a subscription (DESIGN D3).

Souls change each hour and day; on a gun.js relay every soul ever asked for stays subscribed until its
connection closes. So a second connection under a new pid asks for what is wanted now, and then the first one
is closed. Relays of ours are told ``off`` instead, and while a call lives nothing is touched.

    IDLE --due--> OPENING --renewed--> OVERLAP --done--> IDLE
      ^-----failed---/
"""

from __future__ import annotations

from enum import Enum

from sidecar.clock import Random
from sidecar.graph.core.effects import Effect, Renew, Retire

RENEW_EVERY_S = 86_400.0
JITTER = 0.1
"""Clients that came to a restarted relay at once do not all renew at once."""
RETRY_S = 600.0
OVERLAP_S = 10.0
"""How long the old connection still delivers: answers of a slow relay to the new one are here by then."""


class _State(Enum):
    IDLE = "idle"
    OPENING = "opening"
    OVERLAP = "overlap"


class Renewal:
    """The renewals of one relay's connection; times are monotonic seconds."""

    def __init__(self, url: str, random: Random) -> None:
        self._url = url
        self._random = random
        self._state = _State.IDLE
        self._due_at = float("inf")

    def opened(self, now: float) -> None:
        """A connection was made for another reason: its day begins now."""
        self._due_at = now + RENEW_EVERY_S * (1 - JITTER * self._random.bytes(1)[0] / 256)

    def closed(self) -> list[Effect]:
        """The current connection is gone, and with it whatever stood beside it."""
        idle, self._state = self._state is _State.IDLE, _State.IDLE
        self._due_at = float("inf")
        return [] if idle else [Retire(self._url)]

    def next_deadline(self, *, allowed: bool) -> float | None:
        if self._state is _State.OPENING or (self._state is _State.IDLE and not allowed):
            return None
        return self._due_at

    def handle_timer(self, now: float, *, allowed: bool) -> list[Effect]:
        """``allowed``: the relay cannot end subscriptions, and no call lives."""
        deadline = self.next_deadline(allowed=allowed)
        if deadline is None or deadline > now:
            return []
        if self._state is _State.IDLE:
            self._state = _State.OPENING
            return [Renew(self._url)]
        self._state = _State.IDLE
        self.opened(now)
        return [Retire(self._url)]

    def renewed(self, now: float) -> bool:
        """The new connection is the current one now; False if nobody waits for it any more."""
        if self._state is not _State.OPENING:
            return False
        self._state = _State.OVERLAP
        self._due_at = now + OVERLAP_S
        return True

    def failed(self, now: float) -> None:
        """No second connection could be made; the first one goes on."""
        if self._state is _State.OPENING:
            self._state = _State.IDLE
            self._due_at = now + RETRY_S
