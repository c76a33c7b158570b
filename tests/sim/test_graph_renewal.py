"""A month at a gun.js relay, which forgets a subscription only with its connection and pid (DESIGN D3)."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest

from sidecar.graph.core import link, wire
from sidecar.graph.core.delivery import Deliver
from sidecar.signaling import layout
from tests.graph_machines import item
from tests.graph_world import World

DAYS = 30
HOUR_S = 3_600.0
DAY_S = 24 * HOUR_S
CONTACTS = [bytes([number]) * 32 for number in range(10)]
US = "0123456789abcdef"


class GunJs:
    """As much of gun.js as matters: a get subscribes connection and pid, ``off`` means nothing to it."""

    def __init__(self, seed: int) -> None:
        self._pids: dict[int, str] = {}
        self._asked: dict[int, set[str]] = {}
        self._routes: dict[str, set[str]] = defaultdict(set)
        """What each pid asked for; gone with its last connection."""
        self._cells: dict[str, dict[str, tuple[Any, float]]] = defaultdict(dict)
        self._said: list[Deliver] = []
        self._ids = 0
        self.connections_made = 0

    @property
    def subscriptions(self) -> int:
        return sum(map(len, self._asked.values())) + sum(map(len, self._routes.values()))

    def _id(self) -> str:
        self._ids += 1
        return f"r{self._ids}"

    def opened(self, connection: int) -> None:
        self.connections_made += 1
        self._asked[connection] = set()
        self._said.append(Deliver((connection,), wire.write_hello(self._id(), "relay")))

    def closed(self, connection: int, now: float) -> None:
        del self._asked[connection]
        pid = self._pids.pop(connection, None)
        if pid not in self._pids.values():
            self._routes.pop(pid or "", None)

    def received(self, connection: int, text: str, now: float, now_ms: float) -> None:
        message = wire.read_message(json.loads(text))
        if message.dam == "?" and message.pid:
            self._pids[connection] = message.pid
            self._routes[message.pid] |= self._asked[connection]
        elif message.get is not None:
            self._answer(connection, message.id, message.get)

    def _answer(self, connection: int, message_id: str, get: wire.Get) -> None:
        self._asked[connection].add(get.soul)
        if connection in self._pids:
            self._routes[self._pids[connection]].add(get.soul)
        cells = self._cells.get(get.soul)
        text = (
            wire.write_put(self._id(), {get.soul: cells}, at=message_id)
            if cells
            else wire.write_not_found(self._id(), message_id)
        )
        self._said.append(Deliver((connection,), text))

    def put(self, soul: str, key: str, value: str, state: float) -> None:
        """Somebody's leaf; every connection that asked for its soul hears of it."""
        self._cells[soul][key] = (value, state)
        to = tuple(connection for connection, souls in self._asked.items() if soul in souls)
        self._said.append(Deliver(to, wire.write_put(self._id(), {soul: {key: (value, state)}})))

    def take(self) -> list[Deliver]:
        said, self._said = self._said, []
        return said


class Node:
    """Peer 0 of a world listens as the sidecar does: the stranger inbox of the hour, contacts' of the day."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._watches: dict[str, int] = {}
        self.refresh()

    def refresh(self) -> None:
        peer, now_ms = self._world.peers[0], int(self._world.now_ms)
        wanted = set(layout.stranger_souls(US, now_ms))
        for shared in CONTACTS:
            wanted |= set(layout.pairwise_souls(shared, US, now_ms))
        for soul in sorted(self._watches.keys() - wanted):
            peer.stop_watching(self._watches.pop(soul))
        for soul in sorted(wanted - self._watches.keys()):
            self._watches[soul] = peer.watch(soul, self._world.now)
        delay_ms = layout.next_change_ms(now_ms) - now_ms
        self._world.at(delay_ms / 1000 + 0.01, self.refresh)


def plant(world: World, relay: GunJs, number: int) -> str:
    """A leaf of a stranger or a contact, put at some moment of an hour."""
    one = item(number)

    def put() -> None:
        now_ms = int(world.now_ms)
        shared = world.rng.choice(CONTACTS)
        soul = world.rng.choice([layout.stranger_soul(US, now_ms), layout.pairwise_soul(shared, US, now_ms)])
        relay.put(soul, one.key, one.value, now_ms)
        world.flush(world.urls[0])

    world.at(number * HOUR_S / 4 + world.rng.uniform(1.0, HOUR_S / 4), put)
    return one.key


@pytest.fixture(autouse=True)
def _few_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A month of pings is long, and they are not the matter here."""
    monkeypatch.setattr(link, "PING_EVERY_S", HOUR_S)
    monkeypatch.setattr(link, "CLOSE_PING_EVERY_S", HOUR_S)


def live(seed: int, *, calls: bool = False) -> tuple[GunJs, World, list[int], list[str]]:
    relay = GunJs(seed)
    world = World(seed, relays=1, peers=1, relay=lambda _: relay)
    world.run(0.5)
    Node(world)
    keys = [plant(world, relay, number) for number in range(DAYS * 24 * 4 - 4)]
    peaks = []
    for day in range(DAYS):
        if calls:  # one that lasts through midnight, now and then
            world.peers[0].keep_close(day % 3 == 0, world.now)
        hours = [relay.subscriptions]
        for hour in range(1, 25):
            world.run(day * DAY_S + hour * HOUR_S)
            hours.append(relay.subscriptions)
        peaks.append(max(hours))
    return relay, world, peaks, keys


@pytest.mark.parametrize("calls", [False, True], ids=["idle", "with calls"])
def test_a_month_keeps_subscriptions_flat_and_every_leaf_once(calls: bool) -> None:
    relay, world, peaks, keys = live(7, calls=calls)
    per_day = 24 + 1 + 2 * len(CONTACTS)
    longest_days = 3 if calls else 2  # a connection may begin before midnight, and outlive a day of calls
    assert max(peaks) <= 2 * longest_days * per_day  # once for the connection, once for its pid
    assert max(peaks[-10:]) <= max(peaks[:10]) * 1.2
    assert sorted(world.leaves[0]) == sorted(keys)
    assert relay.connections_made >= (DAYS * 0.6 if calls else DAYS)
    assert len(world.owners) <= 2
    assert len(world.peers[0]._outbox) == 0


def test_without_renewal_the_month_would_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated relay does what gun.js does, or the test above would prove nothing."""
    monkeypatch.setattr("sidecar.graph.core.renewal.RENEW_EVERY_S", float("inf"))
    _, _, peaks, _ = live(7)
    assert peaks[-1] > 10 * peaks[0]
