"""What trust must not forget, on disk: social facts, pinned keys, burnt nonces (DESIGN D8, D10).

One file, all of it with synchronous FULL: a block or a ring that was acknowledged survives a power cut. It is
written a few times per call at most, so one rule for the file costs less than two files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from sidecar.app.services.keys import Burnt
from sidecar.log import Logger
from sidecar.storage.database import CallSoon, Database, OnDone
from sidecar.trust.domains import Domain, Room
from sidecar.trust.pins import Pin
from sidecar.trust.social import Change, Contact, Fact

DATABASE = "trust.db"

_MIGRATIONS = (
    """
    CREATE TABLE facts (
        kind TEXT NOT NULL, id TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE TABLE pins (user_id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, pin BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE nonces (
        sender TEXT NOT NULL, nonce TEXT NOT NULL, expires_ms INTEGER NOT NULL, PRIMARY KEY (sender, nonce)
    ) WITHOUT ROWID;
    CREATE INDEX nonces_by_end ON nonces (expires_ms);
    """,
)
_PUT_FACT = "INSERT OR REPLACE INTO facts (kind, id, value) VALUES (?, ?, ?)"
_DROP_FACT = "DELETE FROM facts WHERE kind = ? AND id = ?"
_PUT_PIN = "INSERT OR REPLACE INTO pins (user_id, at_ms, pin) VALUES (?, ?, ?)"
_DROP_PIN = "DELETE FROM pins WHERE user_id = ?"
_PUT_NONCE = "INSERT OR IGNORE INTO nonces (sender, nonce, expires_ms) VALUES (?, ?, ?)"
_DROP_NONCES = "DELETE FROM nonces WHERE expires_ms <= ?"

_TYPES: Mapping[Fact, Any] = {
    Fact.FRIEND: Contact,
    Fact.ROOM: Room,
    Fact.DOMAIN: Domain,
    Fact.BLOCKED: bool,
    Fact.LEFT_ROOM: bool,
    Fact.LEFT_DOMAIN: bool,
    Fact.SELF: str,
}


T = TypeVar("T")


class TrustStore:
    """Raises UnavailableError if the file cannot be opened. A row that cannot be read is left out and logged.

    Writes are queued; ``on_done`` hears after COMMIT, or False if they were lost.
    """

    def __init__(self, data_dir: Path, call_soon: CallSoon, log: Logger) -> None:
        self._log = log
        self._database = Database(data_dir / DATABASE, _MIGRATIONS, call_soon, durable=True)

    def facts(self) -> list[Change]:
        """The social facts, as the changes that make them."""
        rows = self._database.reader.execute("SELECT kind, id, value FROM facts")
        return list(self._readable(rows, lambda row: _fact(*row)))

    def save_facts(self, changes: Iterable[Change], on_done: OnDone) -> None:
        changes = list(changes)
        put = [(c.fact.value, c.fact_id, _encode(c.value)) for c in changes if c.value is not None]
        drop = [(c.fact.value, c.fact_id) for c in changes if c.value is None]
        self._database.submit([(_DROP_FACT, drop), (_PUT_FACT, put)], on_done)

    def pins(self) -> dict[str, Pin]:
        """Pinned keys, those changed longest ago first."""
        rows = self._database.reader.execute("SELECT user_id, pin FROM pins ORDER BY at_ms, user_id")
        return dict(self._readable(rows, lambda row: (row[0], msgspec.json.decode(row[1], type=Pin))))

    def save_pins(self, pins: Mapping[str, Pin | None], now_ms: int) -> None:
        put = [(user_id, now_ms, _encode(pin)) for user_id, pin in pins.items() if pin is not None]
        drop = [(user_id,) for user_id, pin in pins.items() if pin is None]
        self._database.submit([(_DROP_PIN, drop), (_PUT_PIN, put)], self._written)

    def nonces(self) -> list[Burnt]:
        """What was burnt and had not expired when something was burnt last."""
        return self._database.reader.execute("SELECT sender, nonce, expires_ms FROM nonces").fetchall()

    def burn(self, nonces: Sequence[Burnt], now_ms: int, on_done: OnDone) -> None:
        """Remembers nonces until they expire; expired ones go in the same breath."""
        self._database.submit([(_DROP_NONCES, [(now_ms,)]), (_PUT_NONCE, nonces)], on_done)

    def close(self) -> None:
        """Writes what is queued and closes the file."""
        self._database.close()

    def _written(self, stored: bool) -> None:
        if not stored:
            self._log.warning("pinned keys could not be written")

    def _readable(self, rows: Iterable[Any], read: Callable[[Any], T]) -> Iterable[T]:
        for row in rows:
            try:
                yield read(row)
            except (msgspec.MsgspecError, UnicodeError, ValueError):
                self._log.warning("a row of trust cannot be read")


def _fact(kind: str, fact_id: str, value: bytes) -> Change:
    fact = Fact(kind)
    return Change(fact, fact_id, msgspec.json.decode(value, type=_TYPES[fact]))


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value)
