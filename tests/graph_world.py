"""Peers and relays in virtual time: a scheduler, the real machines, and sockets that lose and reorder frames.

Connections carry frames in order, as TCP does, unless a run says otherwise; a cut loses what is under way.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any, Protocol

from sidecar.graph.core import effects
from sidecar.graph.core.peer import Peer
from sidecar.graph.core.router import Deliver, Limits, Router
from sidecar.graph.store import MemoryStore
from tests.graph_machines import NOW_MS, Seeded

LATENCY_S = (0.001, 0.2)


class Relay(Protocol):
    """What a peer's sockets lead to."""

    def opened(self, connection: int) -> None: ...
    def closed(self, connection: int, now: float) -> None: ...
    def received(self, connection: int, text: str, now: float, now_ms: float) -> Any: ...
    def take(self) -> list[Deliver]: ...


def our_relay(seed: int) -> Relay:
    return Router(MemoryStore(), Seeded(seed), Limits())


class World:
    """Relays by URL, peers by number; every peer is on every relay."""

    def __init__(
        self,
        seed: int,
        relays: int,
        peers: int,
        *,
        mangle: float = 0.0,
        relay: Callable[[int], Relay] = our_relay,
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.mangle = mangle
        """Share of frames that are lost or doubled, and of those that overtake others."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.urls = [f"ws://relay{number}/gun" for number in range(relays)]
        self.relays = {url: relay(seed + number) for number, url in enumerate(self.urls)}
        self.peers = [Peer(self.urls, Seeded(seed * 100 + number)) for number in range(peers)]
        self.sockets: dict[tuple[int, str], int] = {}
        """The current connection of a peer to a relay."""
        self.owners: dict[int, tuple[int, str]] = {}
        """Whose each open connection is, those that are being renewed included."""
        self._ids = itertools.count(1)
        self.down: set[str] = set()
        self.leaves: list[list[str]] = [[] for _ in range(peers)]
        self.values: list[dict[tuple[int, str], list[tuple[Any, float]]]] = [{} for _ in range(peers)]
        """What was told of each watch and key, with its states."""
        self.stored: list[list[str]] = [[] for _ in range(peers)]

    @property
    def now_ms(self) -> float:
        return NOW_MS + self.now * 1000

    def at(self, delay: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), call))

    def run(self, until: float) -> None:
        while True:
            deadlines = [peer.next_deadline() for peer in self.peers]
            due = min((deadline for deadline in deadlines if deadline is not None), default=float("inf"))
            event = self._events[0][0] if self._events else float("inf")
            if min(due, event) > until:
                break
            self.now = max(self.now, min(due, event))
            if event <= due:
                heapq.heappop(self._events)[2]()
            for number in range(len(self.peers)):
                self.pump(number)
        self.now = until

    def pump(self, number: int) -> None:
        peer = self.peers[number]
        peer.handle_timer(self.now, self.now_ms)
        for effect in peer.take():
            self._perform(number, effect)

    def _perform(self, number: int, effect: effects.Effect) -> None:
        match effect:
            case effects.Connect(url):
                self.at(self.delay(), lambda: self.connect(number, url))
            case effects.Disconnect(url):
                self.cut(number, url)
            case effects.Renew(url):
                self.at(self.delay(), lambda: self.renew(number, url))
            case effects.Retire(url):
                for socket in [one for one, owner in self.owners.items() if owner == (number, url)]:
                    if socket != self.sockets.get((number, url)):
                        self.hang_up(socket)
            case effects.Ping(url):
                socket = self.sockets.get((number, url))
                self.at(self.delay(), lambda: self.pong(number, url, socket))
            case effects.Send(url, text):
                socket = self.sockets.get((number, url))
                self.carry(socket, lambda: self.to_relay(url, socket or 0, text))
            case effects.LeafFound(_, key, _, _):
                self.leaves[number].append(key)
            case effects.ValueFound(watch, key, value, state):
                self.values[number].setdefault((watch, key), []).append((value, state))
            case effects.Stored(_, key):
                self.stored[number].append(key)

    def delay(self) -> float:
        return self.rng.uniform(*LATENCY_S)

    def carry(self, socket: int | None, deliver: Callable[[], None]) -> None:
        """Over a socket that is open now; after a cut it is gone."""
        copies = 1 if self.rng.random() >= self.mangle else self.rng.choice([0, 2])
        delay = self.delay() if self.rng.random() < self.mangle else 0.05
        for _ in range(copies):
            self.at(delay, lambda: deliver() if socket in self.owners else None)

    def connect(self, number: int, url: str) -> None:
        if url in self.down:
            self.peers[number].closed(url, "refused", self.now)
            return
        self.sockets[number, url] = self._open(number, url)
        self.peers[number].opened(url, self.now)
        self.flush(url)

    def renew(self, number: int, url: str) -> None:
        if url in self.down or (number, url) not in self.sockets:
            self.peers[number].not_renewed(url, self.now)
            return
        self.sockets[number, url] = self._open(number, url)
        self.peers[number].renewed(url, self.now)
        self.flush(url)

    def _open(self, number: int, url: str) -> int:
        socket = next(self._ids)
        self.owners[socket] = (number, url)
        self.relays[url].opened(socket)
        return socket

    def pong(self, number: int, url: str, socket: int | None) -> None:
        if socket is not None and self.sockets.get((number, url)) == socket:
            self.peers[number].ponged(url, self.now)

    def hang_up(self, socket: int) -> None:
        _, url = self.owners.pop(socket)
        self.relays[url].closed(socket, self.now)

    def cut(self, number: int, url: str) -> None:
        socket = self.sockets.pop((number, url), None)
        if socket is not None:
            self.hang_up(socket)
            self.peers[number].closed(url, "cut", self.now)

    def to_relay(self, url: str, socket: int, text: str) -> None:
        self.relays[url].received(socket, text, self.now, self.now_ms)
        self.flush(url)

    def flush(self, url: str) -> None:
        """Carry what a relay has to say."""
        for effect in self.relays[url].take():
            for socket in effect.connections:
                if socket in self.owners:
                    number = self.owners[socket][0]
                    self.carry(socket, lambda n=number, text=effect.text: self._to_peer(n, url, text))

    def _to_peer(self, number: int, url: str, text: str) -> None:
        self.peers[number].received(url, text, self.now, self.now_ms)
