"""The node's place in the graph: one client, built from the configuration, observed for health."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from sidecar import log
from sidecar.app.system_clock import SystemClock, SystemRandom
from sidecar.graph import transport
from sidecar.graph.client import GraphClient, RelayState
from sidecar.graph.core.leaves import expires_ms
from sidecar.storage.sqlite import SqliteStore

DATABASE = "graph.db"


class GraphService:
    """Owns the client and its store: the outbox survives the process. Imported after the ready line."""

    def __init__(
        self,
        peers: Sequence[str],
        data_dir: Path,
        clock: SystemClock,
        ca_file: str | None = None,
        on_slept: Callable[[float], None] | None = None,
    ) -> None:
        """``on_slept`` is told for how many seconds this machine slept or this process stood still.

        Raises UnavailableError if a file or the folder cannot be used, LocalError for a URL that is none.

        From now on ``clock.network_ms`` follows the relays. Needs a running event loop.
        """
        tls = None if ca_file is None else transport.trust(ca_file)
        call_soon = asyncio.get_running_loop().call_soon_threadsafe
        path = data_dir / DATABASE
        self._store = SqliteStore(path, expires_ms=expires_ms, call_soon=call_soon, durable=True)
        try:
            self.client = GraphClient(
                peers,
                clock=clock,
                random=SystemRandom(),
                store=self._store,
                log=log.get("graph"),
                tls=tls,
                on_slept=on_slept,
            )
        except BaseException:
            self._store.close()
            raise
        clock.follow(self.client.network_offset_ms)

    async def start(self) -> None:
        """Begin connecting; a relay that cannot be reached is tried until it can."""
        await self.client.start()

    async def stop(self) -> None:
        """Close the connections; what no relay acknowledged stays in the store."""
        await self.client.stop()
        self._store.close()

    @property
    def relays(self) -> list[RelayState]:
        """For ``system:health``."""
        return self.client.relays
