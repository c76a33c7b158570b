"""Reads what a node keeps of one call, also while the node runs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from sidecar.app.services.call_store import DATABASE
from sidecar.app.tools.explain import Kept
from sidecar.errors import Code, LocalError, UnavailableError
from sidecar.schema import CallRecord
from sidecar.storage.reading import reading

_RECORD = "SELECT record FROM calls WHERE call_id = ? ORDER BY ended_ms DESC LIMIT 1"
_LIVE = "SELECT 1 FROM live WHERE call_id = ?"
_ENVELOPES = "SELECT at_ms, sent, envelope FROM envelopes WHERE call_id = ? ORDER BY number"


class Found(NamedTuple):
    """What is known of a call."""

    record: CallRecord | None
    alive: bool
    kept: list[Kept]


def find(data_dir: Path, call_id: str) -> Found:
    """Raises UnavailableError where there is no file of a node or a damaged one, LocalError
    ``call.not-found``."""
    path = data_dir / DATABASE
    with reading(path) as database:
        row = database.execute(_RECORD, (call_id,)).fetchone()
        alive = database.execute(_LIVE, (call_id,)).fetchone() is not None
        rows = database.execute(_ENVELOPES, (call_id,)).fetchall()
    kept = [Kept(at_ms, bool(sent), envelope.decode()) for at_ms, sent, envelope in rows]
    record = None if row is None else _decode(path, row[0])
    if record is None and not alive and not kept:
        raise LocalError(f"nothing is known of {call_id!r}", code=Code.CALL_NOT_FOUND)
    return Found(record, alive, kept)


def _decode(path: Path, data: bytes) -> CallRecord:
    try:
        return msgspec.json.decode(data, type=CallRecord)
    except msgspec.MsgspecError as error:
        raise UnavailableError(f"cannot read {path}: the record of this call is damaged") from error
