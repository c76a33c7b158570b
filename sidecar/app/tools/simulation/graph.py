"""The graph of a simulation: souls with what was put there, told to whoever watches them, late or twice.

It keeps everything, so a node that comes later or comes back reads the past as it would in life.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from .network import Agenda, Dice

OnLeaf = Callable[[str, Any], None]
"""(key, value)"""


class _Delivery(NamedTuple):
    """One copy on its way. It reaches ``on_leaf`` only if that still watches: a dead process does not."""

    writer: str
    reader: str
    soul: str
    key: str
    value: Any
    on_leaf: OnLeaf


class Graph:
    """Writers and readers are names of nodes; nobody is told its own words."""

    def __init__(self, agenda: Agenda, dice: Dice, counts: Counter[str]) -> None:
        self._agenda = agenda
        self._dice = dice
        self._counts = counts
        self._souls: dict[str, dict[str, tuple[str, Any]]] = {}
        self._readers: dict[str, dict[str, OnLeaf]] = {}
        self._split: frozenset[str] = frozenset()
        self._held: list[_Delivery] = []
        self._thaws: dict[str, float] = {}

    def put(self, writer: str, soul: str, key: str, value: Any, near: str | None = None) -> None:
        """Writes; another value under the same key takes its place. ``near`` is told directly, over the
        control channel of a connection (D4)."""
        self._souls.setdefault(soul, {})[key] = (writer, value)
        for reader, on_leaf in self._readers.get(soul, {}).items():
            delivery = _Delivery(writer, reader, soul, key, value, on_leaf)
            if reader == near:
                self._agenda.at(self._agenda.now + self._dice.path_delay(), partial(self._arrive, delivery))
            elif reader != writer:
                self._send(delivery)

    def watch(self, reader: str, soul: str, on_leaf: OnLeaf) -> None:
        """Tells what is there and what comes."""
        self._readers.setdefault(soul, {})[reader] = on_leaf
        for key, (writer, value) in self._souls.get(soul, {}).items():
            if reader != writer:
                self._send(_Delivery(writer, reader, soul, key, value, on_leaf))

    def unwatch(self, reader: str, soul: str) -> None:
        self._readers.get(soul, {}).pop(reader, None)

    def forget(self, reader: str) -> None:
        """The process of a node is gone."""
        for readers in self._readers.values():
            readers.pop(reader, None)

    def replay(self, reader: str) -> None:
        """Tells a node everything that it watches once more, as a relay does after a reconnect (S01)."""
        for soul, readers in self._readers.items():
            if reader in readers:
                self.watch(reader, soul, readers[reader])

    def divide(self, half: frozenset[str]) -> None:
        """Parts these nodes from the others; an empty set heals, and what waited comes through."""
        self._split = half
        held, self._held = self._held, []
        for delivery in held:
            self._send(delivery)

    def freeze(self, reader: str, until: float) -> None:
        """A node does not read until then; what comes waits in its socket."""
        self._thaws[reader] = until

    def _send(self, delivery: _Delivery) -> None:
        if (delivery.writer in self._split) != (delivery.reader in self._split):
            self._counts["held back"] += 1
            self._held.append(delivery)
            return
        for delay in self._dice.graph_delays():
            self._agenda.at(self._agenda.now + delay, partial(self._arrive, delivery))

    def _arrive(self, delivery: _Delivery) -> None:
        thaws_at = self._thaws.get(delivery.reader, 0.0)
        if thaws_at > self._agenda.now:
            self._agenda.at(thaws_at, partial(self._arrive, delivery))
            return
        watching = self._readers.get(delivery.soul, {}).get(delivery.reader)
        if watching is delivery.on_leaf:
            watching(delivery.key, delivery.value)
