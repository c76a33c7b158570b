"""A seeded network in virtual time: what the graph, the direct paths and the control channels do to messages.

A preset is how bad it is. Delays are drawn per message, so messages overtake each other; a partition holds
what crosses it back, or loses it, as the graph or a UDP path does.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from .broken import promise

CALM_GRAPH_S = 4.0
"""The slowest graph that is called calm; offer and answer fit into ``PathRules.build_s``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Delays in seconds; ``loss`` and ``double`` are chances for a signal through the graph."""

    graph_s: tuple[float, float]
    path_s: tuple[float, float]
    loss: float = 0.0
    double: float = 0.0
    connects: float = 1.0
    """Chance that a direct connection comes up."""
    breaks_per_minute: float = 0.0
    """How often a path dies for a while, per connection."""
    partition_every_s: float = 0.0
    """The graph falls into two halves this often, 0 for never."""

    def calm(self) -> Preset:
        """The same network on a day on which nothing goes wrong: what two say to each other in turn through
        the graph takes less than a connection has to come up, or no connection would be promised (M05)."""
        slow, slowest = self.graph_s
        return replace(
            self,
            graph_s=(min(slow, CALM_GRAPH_S), min(slowest, CALM_GRAPH_S)),
            loss=0.0,
            double=0.0,
            connects=1.0,
            breaks_per_minute=0.0,
            partition_every_s=0.0,
        )


PRESETS = {
    "perfect": Preset(graph_s=(0.01, 0.02), path_s=(0.005, 0.01)),
    "wifi": Preset(graph_s=(0.02, 0.12), path_s=(0.01, 0.04), double=0.05),
    "wifi_lossy": Preset(
        graph_s=(0.02, 0.6), path_s=(0.01, 0.2), loss=0.03, double=0.1, connects=0.97, breaks_per_minute=0.5
    ),
    "cellular": Preset(
        graph_s=(0.05, 1.2), path_s=(0.04, 0.3), loss=0.03, double=0.05, connects=0.93, breaks_per_minute=1.0
    ),
    "satellite": Preset(graph_s=(0.6, 1.4), path_s=(0.3, 0.35), loss=0.01),
    "congested": Preset(
        graph_s=(0.2, 6.0), path_s=(0.1, 1.0), loss=0.1, double=0.2, connects=0.9, breaks_per_minute=2.0
    ),
    "partitioned": Preset(
        graph_s=(0.02, 0.2), path_s=(0.01, 0.05), loss=0.02, breaks_per_minute=0.5, partition_every_s=40.0
    ),
}


AT_ONCE_MAX = 20_000
"""Things that happen at one moment; a machine whose deadline does not move makes more."""


class Agenda:
    """What happens when; of things at the same moment the first planned comes first."""

    def __init__(self, start: float) -> None:
        self.now = start
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._at_once = 0

    def at(self, when: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (max(when, self.now), self._count, do))

    def next(self) -> float | None:
        return self._queue[0][0] if self._queue else None

    def run_next(self) -> None:
        when, _, do = heapq.heappop(self._queue)
        self._at_once = self._at_once + 1 if when <= self.now else 0
        promise(self._at_once < AT_ONCE_MAX, "time stands still: something is due again and again")
        self.now = max(self.now, when)
        do()


class Dice:
    """The network's own luck, apart from that of the users, so that a preset does not change their whims."""

    def __init__(self, seed: int, preset: Preset) -> None:
        self._random = Random(f"network {seed}")
        self.preset = preset

    def graph_delays(self) -> list[float]:
        """When each copy of a leaf arrives: none if it is lost."""
        if self._random.random() < self.preset.loss:
            return []
        copies = 2 if self._random.random() < self.preset.double else 1
        return [self._random.uniform(*self.preset.graph_s) for _ in range(copies)]

    def path_delay(self) -> float:
        return self._random.uniform(*self.preset.path_s)

    def connects(self) -> bool:
        return self._random.random() < self.preset.connects

    def next_break(self) -> float | None:
        """Seconds until a path dies, None for never."""
        rate = self.preset.breaks_per_minute
        return self._random.expovariate(rate / 60) if rate else None

    def break_length(self) -> float:
        """How long it stays dead: mostly a few seconds, now and then for good."""
        return self._random.choice((1.0, 3.0, 4.0, 8.0, 60.0))

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self.preset = self.preset.calm()


class Seeded:
    """Reproducible bytes, for ids, nonces and keys."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)

    def bytes(self, n: int) -> bytes:
        return self._random.randbytes(n)
