"""What the graph needs kept: protocols that ``sidecar.storage`` implements, and one in memory.

Cells are the plain tuples of ``core.nodes``, outbox rows plain tuples too, so that a storage knows no type
of this package. Writes are queued in order; ``on_done`` is called on the event loop after COMMIT, with False
if the write was lost (disk full).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from sidecar.graph.core.leaves import is_expired, lifetime_s
from sidecar.graph.core.nodes import cell_size

Cells = dict[str, tuple[Any, float]]
OutboxRow = tuple[str, str, str, float, float]
"""soul, key, value, state, expires_ms."""
OnDone = Callable[[bool], None]


class Store(Protocol):
    """A client's memory: leaves not yet acknowledged, and a few settings."""

    def outbox(self) -> list[OutboxRow]:
        """All leaves left by the last run."""

    def add_to_outbox(self, row: OutboxRow) -> None:
        """Keep a leaf."""

    def remove_from_outbox(self, soul: str, key: str) -> None:
        """Forget a leaf; unknown ones are ignored."""

    def setting(self, name: str) -> str | None:
        """A remembered value."""

    def set_setting(self, name: str, value: str) -> None:
        """Remember a value."""


class NodeStore(Protocol):
    """A relay's memory. Reads see writes that are queued but not yet committed."""

    def read(self, soul: str) -> Cells:
        """All cells of a soul; some may have ended already."""

    def read_cell(self, soul: str, key: str) -> tuple[Any, float] | None:
        """One cell."""

    def size(self, soul: str) -> int:
        """Bytes of keys and values of a soul."""

    def write(self, changes: Mapping[str, Cells], on_done: OnDone) -> None:
        """Set cells whatever was there: the caller resolved conflicts. Empty changes wait for the queue."""

    def expire(self, network_ms: float) -> None:
        """Delete the cells of time-limited souls that have ended."""

    def deferred(self) -> list[tuple[int, float, dict[str, Cells]]]:
        """Puts that were not due when the last run ended: number, due_ms, graph; the oldest first."""

    def defer(self, number: int, due_ms: float, graph: Mapping[str, Cells], on_done: OnDone) -> None:
        """Keep a put until it is due."""

    def undefer(self, number: int) -> None:
        """Forget a put that is due; unknown ones are ignored."""

    def followers(self) -> list[tuple[str, float]]:
        """The pids whose subscriptions are kept, and when each was seen last (unix ms); longest ago first."""

    def follows(self, pid: str) -> list[tuple[str, str | None]]:
        """What a pid asked for: soul and key, None for all keys."""

    def keep_follows(self, pid: str, seen_ms: float, asked: Iterable[tuple[str, str | None]]) -> None:
        """Add to what is kept of a pid, and note that it was seen."""

    def drop_follows(self, pid: str, soul: str | None) -> None:
        """Forget a soul that a pid does not follow any more, or with None the pid."""


class MemoryStore:
    """Both protocols without a disk: tests, and clients that keep nothing."""

    def __init__(self) -> None:
        self._outbox: dict[tuple[str, str], OutboxRow] = {}
        self._settings: dict[str, str] = {}
        self._nodes: dict[str, Cells] = {}
        self._deferred: dict[int, tuple[float, dict[str, Cells]]] = {}
        self._follows: dict[str, tuple[float, dict[tuple[str, str | None], None]]] = {}

    def outbox(self) -> list[OutboxRow]:
        return list(self._outbox.values())

    def add_to_outbox(self, row: OutboxRow) -> None:
        self._outbox[row[0], row[1]] = row

    def remove_from_outbox(self, soul: str, key: str) -> None:
        self._outbox.pop((soul, key), None)

    def setting(self, name: str) -> str | None:
        return self._settings.get(name)

    def set_setting(self, name: str, value: str) -> None:
        self._settings[name] = value

    def read(self, soul: str) -> Cells:
        return dict(self._nodes.get(soul, {}))

    def read_cell(self, soul: str, key: str) -> tuple[Any, float] | None:
        return self._nodes.get(soul, {}).get(key)

    def size(self, soul: str) -> int:
        return sum(cell_size(key, value) for key, (value, _) in self._nodes.get(soul, {}).items())

    def write(self, changes: Mapping[str, Cells], on_done: OnDone) -> None:
        for soul, cells in changes.items():
            self._nodes.setdefault(soul, {}).update(cells)
        on_done(True)

    def expire(self, network_ms: float) -> None:
        for soul in [soul for soul in self._nodes if lifetime_s(soul) is not None]:
            cells = self._nodes[soul]
            for key in [key for key, (_, state) in cells.items() if is_expired(soul, state, network_ms)]:
                del cells[key]
            if not cells:
                del self._nodes[soul]

    def deferred(self) -> list[tuple[int, float, dict[str, Cells]]]:
        return [(number, due_ms, graph) for number, (due_ms, graph) in self._deferred.items()]

    def defer(self, number: int, due_ms: float, graph: Mapping[str, Cells], on_done: OnDone) -> None:
        self._deferred[number] = (due_ms, dict(graph))
        on_done(True)

    def undefer(self, number: int) -> None:
        self._deferred.pop(number, None)

    def followers(self) -> list[tuple[str, float]]:
        return sorted(((pid, seen_ms) for pid, (seen_ms, _) in self._follows.items()), key=lambda one: one[1])

    def follows(self, pid: str) -> list[tuple[str, str | None]]:
        return list(self._follows[pid][1]) if pid in self._follows else []

    def keep_follows(self, pid: str, seen_ms: float, asked: Iterable[tuple[str, str | None]]) -> None:
        _, known = self._follows.get(pid, (0.0, {}))
        self._follows[pid] = (seen_ms, known | dict.fromkeys(asked))

    def drop_follows(self, pid: str, soul: str | None) -> None:
        if soul is None or pid not in self._follows:
            self._follows.pop(pid, None)
            return
        seen_ms, known = self._follows[pid]
        self._follows[pid] = (seen_ms, {asked: None for asked in known if asked[0] != soul})
