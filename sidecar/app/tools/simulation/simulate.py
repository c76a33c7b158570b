"""One simulated life from a seed: people, a network, faults, a rest, an end, and what became of it all."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

import msgspec

from sidecar.conference.facts import Guest, Room
from sidecar.errors import LocalError
from sidecar.ids import fingerprint

from . import faults as fault
from . import settling
from .accounts import Account
from .network import PRESETS
from .users import Users
from .world import World

REST_S = 110.0
"""Longer than a ring, a connect timeout and a lost path together: whatever is going to end has ended."""
AFTERMATH_S = 600.0
"""Longer than anything is remembered."""
MAX_PEERS = 12
STORY_LINES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What makes a life; two with the same options are the same, byte for byte."""

    seed: int
    peers: int = 3
    net: str = "wifi"
    seconds: float = 120.0
    faults: tuple[str, ...] = ()
    sealed: bool = True

    def __post_init__(self) -> None:
        """Raises LocalError naming the option that cannot be used."""
        if not 2 <= self.peers <= MAX_PEERS:
            raise LocalError(f"peers must be 2 to {MAX_PEERS}", details={"field": "peers"})
        if self.net not in PRESETS:
            raise LocalError(f"net must be one of {', '.join(PRESETS)}", details={"field": "net"})
        if not 1 <= self.seconds <= 86_400:
            raise LocalError("seconds must be 1 to 86400", details={"field": "seconds"})
        unknown = [name for name in self.faults if name not in fault.FAULTS]
        if unknown:
            known = ", ".join(fault.FAULTS)
            raise LocalError(f"no fault {unknown[0]!r}; there are {known}", details={"field": "faults"})
        if len(set(self.faults)) < len(self.faults):
            raise LocalError("a fault is named twice", details={"field": "faults"})

    def command(self) -> str:
        """How to see this life again."""
        chosen = f" --faults {','.join(self.faults)}" if self.faults else ""
        plain = "" if self.sealed else " --plain"
        return (
            f"aleph-sidecar simulate --seed {self.seed} --peers {self.peers} --net {self.net} "
            f"--seconds {self.seconds:g}{chosen}{plain}"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a life. ``broken``: the promise that did not hold, None when all did; ``story`` is what
    led there; ``digest`` is the SHA-256 of the whole story."""

    options: Options
    broken: str | None
    devices: dict[str, str]
    counts: dict[str, int]
    digest: str
    story: list[str] = field(default_factory=list)

    def json(self) -> str:
        """One line, members in order."""
        members: dict[str, Any] = asdict(self) | {"command": self.options.command()}
        return msgspec.json.encode(members, order="sorted").decode()


def simulate(options: Options) -> Outcome:
    """Runs one life to its end; it ends early where a promise is broken."""
    users = Users(options.seed)
    preset = fault.hurt(PRESETS[options.net], options.faults)
    world = World(options.seed, preset, sealed=options.sealed, on_effect=users.saw)
    _people(world, options)
    broken: str | None = None
    try:
        world.start()
        users.plan(world, options.seconds)
        fault.plan(world, users, options.seed, options.seconds, options.faults)
        _live(world, users, options.seconds)
    except AssertionError as error:
        broken = f"{world.now_s:.3f} s: {error}"
    except Exception as error:  # a machine that raises where nobody waits for its answer
        broken = f"{world.now_s:.3f} s: {type(error).__name__}: {error}"
    story = world.shared.log
    return Outcome(
        options=options,
        broken=broken,
        devices={node.name: node.user_id for node in world.nodes.values()},
        counts=dict(sorted(world.shared.counts.items())),
        digest=hashlib.sha256("\n".join(story).encode()).hexdigest(),
        story=story[-STORY_LINES:] if broken else [],
    )


def _live(world: World, users: Users, seconds: float) -> None:
    world.run(seconds)
    world.calm()
    world.run(seconds + REST_S)
    settling.at_rest(world.shared)
    users.leave_all()
    world.run(seconds + REST_S + AFTERMATH_S)
    settling.at_the_end(world.shared)


def _people(world: World, options: Options) -> None:
    """Mostly friends, now and then strangers or blocked ones; one to three devices each; a room for all."""
    random = Random(f"people {options.seed}")
    numbers = random.sample(range(1, 25), options.peers)
    accounts = [world.user(f"user{index + 1}", number) for index, number in enumerate(numbers)]
    strange = {frozenset(pair) for pair in _pairs(accounts) if random.random() < 0.1}
    if fault.FLOOD in options.faults:
        strange |= {pair for pair in map(frozenset, _pairs(accounts)) if accounts[-1].name in pair}
    for account in accounts:
        others = [other for other in accounts if other is not account]
        friends = [other for other in others if frozenset({account.name, other.name}) not in strange]
        blocked = [other for other in others if other not in friends and random.random() < 0.4]
        account.befriend(friends, blocked)
    skewed = fault.SKEW in options.faults
    for account in accounts:
        for _ in range(random.choices((1, 2, 3), (70, 20, 10))[0]):
            skew_ms = random.randint(-600_000, 600_000) if skewed else 0
            world.device(account, skew_ms=skew_ms, offset_ms=random.randint(-500, 500) if skewed else 0)
    world.set_rooms({"room": _room(accounts, random)})


def _pairs(accounts: list[Account]) -> list[tuple[str, str]]:
    return [(a.name, b.name) for i, a in enumerate(accounts) for b in accounts[i + 1 :]]


def _room(accounts: list[Account], random: Random) -> Room:
    guests = tuple(Guest(account.user_id, account.name) for account in accounts)
    moderator = fingerprint(random.choice(accounts).identity.pub)
    cap = random.choice((None, None, 2, 3, 5))
    return Room(room_id="room", members=guests, moderators=frozenset({moderator}), participants_max=cap)
