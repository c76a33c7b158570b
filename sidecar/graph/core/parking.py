"""The subscriptions of gun.js clients by their pid, kept over a reconnect and a restart of the relay.

What a connection asks for is written in batches while it lives, because a relay that is killed has no time
to write. A pid that has not been seen for a day is forgotten. Clients of ours re-ask everything by themselves
and are not kept.
"""

from __future__ import annotations

from collections import OrderedDict

from sidecar.graph.core.subscriptions import Asked
from sidecar.graph.store import NodeStore

MAX_PIDS = 10_000
MAX_PER_PID = 1_000
"""What is kept of one pid; the rest it has to ask for again."""
MAX_PID_CHARS = 64
KEPT_FOR_MS = 24 * 3_600_000
SEEN_EVERY_MS = 3_600_000
"""How often a pid that stays connected is noted as seen."""


class Parking:
    """``named``, ``asked``, ``left`` follow connections; ``save`` writes what has gathered."""

    def __init__(self, store: NodeStore, max_pids: int = MAX_PIDS) -> None:
        self._store = store
        self._max_pids = max_pids
        self._seen_ms: OrderedDict[str, float] = OrderedDict(store.followers())
        self._pids: dict[int, str] = {}
        self._kept: dict[str, set[Asked]] = {}
        """What is kept of the pids that are connected."""
        self._connected: dict[str, int] = {}
        """How many connections each of them has."""
        self._unsaved: dict[str, list[Asked]] = {}
        self._unsaved_souls: set[tuple[str, str]] = set()
        self._idle: set[str] = set()
        """Pids that left before the last save: by the next one the store has what was kept of them."""

    @property
    def unsaved(self) -> bool:
        """Whether ``save`` has something to write."""
        return bool(self._unsaved or self._unsaved_souls)

    def named(self, connection: int, pid: str) -> list[Asked]:
        """A connection told its pid: what this pid has asked for, here or before."""
        if connection in self._pids or len(pid) > MAX_PID_CHARS:
            return []
        self._pids[connection] = pid
        self._connected[pid] = self._connected.get(pid, 0) + 1
        if pid not in self._kept:
            self._kept[pid] = set(self._store.follows(pid) if pid in self._seen_ms else [])
        self._unsaved.setdefault(pid, [])
        return sorted(self._kept[pid], key=lambda asked: (asked[0], asked[1] or ""))

    def asked(self, connection: int, soul: str, key: str | None) -> None:
        """A connection follows something new."""
        pid = self._pids.get(connection)
        if pid is None or len(self._kept[pid]) >= MAX_PER_PID or (soul, key) in self._kept[pid]:
            return
        self._kept[pid].add((soul, key))
        self._unsaved.setdefault(pid, []).append((soul, key))

    def ended(self, connection: int, soul: str) -> None:
        """A connection follows a soul no more."""
        pid = self._pids.get(connection)
        if pid is None:
            return
        ended = {asked for asked in self._kept[pid] if asked[0] == soul}
        self._kept[pid] -= ended
        unsaved = self._unsaved.setdefault(pid, [])
        if ended.difference(unsaved):
            self._unsaved_souls.add((pid, soul))
        unsaved[:] = [asked for asked in unsaved if asked[0] != soul]

    def left(self, connection: int) -> None:
        """A connection is gone; its pid is kept from now on for a day."""
        pid = self._pids.pop(connection, None)
        if pid is None:
            return
        self._unsaved.setdefault(pid, [])
        self._connected[pid] -= 1
        if self._connected[pid] == 0:
            del self._connected[pid]

    def save(self, now_ms: float) -> None:
        """Writes what has changed, and forgets who was not seen for a day or is too many."""
        for pid, soul in self._unsaved_souls:
            self._store.drop_follows(pid, soul)
        for pid, asked in self._unsaved.items():
            if asked or self._kept.get(pid) or pid in self._seen_ms:
                self._note(pid, now_ms, asked)
        for pid in self._idle - self._connected.keys() - self._unsaved.keys():
            self._kept.pop(pid, None)
        self._idle = self._unsaved.keys() - self._connected.keys()
        self._unsaved, self._unsaved_souls = {}, set()
        self._forget(now_ms)

    def _note(self, pid: str, now_ms: float, asked: list[Asked]) -> None:
        self._seen_ms[pid] = now_ms
        self._seen_ms.move_to_end(pid)
        self._store.keep_follows(pid, now_ms, asked)

    def _forget(self, now_ms: float) -> None:
        for pid in self._connected:
            if now_ms - self._seen_ms.get(pid, now_ms) > SEEN_EVERY_MS:
                self._note(pid, now_ms, [])
        while self._seen_ms:
            pid, seen_ms = next(iter(self._seen_ms.items()))
            if now_ms - seen_ms <= KEPT_FOR_MS and len(self._seen_ms) <= self._max_pids:
                return
            del self._seen_ms[pid]
            self._store.drop_follows(pid, None)
