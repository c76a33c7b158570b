"""What can be made to go wrong in a simulation, by name: for the network as a whole, or at drawn moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from random import Random

from sidecar.calls import events as ce

from .accounts import Account
from .network import Preset
from .nodes import Node
from .users import Users
from .world import World

FLOOD_PER_S = 5.0
FLOOD_S = 20.0


def _loss(preset: Preset) -> Preset:
    return replace(preset, loss=max(preset.loss, 0.15))


def _duplicate(preset: Preset) -> Preset:
    return replace(preset, double=max(preset.double, 0.5))


def _reorder(preset: Preset) -> Preset:
    return replace(preset, graph_s=(preset.graph_s[0], preset.graph_s[1] + 4.0))


def _slowgraph(preset: Preset) -> Preset:
    return replace(preset, graph_s=(preset.graph_s[0] + 1.0, preset.graph_s[1] * 3 + 2.0))


def _no_connection(preset: Preset) -> Preset:
    return replace(preset, connects=min(preset.connects, 0.6))


def _partition(preset: Preset) -> Preset:
    return replace(preset, partition_every_s=preset.partition_every_s or 45.0)


WEATHER: Mapping[str, Callable[[Preset], Preset]] = {
    "loss": _loss,
    "duplicate": _duplicate,
    "reorder": _reorder,
    "slowgraph": _slowgraph,
    "noconnect": _no_connection,
    "partition": _partition,
}
"""Faults of the network."""


def _crash(world: World, random: Random, node: Node) -> None:
    if node.dead:
        return
    node.crash()


def _restart(world: World, random: Random, node: Node) -> None:
    """kill -9, and back after a while."""
    if node.dead:
        return
    node.crash()
    world.at(world.now_s + random.choice((0.5, 3.0, 20.0)), partial(world.restart, node.name))


def _suspend(world: World, random: Random, node: Node) -> None:
    node.freeze(random.choice((1.0, 4.0, 12.0, 50.0)))


def _deadpath(world: World, random: Random, node: Node) -> None:
    world.shared.note(f"{node.name} loses its paths")
    world.shared.media.cut(node.name, random.choice((2.0, 8.0, 40.0)))


def _replay(world: World, random: Random, node: Node) -> None:
    """The graph tells everything once more (S01)."""
    if not node.dead:
        world.shared.note(f"{node.name} is told everything again")
        world.shared.graph.replay(node.name)


def _medialost(world: World, random: Random, node: Node) -> None:
    if node.runs:
        world.shared.note(f"{node.name} loses its media process")
        world.shared.media.lose(node.name)
        node.hear(ce.MediaLost())


MISHAPS: Mapping[str, tuple[float, Callable[[World, Random, Node], None]]] = {
    "crash": (120.0, _crash),
    "restart": (60.0, _restart),
    "suspend": (60.0, _suspend),
    "deadpath": (40.0, _deadpath),
    "replay": (30.0, _replay),
    "medialost": (80.0, _medialost),
}
"""What happens to one node at a time: mean seconds between two of them, and what it is."""

SKEW, FLOOD = "skew", "stranger-flood"
"""Wrong clocks, and a stranger who calls everybody all the time."""
FAULTS = (*WEATHER, *MISHAPS, SKEW, FLOOD)


def hurt(preset: Preset, faults: tuple[str, ...]) -> Preset:
    """The network with these faults."""
    for name in faults:
        if name in WEATHER:
            preset = WEATHER[name](preset)
    return preset


def plan(world: World, users: Users, seed: int, seconds: float, faults: tuple[str, ...]) -> None:
    """Draws when each mishap comes, and plans it."""
    for name in faults:
        random = Random(f"fault {name} {seed}")
        if name in MISHAPS:
            mean_s, mishap = MISHAPS[name]
            at = random.expovariate(1 / mean_s)
            while at < seconds:
                node = random.choice(list(world.nodes.values()))
                world.at(at, partial(mishap, world, random, node))
                at += random.expovariate(1 / mean_s)
        elif name == FLOOD:
            _plan_flood(world, users, random, seconds)
    _plan_partitions(world, Random(f"partitions {seed}"), seconds)


def _plan_flood(world: World, users: Users, random: Random, seconds: float) -> None:
    """The last user calls everybody and gives up at once, again and again."""
    stranger = list(world.nodes.values())[-1]
    victims = [user for user in world.shared.users.values() if user is not stranger.owner.account]
    at = random.uniform(0.0, max(0.0, seconds - FLOOD_S))
    for _ in range(round(FLOOD_S * FLOOD_PER_S)):
        at += 1 / FLOOD_PER_S
        world.at(at, partial(_pester, users, stranger, random.choice(victims)))


def _pester(users: Users, stranger: Node, victim: Account) -> None:
    if stranger.runs:
        for session in stranger.exchange.active():
            stranger.tell(ce.End(call_id=session.id))
        users.call(stranger, victim)


def _plan_partitions(world: World, random: Random, seconds: float) -> None:
    every_s = world.shared.dice.preset.partition_every_s
    names = list(world.nodes)
    at = every_s / 2 if every_s else seconds
    while at < seconds:
        half = frozenset(name for name in names if random.random() < 0.5)
        world.at(at, partial(_divide, world, half))
        world.at(at + random.choice((5.0, 15.0, 60.0)), partial(_divide, world, frozenset()))
        at += every_s


def _divide(world: World, half: frozenset[str]) -> None:
    world.shared.note(f"the graph falls apart: {sorted(half)}" if half else "the graph is whole again")
    world.shared.graph.divide(half)
