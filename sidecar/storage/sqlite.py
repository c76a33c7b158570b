"""The graph's stores on SQLite: a relay's cells, a client's outbox and settings (``sidecar.graph.store``).

A write is visible to reads at once, from an overlay in memory, and leaves the overlay when it is committed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from sidecar.storage.database import CallSoon, Database, OnDone, Statement

Cell = tuple[Any, float]
Cells = dict[str, Cell]
OutboxRow = tuple[str, str, str, float, float]
ExpiresMs = Callable[[str, float], float | None]
"""When a cell of this soul with this state ends; None for never."""

MAX_SIZES = 4_096
"""Souls whose size is remembered; another one is added up anew."""

_MIGRATIONS = (
    """
    CREATE TABLE cells (
        soul TEXT NOT NULL, key TEXT NOT NULL, state REAL NOT NULL, value TEXT NOT NULL, expires_ms REAL,
        PRIMARY KEY (soul, key)
    ) WITHOUT ROWID;
    CREATE INDEX cells_expiry ON cells (expires_ms) WHERE expires_ms IS NOT NULL;
    CREATE TABLE outbox (
        soul TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, state REAL NOT NULL,
        expires_ms REAL NOT NULL, PRIMARY KEY (soul, key)
    );
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
)
_PUT_CELL = "INSERT OR REPLACE INTO cells (soul, key, state, value, expires_ms) VALUES (?, ?, ?, ?, ?)"
_EXPIRE = "DELETE FROM cells WHERE expires_ms < ?"
_PUT_OUTBOX = "INSERT OR REPLACE INTO outbox (soul, key, value, state, expires_ms) VALUES (?, ?, ?, ?, ?)"
_DROP_OUTBOX = "DELETE FROM outbox WHERE soul = ? AND key = ?"
_PUT_SETTING = "INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)"


class SqliteStore:
    """Both stores in one file. ``durable`` for a client: its outbox must survive a power cut (DESIGN D10)."""

    def __init__(
        self, path: Path, *, expires_ms: ExpiresMs, call_soon: CallSoon, durable: bool = False
    ) -> None:
        self._expires_ms = expires_ms
        self._database = Database(path, _MIGRATIONS, call_soon, durable=durable)
        self._read = self._database.reader.execute
        self._overlay: dict[str, dict[str, tuple[int, Cell]]] = {}
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._writes = 0

    def close(self) -> None:
        """Commit what is queued and close the file."""
        self._database.close()

    # A relay's cells

    def read(self, soul: str) -> Cells:
        rows = self._read("SELECT key, value, state FROM cells WHERE soul = ?", (soul,))
        cells = {key: _cell(value, state) for key, value, state in rows}
        cells.update((key, cell) for key, (_, cell) in self._overlay.get(soul, {}).items())
        return cells

    def read_cell(self, soul: str, key: str) -> Cell | None:
        pending = self._overlay.get(soul, {}).get(key)
        if pending is not None:
            return pending[1]
        query = "SELECT value, state FROM cells WHERE soul = ? AND key = ?"
        row = self._read(query, (soul, key)).fetchone()
        return None if row is None else _cell(*row)

    def size(self, soul: str) -> int:
        known = self._sizes.get(soul)
        if known is None:
            known = sum(_size(key, value) for key, (value, _) in self.read(soul).items())
            self._sizes[soul] = known
            if len(self._sizes) > MAX_SIZES:
                self._sizes.popitem(last=False)
        else:
            self._sizes.move_to_end(soul)
        return known

    def write(self, changes: Mapping[str, Cells], on_done: OnDone) -> None:
        self._writes += 1
        rows = []
        for soul, cells in changes.items():
            for key, (value, state) in cells.items():
                self._grow(soul, key, value)
                self._overlay.setdefault(soul, {})[key] = (self._writes, (value, state))
                text = msgspec.json.encode(value).decode()
                rows.append((soul, key, state, text, self._expires_ms(soul, state)))
        statements: list[Statement] = [(_PUT_CELL, rows)] if rows else []
        self._database.submit(statements, partial(self._committed, changes, self._writes, on_done))

    def _grow(self, soul: str, key: str, value: Any) -> None:
        if soul in self._sizes:
            current = self.read_cell(soul, key)
            self._sizes[soul] += _size(key, value) - (_size(key, current[0]) if current else 0)

    def _committed(self, changes: Mapping[str, Cells], write: int, on_done: OnDone, stored: bool) -> None:
        for soul, cells in changes.items():
            pending = self._overlay.get(soul, {})
            for key in cells:
                if key in pending and pending[key][0] == write:
                    del pending[key]
            if not pending:
                self._overlay.pop(soul, None)
            if not stored:
                self._sizes.pop(soul, None)
        on_done(stored)

    def expire(self, network_ms: float) -> None:
        self._database.submit([(_EXPIRE, [(network_ms,)])], lambda _: self._sizes.clear())

    # A client's outbox and settings

    def outbox(self) -> list[OutboxRow]:
        return list(self._read("SELECT soul, key, value, state, expires_ms FROM outbox ORDER BY state"))

    def add_to_outbox(self, row: OutboxRow) -> None:
        self._database.submit([(_PUT_OUTBOX, [row])])

    def remove_from_outbox(self, soul: str, key: str) -> None:
        self._database.submit([(_DROP_OUTBOX, [(soul, key)])])

    def setting(self, name: str) -> str | None:
        row = self._read("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def set_setting(self, name: str, value: str) -> None:
        self._database.submit([(_PUT_SETTING, [(name, value)])])


def _cell(value: str, state: float) -> Cell:
    return msgspec.json.decode(value), int(state) if state == int(state) else state


def _size(key: str, value: Any) -> int:
    return len(key) + (len(value) if isinstance(value, str) else 16)
