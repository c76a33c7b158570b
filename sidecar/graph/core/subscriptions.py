"""Who asked for what: a get is the subscription and outlives its connection by the pid (gun.md section 6c).

``require('gun')`` clients do not ask again after a reconnect. What a connection with a known pid has asked
for is therefore kept (``core.parking``) and copied, never moved, to each later connection with that pid.
"""

from __future__ import annotations

from collections.abc import Iterable

Asked = tuple[str, str | None]
"""A soul and one of its keys; None stands for all of them."""
Keys = set[str | None]

NAME_CHARS = 256
"""A longer soul and key count as several, so that the bounds are bounds of memory too."""
MAX_PER_CONNECTION = 10_000
MAX_TOTAL = 1_000_000


class Subscriptions:
    """Connections are numbers."""

    def __init__(self, *, max_per_connection: int = MAX_PER_CONNECTION, max_total: int = MAX_TOTAL) -> None:
        self._max_per_connection = max_per_connection
        self._max_total = max_total
        self.total = 0
        """Of all connections."""
        self.turned: set[str] | None = None
        """Where somebody looks at it: souls that got their first follower, or lost their last one."""
        self._by_soul: dict[str, dict[int, Keys]] = {}
        self._by_connection: dict[int, dict[str, Keys]] = {}
        self._count: dict[int, int] = {}

    def opened(self, connection: int) -> None:
        self._by_connection[connection] = {}
        self._count[connection] = 0

    def closed(self, connection: int) -> None:
        """Forget a connection."""
        for soul in self._by_connection.pop(connection, {}):
            self._leave(connection, soul)
        self.total -= self._count.pop(connection, 0)

    def full(self, connection: int) -> bool:
        """Whether the connection, or all of them together, can follow no more."""
        return self._count[connection] >= self._max_per_connection or self.total >= self._max_total

    def add(self, connection: int, soul: str, key: str | None) -> bool:
        """Subscribe to a key, or with None to the soul. False if that is nothing new or over the bound."""
        souls = self._by_connection[connection]
        keys = souls.get(soul)
        if (keys and key in keys) or self.full(connection):
            return False
        if keys is None:
            keys = souls[soul] = set()
            self._followers(soul)[connection] = keys
        keys.add(key)
        self._count[connection] += _weight(soul, key)
        self.total += _weight(soul, key)
        return True

    def has(self, connection: int, soul: str, key: str | None) -> bool:
        keys = self._by_connection[connection].get(soul)
        return keys is not None and key in keys

    def remove(self, connection: int, soul: str) -> None:
        """End the subscription of a connection to a soul and its keys."""
        keys = self._by_connection.get(connection, {}).pop(soul, None)
        if keys is None:
            return
        weight = sum(_weight(soul, key) for key in keys)
        self._count[connection] -= weight
        self.total -= weight
        self._leave(connection, soul)

    def of(self, connection: int) -> list[Asked]:
        """Everything that a connection follows."""
        souls = self._by_connection.get(connection, {})
        return [(soul, key) for soul, keys in souls.items() for key in keys]

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

    def listeners(self, soul: str, keys: Iterable[str]) -> set[int]:
        """The connections that asked for the soul or one of these keys."""
        return {
            connection
            for connection, wanted in self._by_soul.get(soul, {}).items()
            if None in wanted or not wanted.isdisjoint(keys)
        }


def _weight(soul: str, key: str | None) -> int:
    return 1 + (len(soul) + len(key or "")) // NAME_CHARS
