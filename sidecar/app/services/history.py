"""The history of calls on disk: what each call left when it ended (DESIGN C17, D10)."""

from __future__ import annotations

from functools import partial

import msgspec

from sidecar.log import Logger
from sidecar.schema import CallRecord
from sidecar.storage.database import Database, Statement

RECORDS_MAX = 1000
"""Kept; the oldest goes first."""

_PUT = "INSERT OR REPLACE INTO calls (call_id, created_ms, ended_ms, record) VALUES (?, ?, ?, ?)"
_IS_OVER = "DELETE FROM live WHERE call_id = ?"
_MEASURED = "UPDATE calls SET record = ? WHERE call_id = ? AND ended_ms = ?"
_TRIM = (
    "DELETE FROM calls WHERE (call_id, created_ms) IN "
    "(SELECT call_id, created_ms FROM calls ORDER BY ended_ms DESC, call_id LIMIT -1 OFFSET ?)"
)
_NEWEST = "SELECT record FROM calls WHERE ended_ms < ? ORDER BY ended_ms DESC, call_id LIMIT ?"
_FAR_FUTURE_MS = 2**62

_Key = tuple[str, int]


def _key(record: CallRecord) -> _Key:
    return record.call_id, record.created_at


class History:
    """A record that cannot be written is logged; one that is on its way to the disk can be read already."""

    def __init__(self, database: Database, log: Logger) -> None:
        self._database = database
        self._log = log
        self._unwritten: dict[_Key, CallRecord] = {}

    def add(self, record: CallRecord) -> None:
        """Writes one ended call, which is not alive from then on. A conference that was joined again has one
        record; another call under an id that a peer has used before does not replace the older one."""
        row = (record.call_id, record.created_at, record.ended_at, msgspec.json.encode(record))
        statements: list[Statement] = [
            (_PUT, [row]),
            (_IS_OVER, [(record.call_id,)]),
            (_TRIM, [(RECORDS_MAX,)]),
        ]
        self._unwritten[_key(record)] = record
        self._database.submit(statements, partial(self._written, record))

    def measured(self, record: CallRecord) -> None:
        """Replaces the record of the same end of the same call by one that has its measurements."""
        if self._unwritten.get(_key(record), record).ended_at == record.ended_at:
            self._unwritten[_key(record)] = record
        row = (msgspec.json.encode(record), record.call_id, record.ended_at)
        self._database.submit([(_MEASURED, [row])], partial(self._written, record))

    def newest(self, limit: int, before_ms: int | None = None) -> list[CallRecord]:
        """Ended calls, newest first. ``before_ms``: only those that ended earlier."""
        upper = _FAR_FUTURE_MS if before_ms is None else before_ms
        rows = self._database.reader.execute(_NEWEST, (upper, limit))
        found = {_key(record): record for (data,) in rows if (record := self._decode(data)) is not None}
        found |= {key: record for key, record in self._unwritten.items() if record.ended_at < upper}
        return sorted(found.values(), key=lambda record: (-record.ended_at, record.call_id))[:limit]

    def _decode(self, data: bytes) -> CallRecord | None:
        try:
            return msgspec.json.decode(data, type=CallRecord)
        except msgspec.MsgspecError:
            self._log.warning("a call record cannot be read")
            return None

    def _written(self, record: CallRecord, stored: bool) -> None:
        if self._unwritten.get(_key(record)) is record:
            del self._unwritten[_key(record)]
        if not stored:
            self._log.warning("a call record could not be written", call_id=record.call_id)
