"""Peers and relays in virtual time: whatever is lost, doubled, reordered or cut off, every leaf arrives once.

Connections carry frames in order, as TCP does, unless a run says otherwise; a cut loses what is under way.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from sidecar.graph.core import effects
from sidecar.graph.core.peer import Peer
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.store import MemoryStore
from tests.graph_machines import NOW_MS, SOUL, Seeded, item

LATENCY_S = (0.001, 0.2)


class World:
    """A scheduler, relays by URL, peers by name, and the sockets between them."""

    def __init__(self, seed: int, relays: int, peers: int, *, mangle: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.mangle = mangle
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.urls = [f"ws://relay{number}/gun" for number in range(relays)]
        self.routers = {
            url: Router(MemoryStore(), Seeded(seed + n), Limits()) for n, url in enumerate(self.urls)
        }
        self.peers = [Peer(self.urls, Seeded(seed * 100 + number)) for number in range(peers)]
        self.sockets: dict[tuple[int, str], int] = {}
        self._ids = itertools.count(1)
        self.down: set[str] = set()
        self.heard: list[list[str]] = [[] for _ in range(peers)]
        for peer in self.peers:
            peer.watch(SOUL, 0.0)

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
        peer.handle_timer(self.now, NOW_MS + self.now * 1000)
        for effect in peer.take():
            match effect:
                case effects.Connect(url):
                    self.at(self.delay(), lambda url=url: self.connect(number, url))
                case effects.Disconnect(url):
                    self.cut(number, url)
                case effects.Ping(url):
                    socket = self.sockets.get((number, url))
                    self.at(self.delay(), lambda url=url, socket=socket: self.pong(number, url, socket))
                case effects.Send(url, text):
                    self.carry(
                        number, url, lambda socket, url=url, text=text: self.to_relay(url, socket, text)
                    )
                case effects.LeafFound(_, key, _, _):
                    self.heard[number].append(key)

    def delay(self) -> float:
        return self.rng.uniform(*LATENCY_S)

    def carry(self, number: int, url: str, deliver: Callable[[int], None]) -> None:
        """Over the socket that is open now; after a cut it is gone."""
        socket = self.sockets.get((number, url))
        copies = 1 if self.rng.random() >= self.mangle else self.rng.choice([0, 2])
        delay = self.delay() if self.rng.random() < self.mangle else 0.05
        for _ in range(copies):
            self.at(delay, lambda: socket and self.sockets.get((number, url)) == socket and deliver(socket))

    def connect(self, number: int, url: str) -> None:
        if url in self.down:
            self.peers[number].closed(url, "refused", self.now)
            return
        socket = self.sockets[number, url] = next(self._ids)
        self.routers[url].opened(socket)
        self.peers[number].opened(url, self.now)
        self.flush(url)

    def pong(self, number: int, url: str, socket: int | None) -> None:
        if socket is not None and self.sockets.get((number, url)) == socket:
            self.peers[number].ponged(url, self.now)

    def cut(self, number: int, url: str) -> None:
        socket = self.sockets.pop((number, url), None)
        if socket is not None:
            self.routers[url].closed(socket, self.now)
            self.peers[number].closed(url, "cut", self.now)

    def to_relay(self, url: str, socket: int, text: str) -> None:
        self.routers[url].received(socket, text, self.now, NOW_MS + self.now * 1000)
        self.flush(url)

    def flush(self, url: str) -> None:
        owners = {socket: number for (number, at), socket in self.sockets.items() if at == url}
        for effect in self.routers[url].take():
            for socket in effect.connections:
                if socket in owners:
                    number = owners[socket]
                    self.carry(
                        number,
                        url,
                        lambda _, n=number, text=effect.text: self.peers[n].received(
                            url, text, self.now, NOW_MS + self.now * 1000
                        ),
                    )


def write(world: World, number: int, count: int, over_s: float) -> list[str]:
    keys = []
    for leaf in range(count):
        one = item(number * 1_000 + leaf, state=NOW_MS - 2_000)
        keys.append(one.key)
        world.at(world.rng.uniform(0, over_s), lambda one=one: world.peers[number].put(one, world.now))
    return keys


def assert_converged(world: World, written: list[list[str]]) -> None:
    for number, heard in enumerate(world.heard):
        others = {key for writer, keys in enumerate(written) for key in keys if writer != number}
        assert others <= set(heard)
        assert len(heard) == len(set(heard))
    assert all(len(peer._outbox) == 0 for peer in world.peers)


@pytest.mark.parametrize("seed", range(10))
def test_cuts_and_partitions_lose_nothing(seed: int) -> None:
    world = World(seed, relays=1, peers=3)
    written = [write(world, number, 8, 20.0) for number in range(3)]
    for _ in range(15):
        victim = world.rng.randrange(3)
        world.at(world.rng.uniform(0, 20), lambda victim=victim: world.cut(victim, world.urls[0]))
    world.at(5.0, lambda: world.down.add(world.urls[0]))
    world.at(9.0, world.down.clear)
    world.run(80.0)
    assert_converged(world, written)


@pytest.mark.parametrize("seed", range(10))
def test_lost_doubled_and_reordered_frames_are_made_up_for(seed: int) -> None:
    """Readers re-ask only after a reconnect, so each link is cut once at the end."""
    world = World(seed, relays=1, peers=2, mangle=0.2)
    written = [write(world, number, 10, 10.0) for number in range(2)]
    world.run(60.0)
    assert all(len(peer._outbox) == 0 for peer in world.peers)
    world.mangle = 0.0
    for number in range(2):
        world.cut(number, world.urls[0])
    world.run(80.0)
    assert_converged(world, written)


@pytest.mark.parametrize("seed", range(5))
def test_one_relay_of_two_dies_for_good(seed: int) -> None:
    world = World(seed, relays=2, peers=2)
    written = [write(world, number, 10, 10.0) for number in range(2)]

    def die() -> None:
        world.down.add(world.urls[0])
        for number in range(2):
            world.cut(number, world.urls[0])

    world.at(4.0, die)
    world.run(170.0)  # past the time leaves wait for the relay that never comes back
    assert_converged(world, written)


def test_a_silent_relay_is_replaced_and_nothing_is_lost() -> None:
    world = World(1, relays=1, peers=2)
    world.run(1.0)
    world.mangle = 1.0
    world.rng.choice = lambda options: options[0]  # every frame is lost
    written = [write(world, number, 5, 1.0) for number in range(2)]
    world.run(5.0)
    assert world.heard == [[], []]
    world.mangle = 0.0
    world.run(90.0)
    assert_converged(world, written)
