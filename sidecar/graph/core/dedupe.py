"""Which message ids were seen and who sent them: drops duplicates, routes ``@`` replies (gun.md 2)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Source = TypeVar("Source")


class Dedupe(Generic[Source]):
    """Ids with their source for ``ttl_s`` after the last sight, never more than ``cap`` of them.

    At the cap the id unseen for longest goes first: a flood can make an old duplicate pass again, which HAM
    then settles, but cannot grow memory.
    """

    def __init__(self, *, ttl_s: float = 20.0, cap: int = 50_000) -> None:
        self._ttl_s = ttl_s
        self._cap = cap
        self._seen: OrderedDict[str, tuple[float, Source]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def first_sight(self, message_id: str, source: Source, now: float) -> bool:
        """Remember the id; False if it is known. A duplicate keeps its first source and lives on."""
        self.expire(now)
        known = self._seen.get(message_id)
        self._seen[message_id] = (now + self._ttl_s, known[1] if known else source)
        self._seen.move_to_end(message_id)
        if len(self._seen) > self._cap:
            self._seen.popitem(last=False)
        return known is None

    def source(self, message_id: str, now: float) -> Source | None:
        """Who first sent this id, None once it expired."""
        known = self._seen.get(message_id)
        return known[1] if known and known[0] > now else None

    def expire(self, now: float) -> None:
        """Forget what is past its time; the oldest sights stand first."""
        while self._seen:
            message_id, (expires, _) = next(iter(self._seen.items()))
            if expires > now:
                return
            del self._seen[message_id]
