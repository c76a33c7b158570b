"""Whom to ask for a soul that the relay lacks, or may have an old state of (gun.md section 6b).

gun.js never sends again what it wrote offline or before the relay was there: it waits to be asked, and gun.js
relays hand every get to everybody. Here a few connections are asked, in turn, and one that comes soon after
is asked too. Programs of ours are left alone: what is unacknowledged they send again by themselves.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

from sidecar.graph.core.wire import Get

ASKED_AT_ONCE = 3
"""Connections one get is handed on to; gun.js takes turns of as many until all were asked."""
LOOKED_AT = 12
AGAIN_S = 1.0
"""How soon the same soul is looked for again: many readers of a missing soul cost one round a second."""
PENDING_S = 60.0
MAX_PENDING = 256
"""Souls that were looked for lately; the oldest goes first."""
DOUBTED_AT_ONCE = 2
"""Connections that one get of a known soul is handed on to, the newest first: it may have been away."""
MAX_DOUBTED = 1_000
"""Known souls that one connection is asked for, each once."""
ASKED_OF_NEWCOMER = 16
MAX_PER_SECOND = 32
"""Questions to one connection: nobody can have others flooded."""


class Inquiry:
    """Connections are numbers; times are monotonic seconds."""

    def __init__(self) -> None:
        self._candidates: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self._asked: OrderedDict[int, set[str]] = OrderedDict()
        """The known souls that each candidate was asked for, the newest connection last."""
        self._pending: OrderedDict[tuple[str, str | None], tuple[float, int, Get]] = OrderedDict()

    def joined(self, connection: int, now: float) -> list[Get]:
        """A gun.js program made itself known; returns what to ask it at once, the latest first."""
        if connection in self._candidates:
            return []
        self._candidates[connection] = (int(now), 0)
        self._candidates.move_to_end(connection, last=False)
        self._asked[connection] = set()
        wanted = [
            get
            for asked, asker, get in self._pending.values()
            if asked + PENDING_S > now and asker != connection
        ]
        return wanted[: -ASKED_OF_NEWCOMER - 1 : -1]

    def left(self, connection: int) -> None:
        self._candidates.pop(connection, None)
        self._asked.pop(connection, None)

    def missed(self, asker: int, get: Get, now: float) -> list[int]:
        """Nothing is known of what was asked; returns whom to ask."""
        if not self._look_for(asker, get, now):
            return []
        others = (other for other in list(islice(self._candidates, LOOKED_AT)) if other != asker)
        return list(islice((other for other in others if self._take_turn(other, int(now))), ASKED_AT_ONCE))

    def doubted(self, asker: int, get: Get, now: float) -> list[int]:
        """Something is known of what was asked; returns whom to ask for something newer."""
        if not self._look_for(asker, get, now):
            return []
        newest = islice(reversed(self._asked.items()), LOOKED_AT)
        fresh = [
            other
            for other, asked in newest
            if other != asker and get.soul not in asked and len(asked) < MAX_DOUBTED
        ]
        chosen = list(islice((other for other in fresh if self._take_turn(other, int(now))), DOUBTED_AT_ONCE))
        for other in chosen:
            self._asked[other].add(get.soul)
        return chosen

    def _look_for(self, asker: int, get: Get, now: float) -> bool:
        """Remembers the question for newcomers; False if it has just been asked."""
        question = (get.soul, get.key)
        asked, *_ = self._pending.get(question, (now - AGAIN_S,))
        if now < asked + AGAIN_S:
            return False
        self._pending[question] = (now, asker, get)
        self._pending.move_to_end(question)
        if len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
        return True

    def _take_turn(self, connection: int, second: int) -> bool:
        """Count a question to a connection and put it last in the row; False if it had enough."""
        since, count = self._candidates[connection]
        if since != second:
            count = 0
        if count >= MAX_PER_SECOND:
            return False
        self._candidates[connection] = (second, count + 1)
        self._candidates.move_to_end(connection)
        return True
