"""Leaves of a session that came before we know who may have written them (FAULTS S07): kept for a moment.

A leaf names its reader and its writer only to those who share a secret, so the leaves of users whom we are
told of a little later look like everybody else's. Those of a conference that are for other members lie here
too, until their time is over.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from sidecar.signaling.limits import Limits


class Parked(NamedTuple):
    """``since_s``: when it came first, in monotonic seconds."""

    key: str
    value: str
    since_s: float


class _Lot:
    """What waits in one place, oldest first."""

    __slots__ = ("chars", "leaves")

    def __init__(self) -> None:
        self.leaves: OrderedDict[str, Parked] = OrderedDict()
        self.chars = 0


class Parking:
    """By place; bounded in leaves, characters and time. ``on_forgotten`` is told of each that nobody took."""

    def __init__(self, limits: Limits, on_forgotten: Callable[[], None]) -> None:
        self._limits = limits
        self._on_forgotten = on_forgotten
        self._lots: dict[str, _Lot] = {}
        self._chars = 0

    def put(self, place: str, leaf: Parked, now_s: float) -> None:
        """Keeps a leaf; of too much in one place its oldest goes, of too much in all that of the fullest."""
        self._expire(now_s)
        lot = self._lots.setdefault(place, _Lot())
        if leaf.key not in lot.leaves:
            lot.leaves[leaf.key] = leaf
            lot.chars += _size(leaf)
            self._chars += _size(leaf)
        limits = self._limits
        while len(lot.leaves) > limits.parked_leaves or lot.chars > limits.parked_chars:
            self._lose_oldest(place)
        while self._chars > limits.parked_chars_total:
            self._lose_oldest(max(self._lots, key=lambda name: self._lots[name].chars))

    def take(self, place: str, now_s: float) -> list[Parked]:
        """All that waits in a place, oldest first; it waits no longer."""
        self._expire(now_s)
        lot = self._lots.pop(place, None)
        if lot is None:
            return []
        self._chars -= lot.chars
        return list(lot.leaves.values())

    def drop(self, place: str) -> None:
        """Nobody will read this place any more."""
        while place in self._lots:
            self._lose_oldest(place)

    def __len__(self) -> int:
        return sum(len(lot.leaves) for lot in self._lots.values())

    def _expire(self, now_s: float) -> None:
        for place in list(self._lots):
            while place in self._lots and now_s - self._oldest(place).since_s >= self._limits.parked_s:
                self._lose_oldest(place)

    def _oldest(self, place: str) -> Parked:
        return next(iter(self._lots[place].leaves.values()))

    def _lose_oldest(self, place: str) -> None:
        lot = self._lots[place]
        _, leaf = lot.leaves.popitem(last=False)
        lot.chars -= _size(leaf)
        self._chars -= _size(leaf)
        if not lot.leaves:
            del self._lots[place]
        self._on_forgotten()


def _size(leaf: Parked) -> int:
    return len(leaf.key) + len(leaf.value)
