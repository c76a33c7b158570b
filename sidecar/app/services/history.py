"""The history of calls on disk: what each call left when it ended (DESIGN C17, D10)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sidecar.log import Logger
from sidecar.schema import CallRecord
from sidecar.storage.database import CallSoon, Database

DATABASE = "calls.db"
RECORDS_MAX = 1000
"""Kept; the oldest goes first."""

_MIGRATIONS = (
    """
    CREATE TABLE calls (
        call_id TEXT PRIMARY KEY, ended_ms INTEGER NOT NULL, record BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX calls_by_end ON calls (ended_ms);
    """,
)
_PUT = "INSERT OR REPLACE INTO calls (call_id, ended_ms, record) VALUES (?, ?, ?)"
_TRIM = (
    "DELETE FROM calls WHERE call_id IN "
    "(SELECT call_id FROM calls ORDER BY ended_ms DESC, call_id LIMIT -1 OFFSET ?)"
)
_NEWEST = "SELECT record FROM calls WHERE ended_ms < ? ORDER BY ended_ms DESC, call_id LIMIT ?"
_FAR_FUTURE_MS = 2**62


class History:
    """Raises UnavailableError if the file cannot be opened; a record that cannot be written is logged."""

    def __init__(self, data_dir: Path, call_soon: CallSoon, log: Logger) -> None:
        self._log = log
        self._database = Database(data_dir / DATABASE, _MIGRATIONS, call_soon)

    def add(self, record: CallRecord) -> None:
        """Writes one ended call; a repeated id replaces the older record."""
        row = (record.call_id, record.ended_at, msgspec.json.encode(record))
        self._database.submit([(_PUT, [row]), (_TRIM, [(RECORDS_MAX,)])], self._written)

    def newest(self, limit: int, before_ms: int | None = None) -> list[CallRecord]:
        """Ended calls, newest first, as far as they have been committed."""
        upper = _FAR_FUTURE_MS if before_ms is None else before_ms
        rows = self._database.reader.execute(_NEWEST, (upper, limit))
        return [msgspec.json.decode(data, type=CallRecord) for (data,) in rows]

    def close(self) -> None:
        """Writes what is queued and closes the file."""
        self._database.close()

    def _written(self, stored: bool) -> None:
        if not stored:
            self._log.warning("a call record could not be written")
