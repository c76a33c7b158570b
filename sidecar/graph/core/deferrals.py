"""Puts whose state lies in the future: kept until they are due, over a restart too (gun.md section 3).

A client whose clock is ahead writes such puts all the time. Subscribers get them at once and settle them with
their own clocks; a late reader sees them when they are due.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import NamedTuple

from sidecar.graph.core.nodes import Graph
from sidecar.graph.store import NodeStore, OnDone

MAX_PER_CONNECTION = 200


class Deferred(NamedTuple):
    """``number`` names it in the store."""

    due_ms: float
    number: int
    writer: int
    graph: Graph


class Deferrals:
    """Bounded in all, and for each connection, so that one cannot fill the place for the others."""

    def __init__(self, store: NodeStore, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._waiting: list[Deferred] = []
        self._by_writer: Counter[int] = Counter()
        self._next = 0
        for number, due_ms, graph in store.deferred()[:limit]:
            heapq.heappush(self._waiting, Deferred(due_ms, number, 0, graph))
            self._next = max(self._next, number + 1)

    def full(self, writer: int) -> bool:
        """Whether no more is taken from this connection."""
        return len(self._waiting) >= self._limit or self._by_writer[writer] >= MAX_PER_CONNECTION

    def add(self, writer: int, due_ms: float, graph: Graph, on_done: OnDone) -> None:
        """Keeps a put; ``on_done`` hears when it is on disk."""
        number, self._next = self._next, self._next + 1
        heapq.heappush(self._waiting, Deferred(due_ms, number, writer, graph))
        self._by_writer[writer] += 1
        self._store.defer(number, due_ms, graph, on_done)

    def next_due_ms(self) -> float | None:
        return self._waiting[0].due_ms if self._waiting else None

    def due(self, now_ms: float) -> list[Graph]:
        """Takes out what is due. Its row goes with the next commit: after a crash it settles once more."""
        graphs = []
        while self._waiting and self._waiting[0].due_ms <= now_ms:
            settled = heapq.heappop(self._waiting)
            self._by_writer[settled.writer] -= 1
            if self._by_writer[settled.writer] <= 0:
                del self._by_writer[settled.writer]
            self._store.undefer(settled.number)
            graphs.append(settled.graph)
        return graphs
