"""The Gun relay of a node: ``graph.server`` on its port with certificate, card, peers and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sidecar.clock import Clock, Random
from sidecar.errors import SidecarError
from sidecar.graph import transport
from sidecar.graph.admission import LOOPBACK, ServerLimits
from sidecar.graph.core.router import Limits
from sidecar.graph.server import DEFAULT_PATH, GraphServer
from sidecar.graph.store import NodeStore
from sidecar.log import Logger
from sidecar.relay import cards
from sidecar.relay.admin import AdminListener
from sidecar.trust.identity import Identity

if TYPE_CHECKING:
    from sidecar.relay.certificate import Certificate
    from sidecar.relay.metrics import RelayMetrics

DATABASE = "gun.db"
WILDCARDS = ("0.0.0.0", "::")


class GunRelayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a relay process is told."""

    host: str = "0.0.0.0"  # a relay is there for others
    port: int = 8765
    """0: any free port, told when it is bound."""
    path: str = DEFAULT_PATH
    data_dir: str | None = None
    """Folder of the graph; None keeps it in memory."""
    peers: tuple[str, ...] = ()
    """Relays to connect to."""
    ca_file: str | None = None
    """Authorities that may vouch for them, beside the system's."""
    cert_file: str | None = None
    key_file: str | None = None
    admin_port: int | None = None
    cache_bytes: int = 32_000_000
    trusted_addresses: tuple[str, ...] = LOOPBACK
    limits: Limits = Limits()
    server_limits: ServerLimits = ServerLimits()


class Served(NamedTuple):
    """Where a relay is found."""

    host: str
    port: int
    gun: str
    """As a peer list names it."""
    card: str | None
    admin: str | None


class GunRelay:
    """Runs from ``start`` to ``stop``; the store belongs to the caller. Without an identity it has no card.

    Raises LocalError for a certificate, an authority or a peer that cannot be used, UnavailableError for a
    file that cannot be read.
    """

    def __init__(
        self,
        config: GunRelayConfig,
        store: NodeStore,
        *,
        identity: Identity | None,
        clock: Clock,
        random: Random,
        log: Logger,
    ) -> None:
        self._config = config
        self._clock = clock
        self._log = log
        self._identity = identity
        self._desk: cards.CardDesk | None = None
        self._certificate = _certificate(config, clock)
        self._metrics = None if config.admin_port is None else _metrics(config, store, clock)
        self._server = GraphServer(
            store if self._metrics is None else self._metrics.store,
            clock=clock,
            random=random,
            log=log,
            limits=config.limits,
            server_limits=config.server_limits,
            path=config.path,
            peers=config.peers,
            peer_tls=None if config.ca_file is None else transport.trust(config.ca_file),
            tls=None if self._certificate is None else self._certificate.context,
            trusted_addresses=config.trusted_addresses,
            documents={} if identity is None else {cards.PATH: self._card},
        )
        self._admin: AdminListener | None = None
        if self._metrics is not None:
            self._metrics.watch(self._server)
            self._admin = AdminListener(self._metrics.text, self._metrics.content_type)

    async def start(self) -> Served:
        """Bind; says where. Raises UnavailableError if a port is taken."""
        host, port = await self._server.start(self._config.host, self._config.port)
        base = f"http{'s' if self._certificate else ''}://{f'[{host}]' if ':' in host else host}:{port}"
        gun = base + self._config.path
        if self._identity is not None:
            self._desk = cards.CardDesk(
                self._identity,
                gun=None if host in WILDCARDS else gun,
                certificate_pin=self._certificate.pin if self._certificate else None,
            )
        admin = None
        if self._admin is not None:
            admin = await self._admin.start(self._config.admin_port or 0)
        self._log.info("relay listens", host=host, port=port, tls=self._certificate is not None)
        return Served(host, port, gun, base + cards.PATH if self._desk else None, admin)

    async def stop(self) -> None:
        """Acknowledge what is being written, then close every connection."""
        await self._server.stop()
        if self._admin is not None:
            await self._admin.stop()
        self._log.info("relay stopped", dropped=self._server.counters)

    def reload_certificate(self) -> None:
        """Read the certificate again: it was renewed. One that cannot be used is told and not taken."""
        if self._certificate is None:
            return
        try:
            self._certificate.load()
        except SidecarError as error:
            self._log.error("certificate not taken", code=error.code.value, problem=error.message)
            return
        if self._desk is not None:
            self._desk.replace_pin(self._certificate.pin)
        self._log.info("certificate taken")

    def _card(self) -> str:
        assert self._desk is not None  # nobody is connected before it is there
        return self._desk.text(self._clock.wall_ms())


def _certificate(config: GunRelayConfig, clock: Clock) -> Certificate | None:
    if config.cert_file is None or config.key_file is None:
        return None
    from sidecar.relay.certificate import Certificate  # X.509 is 40 ms of a start that mostly needs none

    return Certificate(config.cert_file, config.key_file, clock.wall_ms)


def _metrics(config: GunRelayConfig, store: NodeStore, clock: Clock) -> RelayMetrics:
    from sidecar.relay.metrics import RelayMetrics  # Prometheus' library is 40 ms

    database = None if config.data_dir is None else Path(config.data_dir, DATABASE)
    return RelayMetrics(store, clock.monotonic, database)
