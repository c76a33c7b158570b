"""What remains of calls: records, summaries, notes for the next process, envelopes; all in one file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sidecar import log
from sidecar.app.services.call_effects import Hub, Signaling
from sidecar.app.services.call_store import open_store
from sidecar.app.services.envelopes import Envelopes
from sidecar.app.services.errands import Errands
from sidecar.app.services.history import History
from sidecar.app.services.journal import Journal
from sidecar.app.services.recovery import close_stale
from sidecar.app.services.summary import Summaries
from sidecar.clock import Clock


class Remains:
    """Raises UnavailableError if the file cannot be opened. Needs a running event loop."""

    def __init__(self, data_dir: Path, hub: Hub, clock: Clock) -> None:
        logger = log.get("history")
        self._log = logger
        self._database = open_store(data_dir, asyncio.get_running_loop().call_soon_threadsafe)
        self.history = History(self._database, logger)
        self.journal = Journal(self._database, clock, logger)
        self.summaries = Summaries(self.history, hub, logger)
        self.envelopes = Envelopes(self._database, clock, logger)
        self._errands = Errands(logger)

    def recover(self, signaling: Signaling) -> None:
        """Closes what the process before has left open; peers are told in the background."""
        self._errands.run(close_stale(self.journal.stale, self.summaries, signaling, self._log))

    async def stop(self) -> None:
        """Writes what is queued and closes the file."""
        await self._errands.stop()
        self.summaries.close()
        self.journal.close()
        self._database.close()
