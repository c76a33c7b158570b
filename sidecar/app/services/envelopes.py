"""Opened envelopes of the last calls on disk, sent and received: what ``explain`` tells a call from (D3).

They hold what the two ends said to each other, addresses included: they stay in the data directory, which
only its owner can read, and nothing of them is logged.
"""

from __future__ import annotations

from sidecar.clock import Clock
from sidecar.log import Logger
from sidecar.storage.database import Database, Statement

CALLS_MAX = 200
AGE_MAX_MS = 30 * 24 * 3_600_000
BYTES_MAX = 64 * 1024 * 1024
"""Of all envelopes together: 200 calls of 40 signals of 8 KiB."""
PER_CALL_MAX = 1_000
"""Envelopes of one call: a conference of eight says about 60."""
TRIM_EVERY = 200
"""Envelopes written between two looks at the bounds, which take the writer some 40 ms when all are full."""

_PUT = "INSERT INTO envelopes (call_id, at_ms, sent, envelope) VALUES (?, ?, ?, ?)"
_TRIM_AGE = "DELETE FROM envelopes WHERE at_ms < ?"
# Calls in which we said something go last: strangers who knock cannot push out what we took part in.
_TRIM_CALLS = (
    "DELETE FROM envelopes WHERE call_id IN (SELECT call_id FROM envelopes GROUP BY call_id "
    "ORDER BY MAX(sent) DESC, MAX(number) DESC LIMIT -1 OFFSET ?)"
)
_TRIM_BYTES = (
    "DELETE FROM envelopes WHERE number <= (SELECT number FROM (SELECT number, SUM(LENGTH(envelope)) "
    "OVER (ORDER BY number DESC) AS total FROM envelopes) WHERE total > ? ORDER BY number DESC LIMIT 1)"
)
_TRIM_ONE = (
    "DELETE FROM envelopes WHERE number IN (SELECT number FROM (SELECT number, ROW_NUMBER() "
    "OVER (PARTITION BY call_id ORDER BY number) AS place FROM envelopes) WHERE place > ?)"
)


class Envelopes:
    """``keep`` is told of every envelope that was sent, or passed all checks of the inbox."""

    def __init__(self, database: Database, clock: Clock, log: Logger) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._until_trim = 1

    def keep(self, call_id: str, envelope: str, sent: bool) -> None:
        """Writes one envelope, and now and then forgets what is over the bounds."""
        now_ms = self._clock.network_ms()
        statements: list[Statement] = [(_PUT, [(call_id, now_ms, int(sent), envelope.encode())])]
        self._until_trim -= 1
        if self._until_trim <= 0:
            self._until_trim = TRIM_EVERY
            statements += [
                (_TRIM_AGE, [(now_ms - AGE_MAX_MS,)]),
                (_TRIM_ONE, [(PER_CALL_MAX,)]),
                (_TRIM_CALLS, [(CALLS_MAX,)]),
                (_TRIM_BYTES, [(BYTES_MAX,)]),
            ]
        self._database.submit(statements, self._written)

    def _written(self, stored: bool) -> None:
        if not stored:
            self._log.warning("an envelope could not be kept")
