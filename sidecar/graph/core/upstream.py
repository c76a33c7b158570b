"""What is shared with the relays that this one was told to peer with (DESIGN D9): decisions only.

They are told every change, and asked for what somebody here follows. A change that is none to the receiver
goes no further, so relays may peer in rings. While one is away the souls that change are remembered; when it
is back their state of then is sent, so much at a time as it acknowledges.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator

MAX_MISSED = 10_000
"""Souls remembered for a relay that is away; the oldest goes first."""
WINDOW = 32
"""Puts on their way to a relay that is back and not acknowledged yet."""
ANSWER_S = 9.0
"""How long an acknowledgement is waited for: gun.js gives none for what it knew already."""


class Upstreams:
    """Connections are numbers; ``expected`` is how many there are when nobody is away."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._missed: OrderedDict[str, None] = OrderedDict()
        self._backlog: dict[int, deque[str]] = {}
        self._unanswered: dict[int, OrderedDict[str, tuple[str, float]]] = {}
        """By message: its soul, and when it was sent."""
        self._followed: set[str] = set()

    def __contains__(self, connection: int) -> bool:
        return connection in self._backlog

    def __iter__(self) -> Iterator[int]:
        return iter(self._backlog)

    @property
    def followed(self) -> list[str]:
        """The souls that are asked of everyone."""
        return list(self._followed)

    def opened(self, connection: int) -> None:
        """It gets what it may have missed."""
        self._backlog[connection] = deque(self._missed)
        self._unanswered[connection] = OrderedDict()
        if len(self._backlog) >= self._expected:
            self._missed.clear()

    def closed(self, connection: int) -> None:
        """What was not sent or not acknowledged is sent again over the next connection."""
        for soul, _ in self._unanswered.pop(connection, OrderedDict()).values():
            self._miss(soul)
        for soul in self._backlog.pop(connection, ()):
            self._miss(soul)

    def changed(self, souls: Iterable[str]) -> None:
        """These souls changed here."""
        if len(self._backlog) < self._expected:
            for soul in souls:
                self._miss(soul)

    def _miss(self, soul: str) -> None:
        self._missed[soul] = None
        self._missed.move_to_end(soul)
        if len(self._missed) > MAX_MISSED:
            self._missed.popitem(last=False)

    def answered(self, connection: int, message_id: str) -> None:
        self._unanswered[connection].pop(message_id, None)

    def next_missed(self, connection: int, now: float) -> str | None:
        """A soul to send now; None while enough are on their way."""
        backlog, unanswered = self._backlog[connection], self._unanswered[connection]
        while unanswered and next(iter(unanswered.values()))[1] + ANSWER_S <= now:
            unanswered.popitem(last=False)
        if not backlog or len(unanswered) >= WINDOW:
            return None
        return backlog.popleft()

    def sent(self, connection: int, message_id: str, soul: str, now: float) -> None:
        """An answer to this message, or none for long, makes room for another."""
        self._unanswered[connection][message_id] = (soul, now)

    def follow(self, soul: str, wanted: bool) -> bool:
        """Whether somebody here follows a soul; True if that is news to the relays."""
        if wanted == (soul in self._followed):
            return False
        (self._followed.add if wanted else self._followed.discard)(soul)
        return True
