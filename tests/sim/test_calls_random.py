"""Many random calls in virtual time: slow, lossy, doubling graph, users with whims, nodes that die."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from sidecar.calls import events as e
from sidecar.calls.states import State
from sidecar.schema import EndReason
from sidecar.signaling.messages import Signal
from tests.calls_lab import T0
from tests.calls_world import NODES, World

SEEDS = 500
HORIZON_S = 300.0


@dataclass(frozen=True)
class Weather:
    """How the graph behaves in one run."""

    delay_s: tuple[float, float]
    loss: float
    double: float


WEATHERS = [Weather((0.005, 0.05), 0.0, 0.0), Weather((0.05, 3.0), 0.0, 0.2), Weather((0.01, 20.0), 0.1, 0.1)]


@dataclass
class Simulation:
    """A world whose messages take random times. The same seed gives the same log, byte for byte."""

    seed: int
    world: World = field(init=False)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.weather = self.dice.choice(WEATHERS)
        relation = e.Relation.STRANGER if self.dice.random() < 0.2 else e.Relation.CONTACT
        self.world = World(relation=relation)
        self.queue: list[tuple[float, int, tuple[str, str | Signal]]] = []
        self.count = 0

    def at(self, when: float, what: tuple[str, str | Signal]) -> None:
        self.count += 1
        heapq.heappush(self.queue, (when, self.count, what))

    def run(self) -> World:
        self._whims()
        while True:
            tick = self.world.next_tick()
            due = self.queue[0][0] if self.queue else None
            if due is None and tick is None:
                break
            if due is None or (tick is not None and tick <= due):
                self.world.tick()
                self.log.append(f"{self.world.now:.3f} tick")
            else:
                self._next()
            self.world.check()
            self._send()
            assert self.world.now < T0 + 2 * HORIZON_S, "time runs away"
        return self.world

    def _whims(self) -> None:
        """What the users will do, and when; some of it makes no sense by then, which is as it is."""
        for name in NODES:
            for command, likely in (("initiate", 0.7), ("accept", 0.8), ("reject", 0.2), ("end", 0.8)):
                for _ in range(2):
                    if self.dice.random() < likely:
                        self.at(T0 + self.dice.uniform(0, HORIZON_S / 3), (command, name))
            self.at(T0 + HORIZON_S, ("end", name))
        if self.dice.random() < 0.1:
            self.at(T0 + self.dice.uniform(0, HORIZON_S / 3), ("crash", self.dice.choice(NODES)))

    def _next(self) -> None:
        when, _, (what, about) = heapq.heappop(self.queue)
        world, self.world.now = self.world, max(self.world.now, when)
        self.log.append(f"{world.now:.3f} {what} {about}")
        if isinstance(about, Signal):
            world.deliver(what, about)
        elif what == "media":
            if world.nodes[about].media.waiting:
                world.take_media(about)
        elif not world.nodes[about].dead and (
            what in ("initiate", "crash") or world.nodes[about].board._calls
        ):
            world.budget[f"{what} {about}"] += 1
            world.step((what, about))

    def _send(self) -> None:
        """Gives everything that has just been said its time of arrival."""
        for to, signal in self.world.bag:
            copies = 2 if self.dice.random() < self.weather.double else 1
            if self.dice.random() < self.weather.loss:
                copies, self.world.lossy = 0, True
            for _ in range(copies):
                self.at(self.world.now + self.dice.uniform(*self.weather.delay_s), (to, signal))
        self.world.bag.clear()
        for name, node in self.world.nodes.items():
            if node.media.waiting:
                self.at(self.world.now + self.dice.uniform(0.01, 0.5), ("media", name))


def simulate(seed: int) -> tuple[Simulation, World]:
    simulation = Simulation(seed)
    try:
        world = simulation.run()
        world.agree()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}\n" + "\n".join(simulation.log[-30:])) from error
    return simulation, world


@pytest.fixture(scope="module")
def outcomes() -> Counter[EndReason]:
    reasons: Counter[EndReason] = Counter()
    for seed in range(SEEDS):
        _, world = simulate(seed)
        for _, node in world.alive():
            assert not node.media.captured, f"seed {seed}: capture outlived its call"
            assert all(call.state is State.ENDED for call in node.board._calls.values())
            reasons.update(reason for reason, _ in node.ends.values())
    return reasons


def test_no_random_life_of_two_nodes_breaks_a_promise(outcomes: Counter[EndReason]):
    assert outcomes.total() > SEEDS


@pytest.mark.parametrize(
    "reason",
    [
        EndReason.LOCAL_HANGUP,
        EndReason.REMOTE_HANGUP,
        EndReason.DECLINED,
        EndReason.GLARE,
        EndReason.REPLACED,
        EndReason.CANCELLED,
        EndReason.NO_ANSWER,
        EndReason.CONNECT_FAILED,
        EndReason.CONNECTION_LOST,
    ],
)
def test_the_simulation_is_wild_enough_to_meet_every_end(outcomes: Counter[EndReason], reason: EndReason):
    assert outcomes[reason] > 0


def test_the_same_seed_gives_the_same_life():
    def fingerprint(seed: int) -> str:
        return hashlib.sha256("\n".join(simulate(seed)[0].log).encode()).hexdigest()

    assert fingerprint(7) == fingerprint(7)
    assert fingerprint(7) != fingerprint(8)


def test_when_all_is_forgotten_no_timer_is_left():
    _, world = simulate(3)
    for node in world.nodes.values():
        node.board.handle_timer(world.now + 1000)
        assert node.board.next_deadline() is None
        assert node.board._calls == {}
