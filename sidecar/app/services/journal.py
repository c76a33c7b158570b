"""Notes on disk of the calls that are alive, for the process that comes after a crash (FAULTS C18)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from sidecar.calls.notes import LiveNote
from sidecar.clock import Clock
from sidecar.log import Logger
from sidecar.storage.database import Database, Statement

BEAT_S = 10.0
"""How exactly the end of a call is known that a crash has ended; one small write while a call lives."""

_PUT = "INSERT OR REPLACE INTO live (call_id, seen_ms, note) VALUES (?, ?, ?)"
_SEEN = "UPDATE live SET seen_ms = ?"
_DROP = "DELETE FROM live WHERE call_id = ?"
_ALL = "SELECT call_id, seen_ms, note FROM live ORDER BY seen_ms, call_id"


class Stale(NamedTuple):
    """A call that was alive when its process died, and when it was last known to be (Unix ms)."""

    note: LiveNote
    seen_ms: int


class Journal:
    """``stale`` is what the process before left behind; everything else is about this one's calls."""

    def __init__(self, database: Database, clock: Clock, log: Logger) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._noted: dict[str, LiveNote] = {}
        self._beat: asyncio.TimerHandle | None = None
        self.stale = list(self._read())

    def keep(self, notes: Iterable[LiveNote]) -> None:
        """Takes the notes of all calls that live now, and writes what is new or over."""
        now = {note.call_id: note for note in notes}
        if now == self._noted:
            return
        seen_ms = self._clock.wall_ms()
        put = [
            (call_id, seen_ms, msgspec.json.encode(note))
            for call_id, note in now.items()
            if self._noted.get(call_id) != note
        ]
        gone = [(call_id,) for call_id in self._noted.keys() - now.keys()]
        self._noted = now
        self._submit([(_DROP, gone), (_PUT, put)])
        self._plan_beat()

    def close(self) -> None:
        """Nothing is written any more."""
        self._noted = {}
        self._plan_beat()

    def _plan_beat(self) -> None:
        if not self._noted and self._beat is not None:
            self._beat.cancel()
            self._beat = None
        elif self._noted and self._beat is None:
            self._beat = asyncio.get_running_loop().call_later(BEAT_S, self._on_beat)

    def _on_beat(self) -> None:
        self._beat = None
        self._submit([(_SEEN, [(self._clock.wall_ms(),)])])
        self._plan_beat()

    def _submit(self, statements: list[Statement]) -> None:
        self._database.submit([item for item in statements if item[1]], self._written)

    def _written(self, stored: bool) -> None:
        if not stored:
            self._log.warning("live calls could not be noted")

    def _read(self) -> Iterable[Stale]:
        for call_id, seen_ms, note in self._database.reader.execute(_ALL).fetchall():
            try:
                yield Stale(msgspec.json.decode(note, type=LiveNote), seen_ms)
            except msgspec.MsgspecError:
                self._log.warning("a note of a live call cannot be read", call_id=call_id)
                self._submit([(_DROP, [(call_id,)])])
