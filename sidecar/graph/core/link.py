"""When to connect to one relay, and when to give it up: backoff with jitter, pings with a deadline.

    DOWN --due--> CONNECTING --opened--> UP
      ^----------closed-----------------/   (also from CONNECTING)

Nothing else changes the state. ``closed`` in DOWN is ignored: the adapter may report a drop we asked for.
"""

from __future__ import annotations

from sidecar.clock import Random
from sidecar.graph.core.effects import Connect, Disconnect, Effect, LinkChanged, LinkState, Ping

FIRST_RETRY_S = 0.25
"""gun.js waits 2 s; a relay restarting in half a second should not cost a call set-up that much."""
MAX_RETRY_S = 30.0
STABLE_S = 10.0
"""A connection that lived this long was good: the next retry starts small again."""
PING_EVERY_S = 20.0
PONG_WITHIN_S = 5.0
"""Longer than any sane round trip, far shorter than the minutes TCP takes to notice."""
WAKE_PONG_WITHIN_S = 1.5
"""Somebody is waiting for a call: after a laptop's sleep a dead socket is replaced this soon."""


class Link:
    """The connection to one relay; all times are monotonic seconds."""

    def __init__(self, url: str, random: Random) -> None:
        self.url = url
        self.state = LinkState.DOWN
        self.rtt_ms: float | None = None
        self.aleph = False
        """This relay answers each get once and whole (it said so in its handshake)."""
        self._random = random
        self._failures = 0
        self._retry_at: float | None = 0.0
        self._opened_at = 0.0
        self._pinged_at: float | None = None
        self._ping_at = 0.0
        self._pong_by = 0.0

    @property
    def up(self) -> bool:
        return self.state is LinkState.UP

    def next_deadline(self) -> float | None:
        if self.state is LinkState.DOWN:
            return self._retry_at
        if self.state is LinkState.UP:
            return self._ping_at if self._pinged_at is None else self._pong_by
        return None

    def handle_timer(self, now: float) -> list[Effect]:
        deadline = self.next_deadline()
        if deadline is None or deadline > now:
            return []
        if self.state is LinkState.DOWN:
            return [self._change(LinkState.CONNECTING, "due"), Connect(self.url)]
        if self._pinged_at is None:
            return [self._ping(now, PONG_WITHIN_S)]
        return [Disconnect(self.url), *self.closed("no pong", now)]

    def opened(self, now: float) -> list[Effect]:
        if self.state is not LinkState.CONNECTING:
            return []
        self._opened_at = now
        return [self._change(LinkState.UP, "opened"), self._ping(now, PONG_WITHIN_S)]

    def closed(self, cause: str, now: float) -> list[Effect]:
        if self.state is LinkState.DOWN:
            return []
        if self.up and now - self._opened_at >= STABLE_S:
            self._failures = 0
        longest = min(MAX_RETRY_S, FIRST_RETRY_S * 2.0**self._failures)
        self._retry_at = now + longest * (0.5 + self._random.bytes(1)[0] / 512)
        self._failures = min(self._failures + 1, 16)
        self._pinged_at = None
        self.aleph = False
        return [self._change(LinkState.DOWN, cause)]

    def ponged(self, now: float) -> None:
        if self._pinged_at is not None:
            self.rtt_ms = (now - self._pinged_at) * 1000
            self._pinged_at = None
            self._ping_at = now + PING_EVERY_S

    def wake(self, now: float) -> list[Effect]:
        """Somebody needs the graph now: connect at once, or find out at once that the connection is dead."""
        if self.state is LinkState.DOWN:
            self._failures = 0
            self._retry_at = now
            return self.handle_timer(now)
        if not self.up:
            return []
        if self._pinged_at is None:
            return [self._ping(now, WAKE_PONG_WITHIN_S)]
        self._pong_by = min(self._pong_by, now + WAKE_PONG_WITHIN_S)
        return []

    def _ping(self, now: float, within_s: float) -> Ping:
        self._pinged_at = now
        self._pong_by = now + within_s
        return Ping(self.url)

    def _change(self, new: LinkState, cause: str) -> LinkChanged:
        old, self.state = self.state, new
        return LinkChanged(self.url, old, new, cause)
