"""Puts whose state lies in the future: kept until they are due, over a restart too (gun.md section 3).

A client whose clock is ahead writes such puts all the time. Subscribers get them at once and settle them with
their own clocks; a late reader sees them when they are due. A put leaves the store only when what it changed
is on disk: it has been acknowledged, and a relay may be killed at any moment.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import NamedTuple

from sidecar.graph.core.nodes import Graph, graph_bytes
from sidecar.graph.store import NodeStore, OnDone

MAX_PER_CONNECTION = 2_000
"""A clock two minutes ahead leaves room for 16 puts a second."""
MAX_BYTES = 32 * 1024 * 1024
MAX_BYTES_PER_CONNECTION = 4 * 1024 * 1024
RETRY_MS = 10_000
"""When a put is settled again whose changes the disk did not take."""


class Deferred(NamedTuple):
    """``number`` names it in the store."""

    due_ms: float
    number: int
    writer: int
    size: int
    graph: Graph


class Deferrals:
    """Bounded in all, and for each connection, so that one cannot fill the place for the others."""

    def __init__(self, store: NodeStore, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._waiting: list[Deferred] = []
        self._puts: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()
        self._total, self._total_bytes = 0, 0
        self._next = 0
        for number, due_ms, graph in store.deferred():
            self._wait(Deferred(due_ms, number, 0, graph_bytes(graph), graph))
            self._next = max(self._next, number + 1)

    def full(self, writer: int, size: int) -> bool:
        """Whether no more, or nothing of this size, is taken from this connection."""
        return (
            self._total >= self._limit
            or self._puts[writer] >= MAX_PER_CONNECTION
            or self._total_bytes + size > MAX_BYTES
            or self._bytes[writer] + size > MAX_BYTES_PER_CONNECTION
        )

    def add(self, writer: int, due_ms: float, graph: Graph, on_done: OnDone) -> None:
        """Keeps a put; ``on_done`` hears when it is on disk."""
        number, self._next = self._next, self._next + 1
        self._wait(Deferred(due_ms, number, writer, graph_bytes(graph), graph))
        self._store.defer(number, due_ms, graph, on_done)

    def _wait(self, put: Deferred) -> None:
        heapq.heappush(self._waiting, put)
        self._puts[put.writer] += 1
        self._bytes[put.writer] += put.size
        self._total += 1
        self._total_bytes += put.size

    def next_due_ms(self) -> float | None:
        return self._waiting[0].due_ms if self._waiting else None

    def due(self, now_ms: float) -> list[Deferred]:
        """Takes out what is due; each is to be ended by ``settled``."""
        puts = []
        while self._waiting and self._waiting[0].due_ms <= now_ms:
            puts.append(heapq.heappop(self._waiting))
        return puts

    def settled(self, put: Deferred, now_ms: float, stored: bool) -> None:
        """The changes of a put are on disk, or else it waits once more."""
        self._puts[put.writer] -= 1
        self._bytes[put.writer] -= put.size
        self._total -= 1
        self._total_bytes -= put.size
        if not self._puts[put.writer]:
            del self._puts[put.writer], self._bytes[put.writer]
        if stored:
            self._store.undefer(put.number)
        else:
            self._wait(put._replace(due_ms=now_ms + RETRY_MS))
