"""When to connect to one relay, and when to give it up: backoff with jitter, pings with a deadline.

    DOWN --due--> CONNECTING --opened--> UP
      ^----------closed-----------------/   (also from CONNECTING)

Nothing else changes the state. ``closed`` in DOWN is ignored: the adapter may report a drop we asked for.
"""

from __future__ import annotations

from collections import deque

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
CLOSE_PING_EVERY_S = 10.0
CLOSE_PONG_WITHIN_S = 2.5
"""While a call lives (DESIGN D5): as soon as a silent peer is suspected, so is a silent relay."""
RECENT_S = 300.0
"""How long a failure counts against a relay when relays are ranked."""
MAX_FAILURES = 16
PATIENCE_S = 0.5
PATIENCE_ROUND_TRIPS = 3.0


class Link:
    """The connection to one relay; all times are monotonic seconds."""

    def __init__(self, url: str, random: Random) -> None:
        self.url = url
        self.state = LinkState.DOWN
        self.rtt_ms: float | None = None
        self.aleph = False
        """This relay answers each get once and whole (it said so in its handshake)."""
        self._random = random
        self._kept_close = False
        self._failed_at: deque[float] = deque(maxlen=MAX_FAILURES)
        self._failures = 0
        self._retry_at: float | None = 0.0
        self._opened_at = 0.0
        self._pinged_at: float | None = None
        self._ping_at = 0.0
        self._pong_by = 0.0

    @property
    def up(self) -> bool:
        return self.state is LinkState.UP

    def rank(self, now: float) -> tuple[bool, int, float]:
        """Smaller is better: connected before not, then by recent failures, then by round trip."""
        recent = sum(now - at < RECENT_S for at in self._failed_at)
        return (not self.up, recent, self.rtt_ms if self.rtt_ms is not None else float("inf"))

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
            return [self._ping(now)]
        return [Disconnect(self.url), *self.closed("no pong", now)]

    def opened(self, now: float) -> list[Effect]:
        if self.state is not LinkState.CONNECTING:
            return []
        self._opened_at = now
        return [self._change(LinkState.UP, "opened"), self._ping(now)]

    def replaced(self, now: float) -> list[Effect]:
        """Another connection took the place of the one that is up."""
        self._opened_at = now
        return [self._ping(now)]

    def closed(self, cause: str, now: float) -> list[Effect]:
        if self.state is LinkState.DOWN:
            return []
        if self.up and now - self._opened_at >= STABLE_S:
            self._failures = 0
        longest = min(MAX_RETRY_S, FIRST_RETRY_S * 2.0**self._failures)
        at_once = self._kept_close and self._failures == 0
        self._retry_at = now if at_once else now + longest * (0.5 + self._random.bytes(1)[0] / 512)
        self._failures = min(self._failures + 1, 16)
        self._failed_at.append(now)
        self._pinged_at = None
        self.aleph = False
        return [self._change(LinkState.DOWN, cause)]

    def ponged(self, now: float) -> None:
        if self._pinged_at is not None:
            self.rtt_ms = (now - self._pinged_at) * 1000
            self._pinged_at = None
            self._ping_at = now + (CLOSE_PING_EVERY_S if self._kept_close else PING_EVERY_S)

    def keep_close(self, close: bool, now: float) -> None:
        """Whether a call lives: more pings, a missing pong is noticed sooner, a first retry comes at once."""
        self._kept_close = close
        if close:
            self._ping_at = min(self._ping_at, now + CLOSE_PING_EVERY_S)

    def wake(self, now: float) -> list[Effect]:
        """Somebody needs the graph now: connect at once, or find out at once that the connection is dead."""
        if self.up and self._pinged_at is not None:
            self._pong_by = min(self._pong_by, now + WAKE_PONG_WITHIN_S)
            return []
        return self.probe(now)

    def probe(self, now: float) -> list[Effect]:
        """The machine slept: a pong that is missing says nothing, a new ping does."""
        if self.state is LinkState.DOWN:
            self._failures = 0
            self._retry_at = now
            return self.handle_timer(now)
        return [self._ping(now, WAKE_PONG_WITHIN_S)] if self.up else []

    @property
    def patience_s(self) -> float:
        """How long its answer may take after another relay's."""
        return PATIENCE_S + PATIENCE_ROUND_TRIPS * (self.rtt_ms or 0.0) / 1000

    def _ping(self, now: float, within_s: float | None = None) -> Ping:
        if within_s is None:
            within_s = CLOSE_PONG_WITHIN_S if self._kept_close else PONG_WITHIN_S
        self._pinged_at = now
        self._pong_by = now + within_s
        return Ping(self.url)

    def _change(self, new: LinkState, cause: str) -> LinkChanged:
        old, self.state = self.state, new
        return LinkChanged(self.url, old, new, cause)
