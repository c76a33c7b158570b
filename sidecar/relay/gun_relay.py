"""The Gun relay of a node: ``graph.server`` on its port, with its limits, and its lines in the log."""

from __future__ import annotations

import msgspec

from sidecar.clock import Clock, Random
from sidecar.graph.core.router import Limits
from sidecar.graph.server import DEFAULT_PATH, GraphServer, ServerLimits
from sidecar.graph.store import NodeStore
from sidecar.log import Logger


class GunRelayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a relay process is told."""

    host: str = "0.0.0.0"  # a relay is there for others
    port: int = 8765
    """0: any free port, told when it is bound."""
    path: str = DEFAULT_PATH
    data_dir: str | None = None
    """Folder of the graph; None keeps it in memory."""
    limits: Limits = Limits()
    server_limits: ServerLimits = ServerLimits()


class GunRelay:
    """Runs from ``start`` to ``stop``; the store belongs to the caller."""

    def __init__(
        self, config: GunRelayConfig, store: NodeStore, *, clock: Clock, random: Random, log: Logger
    ) -> None:
        self._config = config
        self._log = log
        self._server = GraphServer(
            store,
            clock=clock,
            random=random,
            log=log,
            limits=config.limits,
            server_limits=config.server_limits,
            path=config.path,
        )

    async def start(self) -> tuple[str, int]:
        """Bind; returns the address. Raises UnavailableError if the port is taken."""
        host, port = await self._server.start(self._config.host, self._config.port)
        self._log.info("relay listens", host=host, port=port)
        return host, port

    async def stop(self) -> None:
        """Acknowledge what is being written, then close every connection."""
        await self._server.stop()
        self._log.info("relay stopped", dropped=self._server.counters)
