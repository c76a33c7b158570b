"""Which lives are simulated: a seed decides the people, the network, the faults and the door."""

from __future__ import annotations

from random import Random

from sidecar.app.tools.simulation.faults import FAULTS
from sidecar.app.tools.simulation.network import PRESETS
from sidecar.app.tools.simulation.simulate import Options, Outcome, simulate

SEALED_OF = 20
"""One life in so many goes through the real outbox and inbox."""
LONG_OF, LONG_S = 10, 180.0
"""One in so many is long enough for a conference to be heard of no more, and to come back."""
PEERS, WEIGHTS = (2, 3, 4, 5, 6, 8, 9), (38, 32, 15, 8, 3, 2, 2)


def options(seed: int) -> Options:
    """The life of a seed: mostly two or three users, for a minute, each preset as often, up to 3 faults."""
    dice = Random(seed)
    return Options(
        seed=seed,
        peers=dice.choices(PEERS, WEIGHTS)[0],
        net=list(PRESETS)[seed % len(PRESETS)],
        seconds=LONG_S if seed % LONG_OF == 2 else 60.0,
        faults=tuple(dice.sample(FAULTS, dice.choice((0, 0, 1, 2, 3)))),
        sealed=seed % SEALED_OF == 0,
    )


def live(seed: int) -> Outcome:
    """Runs it; at module level, so that other processes can."""
    return simulate(options(seed))
