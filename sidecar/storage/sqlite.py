"""The graph's stores on SQLite: a relay's cells, a client's outbox and settings (``sidecar.graph.store``).

Reads see a write at once, from the nodes held in memory (``nodecache``). A small node is one row under the
empty key, which no cell can have; one that outgrows it, or whose cells end, is a row for each key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from sidecar.storage.database import CallSoon, Database, OnDone, Statement
from sidecar.storage.nodecache import CACHE_BYTES, Cell, Cells, Node, NodeCache
from sidecar.storage.soulfilter import MAX_SOULS, SoulFilter

OutboxRow = tuple[str, str, str, float, float]
ExpiresMs = Callable[[str, float], float | None]
"""When a cell of this soul with this state ends; None for never."""

WHOLE = ""
"""Key of the row that holds a whole node."""
ALL_KEYS, ONE_KEY = "", "="
"""How a subscription to a soul, and to one key of it, is written: no key of a table may be null."""
MAX_WHOLE = 2_048
"""Keys and values of a node in one row: each write writes all of it."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

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
    """
    CREATE TABLE deferred (number INTEGER PRIMARY KEY, due_ms REAL NOT NULL, graph TEXT NOT NULL);
    CREATE TABLE followers (pid TEXT PRIMARY KEY, seen_ms REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE follows (
        pid TEXT NOT NULL, soul TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (pid, soul, key)
    ) WITHOUT ROWID;
    """,
)
_READ = "SELECT key, value, state FROM cells WHERE soul = ? ORDER BY key"
_PUT_CELL = "INSERT OR REPLACE INTO cells (soul, key, state, value, expires_ms) VALUES (?, ?, ?, ?, ?)"
_DROP_WHOLE = f"DELETE FROM cells WHERE soul = ? AND key = '{WHOLE}'"
_EXPIRE = "DELETE FROM cells WHERE expires_ms < ?"
_PUT_OUTBOX = "INSERT OR REPLACE INTO outbox (soul, key, value, state, expires_ms) VALUES (?, ?, ?, ?, ?)"
_DROP_OUTBOX = "DELETE FROM outbox WHERE soul = ? AND key = ?"
_DEFER = "INSERT OR REPLACE INTO deferred (number, due_ms, graph) VALUES (?, ?, ?)"
_UNDEFER = "DELETE FROM deferred WHERE number = ?"
_SEEN = "INSERT OR REPLACE INTO followers (pid, seen_ms) VALUES (?, ?)"
_FOLLOW = "INSERT OR IGNORE INTO follows (pid, soul, key) VALUES (?, ?, ?)"
_PUT_SETTING = "INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)"


class SqliteStore:
    """Both stores in one file. ``durable`` for a client: its outbox must survive a power cut (DESIGN D10)."""

    def __init__(
        self,
        path: Path,
        *,
        expires_ms: ExpiresMs,
        call_soon: CallSoon,
        durable: bool = False,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._expires_ms = expires_ms
        self._database = Database(path, _MIGRATIONS, call_soon, durable=durable)
        self._read = self._database.reader.execute
        self._cache = NodeCache(self._load, cache_bytes)
        self._souls = SoulFilter()
        for (soul,) in self._read("SELECT DISTINCT soul FROM cells LIMIT ?", (MAX_SOULS + 1,)):
            self._souls.add(soul)

    def close(self) -> None:
        """Commit what is queued and close the file."""
        self._database.close()

    # A relay's cells

    def read(self, soul: str) -> Cells:
        return self._cache.get(soul).cells

    def read_cell(self, soul: str, key: str) -> Cell | None:
        return self._cache.get(soul).cells.get(key)

    def size(self, soul: str) -> int:
        return self._cache.get(soul).size

    def write(self, changes: Mapping[str, Cells], on_done: OnDone) -> None:
        statements = [
            statement
            for soul, cells in changes.items()
            for statement in self._statements(soul, self._cache.write(soul, cells), cells)
        ]
        self._database.submit(statements, partial(self._committed, tuple(changes), on_done))

    def _statements(self, soul: str, node: Node, cells: Cells) -> list[Statement]:
        if not (node.whole_row or node.key_rows):
            self._souls.add(soul)
        if not (node.limited or node.key_rows) and node.size <= MAX_WHOLE:
            node.whole_row = True
            return [(_PUT_CELL, [(soul, WHOLE, 0, _text(node.cells), None)])]
        statements: list[Statement] = []
        if node.whole_row:
            cells = node.cells
            statements.append((_DROP_WHOLE, [(soul,)]))
        node.whole_row, node.key_rows = False, True
        rows = [
            (soul, key, state, _text(value), self._expires_ms(soul, state) if node.limited else None)
            for key, (value, state) in cells.items()
        ]
        return [*statements, (_PUT_CELL, rows)]

    def _load(self, soul: str) -> Node:
        limited = self._expires_ms(soul, 0) is not None
        if not self._souls.may_hold(soul):
            return Node({}, limited=limited, whole_row=False, key_rows=False)
        rows = self._read(_READ, (soul,)).fetchall()
        cells: Cells = {}
        whole_row = bool(rows) and rows[0][0] == WHOLE
        if whole_row:
            cells = {key: (value, state) for key, (value, state) in _decode(rows[0][1]).items()}
        cells.update({key: (_decode(value), _number(state)) for key, value, state in rows[whole_row:]})
        return Node(
            cells,
            limited=limited,
            whole_row=whole_row,
            key_rows=len(rows) > whole_row,
        )

    def _committed(self, souls: tuple[str, ...], on_done: OnDone, stored: bool) -> None:
        for soul in souls:
            self._cache.written(soul, stored)
        on_done(stored)

    def expire(self, network_ms: float) -> None:
        self._database.submit([(_EXPIRE, [(network_ms,)])], lambda _: self._cache.forget_limited())

    # A relay's deferred puts and the subscriptions of those who are away

    def deferred(self) -> list[tuple[int, float, dict[str, Cells]]]:
        rows = self._read("SELECT number, due_ms, graph FROM deferred ORDER BY number")
        return [(number, due_ms, _graph(text)) for number, due_ms, text in rows]

    def defer(self, number: int, due_ms: float, graph: Mapping[str, Cells], on_done: OnDone) -> None:
        self._database.submit([(_DEFER, [(number, due_ms, _text(graph))])], on_done)

    def undefer(self, number: int) -> None:
        self._database.submit([(_UNDEFER, [(number,)])])

    def followers(self) -> list[tuple[str, float]]:
        return list(self._read("SELECT pid, seen_ms FROM followers ORDER BY seen_ms"))

    def follows(self, pid: str) -> list[tuple[str, str | None]]:
        rows = self._read("SELECT soul, key FROM follows WHERE pid = ?", (pid,))
        return [(soul, key[1:] if key else None) for soul, key in rows]

    def keep_follows(self, pid: str, seen_ms: float, asked: Iterable[tuple[str, str | None]]) -> None:
        rows = [(pid, soul, ALL_KEYS if key is None else ONE_KEY + key) for soul, key in asked]
        seen: Statement = (_SEEN, [(pid, seen_ms)])
        self._database.submit([seen, (_FOLLOW, rows)] if rows else [seen])

    def drop_follows(self, pid: str, soul: str | None) -> None:
        if soul is None:
            gone = [(pid,)]
            self._database.submit(
                [("DELETE FROM follows WHERE pid = ?", gone), ("DELETE FROM followers WHERE pid = ?", gone)]
            )
        else:
            self._database.submit([("DELETE FROM follows WHERE pid = ? AND soul = ?", [(pid, soul)])])

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


def _text(value: Any) -> str:
    return _encode(value).decode()


def _graph(text: str) -> dict[str, Cells]:
    return {
        soul: {key: (value, _number(state)) for key, (value, state) in cells.items()}
        for soul, cells in _decode(text).items()
    }


def _number(state: float) -> float:
    """As it was: whole milliseconds are integers."""
    return int(state) if state == int(state) else state
