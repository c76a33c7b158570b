"""Who asked for what: a get is the subscription and outlives its connection by the pid (gun.md section 6c).

``require('gun')`` clients do not ask again after a reconnect. What a connection with a known pid had asked
for is therefore kept when it closes and copied, never moved, to each later connection with that pid.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

Keys = set[str | None]
"""Keys of one soul; None stands for all of them."""

MAX_PER_CONNECTION = 10_000
MAX_PARKED = 10_000
PARKED_FOR_S = 24 * 3600.0


class Subscriptions:
    """Connections are numbers; times are monotonic seconds."""

    def __init__(self, *, max_per_connection: int = MAX_PER_CONNECTION, max_parked: int = MAX_PARKED) -> None:
        self._max_per_connection = max_per_connection
        self._max_parked = max_parked
        self.turned: set[str] | None = None
        """Where somebody looks at it: souls that got their first follower, or lost their last one."""
        self._by_soul: dict[str, dict[int, Keys]] = {}
        self._by_connection: dict[int, dict[str, Keys]] = {}
        self._count: dict[int, int] = {}
        self._pid: dict[int, str] = {}
        self._parked: OrderedDict[str, tuple[float, dict[str, Keys]]] = OrderedDict()

    @property
    def total(self) -> int:
        """Of all connections."""
        return sum(self._count.values())

    def opened(self, connection: int) -> None:
        self._by_connection[connection] = {}
        self._count[connection] = 0

    def add(self, connection: int, soul: str, key: str | None) -> bool:
        """Subscribe to a key, or with None to the soul. False if that is nothing new or over the bound."""
        souls = self._by_connection[connection]
        keys = souls.get(soul)
        if (keys and key in keys) or self._count[connection] >= self._max_per_connection:
            return False
        if keys is None:
            keys = souls[soul] = set()
            self._followers(soul)[connection] = keys
        keys.add(key)
        self._count[connection] += 1
        return True

    def remove(self, connection: int, soul: str) -> None:
        """End the subscription of a connection to a soul and its keys."""
        keys = self._by_connection.get(connection, {}).pop(soul, None)
        if keys is None:
            return
        self._count[connection] -= len(keys)
        self._leave(connection, soul)

    def _leave(self, connection: int, soul: str) -> None:
        listeners = self._by_soul[soul]
        del listeners[connection]
        if not listeners:
            del self._by_soul[soul]
            self._turn(soul)

    def _followers(self, soul: str) -> dict[int, Keys]:
        if soul not in self._by_soul:
            self._by_soul[soul] = {}
            self._turn(soul)
        return self._by_soul[soul]

    def _turn(self, soul: str) -> None:
        if self.turned is not None:
            self.turned.add(soul)

    def followed(self, soul: str) -> bool:
        """Somebody asked for it or a part of it."""
        return soul in self._by_soul

    def named(self, connection: int, pid: str) -> None:
        """A connection told its pid: it gets what earlier and other connections of that pid asked for."""
        if self._pid.get(connection) == pid:
            return
        twins = [other for other, name in self._pid.items() if name == pid and other != connection]
        self._pid[connection] = pid
        known = [self._by_connection[other] for other in twins]
        if pid in self._parked:
            known.append(self._parked[pid][1])
        for souls in known:
            for soul, keys in souls.items():
                for key in keys:
                    self.add(connection, soul, key)

    def closed(self, connection: int, now: float) -> None:
        """Forget a connection; if it had a pid, keep its subscriptions for a day."""
        souls = self._by_connection.pop(connection, {})
        self._count.pop(connection, None)
        for soul in souls:
            self._leave(connection, soul)
        pid = self._pid.pop(connection, None)
        if pid is not None and souls:
            self._parked[pid] = (now + PARKED_FOR_S, souls)
            self._parked.move_to_end(pid)
        self.expire(now)

    def expire(self, now: float) -> None:
        """Drop parked subscriptions past their time or over the bound, the oldest first."""
        while self._parked:
            pid, (ends, _) = next(iter(self._parked.items()))
            if ends > now and len(self._parked) <= self._max_parked:
                return
            del self._parked[pid]

    def listeners(self, soul: str, keys: Iterable[str]) -> set[int]:
        """The connections that asked for the soul or one of these keys."""
        return {
            connection
            for connection, wanted in self._by_soul.get(soul, {}).items()
            if None in wanted or not wanted.isdisjoint(keys)
        }
