"""Peers and relays in virtual time: whatever is lost, doubled, reordered or cut off, every leaf arrives once
and everybody ends with the newest value."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from sidecar.graph.core import sea, wire
from sidecar.graph.core.delivery import Deliver
from sidecar.graph.core.effects import Item
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.store import MemoryStore
from tests.graph_machines import NOW_MS, SOUL, Seeded, item
from tests.graph_world import World, our_relay

OWNERS = [sea.make_pair(Seeded(seed)) for seed in range(3)]
SOULS = [f"~{pair['pub']}/lease" for pair in OWNERS]


def write(world: World, number: int, count: int, over_s: float) -> list[str]:
    """Put leaves at random times; returns their keys."""
    keys = []
    for leaf in range(count):
        one = item(number * 1_000 + leaf, state=NOW_MS - 2_000)
        keys.append(one.key)
        world.at(world.rng.uniform(0, over_s), lambda one=one: world.peers[number].put(one, world.now))
    return keys


def watch_leaves(world: World) -> None:
    for peer in world.peers:
        peer.watch(SOUL, 0.0)


def assert_converged(world: World, written: list[list[str]]) -> None:
    for number, heard in enumerate(world.leaves):
        others = {key for writer, keys in enumerate(written) for key in keys if writer != number}
        assert others <= set(heard)
        assert len(heard) == len(set(heard))
    assert all(len(peer._outbox) == 0 for peer in world.peers)


class Registers:
    """Signed souls, each written by one owner on two devices; the newest value of each key is remembered."""

    def __init__(self, world: World, owners: int) -> None:
        self._world = world
        self._state = itertools.count(int(NOW_MS) - 100_000)
        self._newest: dict[tuple[str, str], Any] = {}
        self._watches = [
            {peer.watch(soul, 0.0): soul for soul in SOULS[:owners]} for peer in world.peers
        ]  # fmt: skip
        self._souls = dict(zip(SOULS, OWNERS, strict=True))

    def write(self, soul: str, count: int, over_s: float) -> None:
        """Values made at random times on a random device; a later one has a newer state."""
        for value in range(count):
            self._world.at(
                self._world.rng.uniform(0, over_s), lambda value=value: self._put(soul, f"{value % 2}", value)
            )

    def _put(self, soul: str, key: str, value: Any) -> None:
        state = next(self._state)
        self._newest[soul, key] = value
        text = sea.sign_value(soul, key, value, state, self._souls[soul])
        self._world.rng.choice(self._world.peers).put(Item(soul, key, text, state, 9e15), self._world.now)

    def assert_converged(self) -> None:
        for watches, told in zip(self._watches, self._world.values, strict=True):
            last = {(watches[number], key): values[-1][0] for (number, key), values in told.items()}
            assert last == self._newest
            for values in told.values():
                states = [state for _, state in values]
                assert states == sorted(set(states)), "an older value came after a newer one"
        assert all(len(peer._outbox) == 0 for peer in self._world.peers)


def cut_often(world: World, times: int, over_s: float) -> None:
    for _ in range(times):
        number, url = world.rng.randrange(len(world.peers)), world.rng.choice(world.urls)
        world.at(world.rng.uniform(0, over_s), lambda number=number, url=url: world.cut(number, url))


def settle(world: World, until: float) -> None:
    """Readers ask again only after a reconnect, so each link is cut once when frames are lost no more."""
    world.mangle = 0.0
    for number, url in itertools.product(range(len(world.peers)), world.urls):
        world.cut(number, url)
    world.run(until)


@pytest.mark.parametrize("seed", range(40))
def test_cuts_and_partitions_lose_no_leaf(seed: int) -> None:
    world = World(seed, relays=1, peers=3)
    watch_leaves(world)
    written = [write(world, number, 6, 20.0) for number in range(3)]
    cut_often(world, 15, 20.0)
    world.at(5.0, lambda: world.down.add(world.urls[0]))
    world.at(9.0, world.down.clear)
    world.run(80.0)
    assert_converged(world, written)


@pytest.mark.parametrize("seed", range(40))
def test_lost_doubled_and_reordered_frames_are_made_up_for(seed: int) -> None:
    world = World(seed, relays=1, peers=2, mangle=0.2)
    watch_leaves(world)
    written = [write(world, number, 8, 10.0) for number in range(2)]
    world.run(60.0)
    assert all(len(peer._outbox) == 0 for peer in world.peers)
    settle(world, 80.0)
    assert_converged(world, written)


@pytest.mark.parametrize("seed", range(120))
def test_everybody_ends_with_the_newest_values(seed: int) -> None:
    world = World(seed, relays=1, peers=2, mangle=0.2)
    registers = Registers(world, owners=2)
    for soul in SOULS[:2]:
        registers.write(soul, 6, 10.0)
    cut_often(world, 6, 10.0)
    world.run(60.0)
    settle(world, 70.0)
    registers.assert_converged()


@pytest.mark.parametrize("seed", range(60))
def test_values_pass_partitions_of_two_relays(seed: int) -> None:
    """One relay is away, then the other: what is put meanwhile reaches both afterwards."""
    world = World(seed, relays=2, peers=2, mangle=0.1)
    registers = Registers(world, owners=2)
    for soul in SOULS[:2]:
        registers.write(soul, 6, 20.0)
    for url, begin in zip(world.urls, (3.0, 12.0), strict=True):
        world.at(begin, lambda url=url: part(world, url))
        world.at(begin + 6.0, lambda url=url: world.down.discard(url))
    world.run(90.0)
    settle(world, 110.0)
    registers.assert_converged()


def part(world: World, url: str) -> None:
    world.down.add(url)
    for number in range(len(world.peers)):
        world.cut(number, url)


@pytest.mark.parametrize("seed", range(5))
def test_one_relay_of_two_dies_for_good(seed: int) -> None:
    world = World(seed, relays=2, peers=2)
    watch_leaves(world)
    written = [write(world, number, 10, 10.0) for number in range(2)]
    world.at(4.0, lambda: part(world, world.urls[0]))
    world.run(170.0)  # past the time leaves wait for the relay that never comes back
    assert_converged(world, written)


def test_a_silent_relay_is_replaced_and_nothing_is_lost() -> None:
    world = World(1, relays=1, peers=2)
    watch_leaves(world)
    world.run(1.0)
    world.mangle = 1.0
    world.rng.choice = lambda options: options[0]  # every frame is lost
    written = [write(world, number, 5, 1.0) for number in range(2)]
    world.run(5.0)
    assert world.leaves == [[], []]
    world.mangle = 0.0
    world.run(90.0)
    assert_converged(world, written)


class Liar(Router):
    """A relay that acknowledges every put and keeps none of them."""

    def __init__(self, seed: int) -> None:
        super().__init__(MemoryStore(), Seeded(seed), Limits())
        self._lies: list[Deliver] = []

    def received(self, connection: int, text: str | bytes, now: float, now_ms: float) -> int:
        for raw in wire.read_frame(text):
            if "put" in raw:
                self._lies.append(Deliver((connection,), wire.write_ack(raw["#"] + "a", raw["#"])))
        return 1

    def take(self) -> list[Deliver]:
        lies, self._lies = self._lies, []
        return lies


class Mute(Liar):
    """A relay that takes everything and never says a word."""

    def take(self) -> list[Deliver]:
        return []


@pytest.mark.parametrize("kind", [Liar, Mute])
@pytest.mark.parametrize("seed", range(5))
def test_S15_a_relay_that_loses_what_it_takes_or_never_answers_costs_nothing(
    seed: int, kind: type[Liar]
) -> None:
    """The other relay is used, and a put is done as soon as one of them has it."""
    made = itertools.count()
    world = World(
        seed, relays=2, peers=2, relay=lambda seed: kind(seed) if next(made) == 0 else our_relay(seed)
    )
    watch_leaves(world)
    written = [write(world, number, 5, 10.0) for number in range(2)]
    world.run(30.0)
    for number, keys in enumerate(written):
        assert sorted(world.stored[number]) == sorted(keys)
        assert set(written[1 - number]) <= set(world.leaves[number])
    world.run(200.0)
    assert_converged(world, written)
