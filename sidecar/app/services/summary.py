"""What a front end is told after a call: its record and its last measurements, ``aleph:callSummary``.

The record goes to the history at once; the measurements come from media when it has closed the call. No call
waits for them longer than a moment, and one that never connected has none.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Protocol

import msgspec

from sidecar.app.services.call_effects import Hub
from sidecar.log import Logger
from sidecar.media import messages as m
from sidecar.schema import CallRecord, CallStats, CallSummary

WAIT_S = 3.0
"""Media closes a call in milliseconds; this is for a machine that has other things to do."""
EARLY_MAX = 16
"""Measurements kept that came before their record."""


class Records(Protocol):
    """Where records are kept."""

    def add(self, record: CallRecord) -> None: ...
    def measured(self, record: CallRecord) -> None: ...


class Summaries:
    """Takes the records of ended calls (the ``Archive`` of calls) and the events of media."""

    def __init__(self, history: Records, hub: Hub, log: Logger) -> None:
        self._history = history
        self._hub = hub
        self._log = log
        self._waiting: dict[str, tuple[CallRecord, asyncio.TimerHandle]] = {}
        self._early: OrderedDict[str, CallStats] = OrderedDict()

    def add(self, record: CallRecord) -> None:
        """Keeps the record of a call that has just ended and sees to its summary."""
        self._finish(record.call_id)  # the same conference, left a moment ago
        self._history.add(record)
        stats = self._early.pop(record.call_id, None)
        if record.started_at is None or stats is not None:
            self._tell(record, stats)
            return
        timer = asyncio.get_running_loop().call_later(WAIT_S, self._finish, record.call_id)
        self._waiting[record.call_id] = (record, timer)

    def add_without_media(self, record: CallRecord) -> None:
        """The same for a call that no media of this process knows."""
        self._history.add(record)
        self._tell(record, None)

    def on_media_event(self, event: m.Event) -> None:
        """To be told after the calls have been."""
        if isinstance(event, m.CallClosed):
            self._closed(event)
        elif isinstance(event, m.MediaLost):
            self.close()

    def close(self) -> None:
        """Tells at once what is still waiting."""
        for call_id in list(self._waiting):
            self._finish(call_id)

    def _closed(self, event: m.CallClosed) -> None:
        stats = self._read(event.stats)
        if event.call_id in self._waiting:
            self._finish(event.call_id, stats)
        elif stats is not None:
            self._early[event.call_id] = stats
            if len(self._early) > EARLY_MAX:
                self._early.popitem(last=False)

    def _read(self, stats: dict[str, Any]) -> CallStats | None:
        """None for nobody's."""
        try:
            read = msgspec.convert(stats, CallStats)
        except msgspec.ValidationError as error:
            self._log.error("measurements of an unknown shape", problem=str(error))
            return None
        return read if read.participants else None

    def _finish(self, call_id: str, stats: CallStats | None = None) -> None:
        waiting = self._waiting.pop(call_id, None)
        if waiting is not None:
            waiting[1].cancel()
            self._tell(waiting[0], stats)

    def _tell(self, record: CallRecord, stats: CallStats | None) -> None:
        if stats is not None:
            record = msgspec.structs.replace(record, stats=stats)
            self._history.measured(record)
        self._hub.emit("aleph:callSummary", CallSummary(call_id=record.call_id, record=record, stats=stats))
