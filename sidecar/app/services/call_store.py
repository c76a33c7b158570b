"""The file in which a node keeps what it knows of calls: those that ended, those alive, their envelopes."""

from __future__ import annotations

from pathlib import Path

from sidecar.storage.database import CallSoon, Database

DATABASE = "calls.db"

_MIGRATIONS = (
    """
    CREATE TABLE calls (
        call_id TEXT PRIMARY KEY, ended_ms INTEGER NOT NULL, record BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX calls_by_end ON calls (ended_ms);
    """,
    """
    CREATE TABLE live (
        call_id TEXT PRIMARY KEY, seen_ms INTEGER NOT NULL, note BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE envelopes (
        number INTEGER PRIMARY KEY, call_id TEXT NOT NULL, at_ms INTEGER NOT NULL, sent INTEGER NOT NULL,
        envelope BLOB NOT NULL
    );
    CREATE INDEX envelopes_by_call ON envelopes (call_id, number);
    """,
    """
    ALTER TABLE calls RENAME TO calls_by_id;
    CREATE TABLE calls (
        call_id TEXT NOT NULL, created_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, record BLOB NOT NULL,
        PRIMARY KEY (call_id, created_ms)
    ) WITHOUT ROWID;
    INSERT INTO calls SELECT call_id, 0, ended_ms, record FROM calls_by_id;
    DROP TABLE calls_by_id;
    CREATE INDEX calls_by_end ON calls (ended_ms);
    """,
)


def open_store(data_dir: Path, call_soon: CallSoon) -> Database:
    """Raises UnavailableError if the file cannot be opened."""
    return Database(data_dir / DATABASE, _MIGRATIONS, call_soon)
