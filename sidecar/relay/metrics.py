"""What a relay tells Prometheus: sums only, no label that stands for a user, a soul or an address.

Loaded where an admin listener is asked for: the library takes 40 ms to load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sidecar.graph.server import GraphServer
from sidecar.graph.store import Cells, NodeStore, OnDone

_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_PREFIX = "aleph_relay_"


class TimedStore:
    """A relay's store that tells how long each write took to be committed, and how many wait."""

    def __init__(
        self, store: NodeStore, observe_s: Callable[[float], None], monotonic: Callable[[], float]
    ) -> None:
        self.pending = 0
        self._store = store
        self._observe_s = observe_s
        self._monotonic = monotonic
        self.read = store.read
        self.read_cell = store.read_cell
        self.size = store.size
        self.expire = store.expire
        self.deferred = store.deferred
        self.defer = store.defer
        self.undefer = store.undefer
        self.followers = store.followers
        self.follows = store.follows
        self.keep_follows = store.keep_follows
        self.drop_follows = store.drop_follows

    def write(self, changes: Mapping[str, Cells], on_done: OnDone) -> None:
        self.pending += 1
        self._store.write(changes, partial(self._written, self._monotonic(), on_done))

    def _written(self, since: float, on_done: OnDone, stored: bool) -> None:
        self.pending -= 1
        self._observe_s(self._monotonic() - since)
        on_done(stored)


class RelayMetrics(Collector):
    """Asks the relay when it is asked itself; only the latency of writes is measured all the time."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, store: NodeStore, monotonic: Callable[[], float], database: Path | None) -> None:
        self._registry = CollectorRegistry()
        latency = Histogram(
            f"{_PREFIX}put_commit_seconds",
            "From a put's arrival to its commit.",
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self.store = TimedStore(store, latency.observe, monotonic)
        self._database = database
        self._server: GraphServer | None = None

    def watch(self, server: GraphServer) -> None:
        """From now on ``text`` speaks of this relay."""
        self._server = server
        self._registry.register(self)

    def text(self) -> str:
        """Prometheus' text format."""
        return generate_latest(self._registry).decode()

    def collect(self) -> Iterator[Metric]:
        server = self._server
        if server is None:
            return
        yield _gauge("connections", "WebSockets of clients.", server.connections)
        yield _gauge("subscriptions", "Souls and keys followed, once for each client.", server.subscriptions)
        yield _gauge("writes_queued", "Writes that are not committed yet.", self.store.pending)
        yield _gauge("store_bytes", "What the graph takes on disk.", _size(self._database))
        messages = CounterMetricFamily(f"{_PREFIX}messages", "Messages taken, by kind.", labels=["kind"])
        for kind, count in server.handled.items():
            messages.add_metric([kind], count)
        yield messages
        yield _counter("frames_sent", "Frames to clients and peers.", server.frames_out)
        dropped = CounterMetricFamily(f"{_PREFIX}dropped", "Refused, by reason.", labels=["reason"])
        for reason, count in server.counters.items():
            dropped.add_metric([reason], count)
        yield dropped
        peers = GaugeMetricFamily(f"{_PREFIX}peer_up", "Relays that this one connects to.", labels=["peer"])
        for url, up in server.peers:
            peers.add_metric([url], up)
        yield peers


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(_PREFIX + name, text, value=value)


def _size(database: Path | None) -> int:
    """Of a SQLite file and its log."""
    if database is None:
        return 0
    files = (database, database.with_name(f"{database.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
