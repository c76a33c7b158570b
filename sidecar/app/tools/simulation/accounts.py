"""The users of a simulation: their keys, friends and blocks, and what a node knows about itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from sidecar.signaling.messages import Kind, Signal
from sidecar.trust import boxkeys, identity, pairwise
from sidecar.trust.boxkeys import BoxKey
from sidecar.trust.cards import CardKey, KeyCard
from sidecar.trust.identity import Identity
from sidecar.trust.replay import ReplayWindow
from sidecar.trust.social import SocialState

from .network import Agenda

WALL_MS = 1_800_000_000_000
"""Unix time at which every simulation starts: 2027-01-15T08:00:00Z."""
START = 1000.0
"""Monotonic time at which it starts."""
KEY_LIFE_MS = 7 * 24 * 3_600_000


@cache
def numbered(number: int) -> Identity:
    """The identity of a numbered user: the same in every simulation, because making one takes time."""
    return identity.generate(number.to_bytes(32, "big"))


@cache
def box_key(device: str) -> BoxKey:
    """The box key of a device."""
    return boxkeys.make(device.encode().ljust(32, b"\0"), WALL_MS + KEY_LIFE_MS)


@cache
def shared(mine: str, theirs: str) -> bytes:
    """The secret of two users, by our private and their public key as texts."""
    me, they = Identity("", mine, "", ()), Identity(theirs, "", "", ())
    secret = pairwise.shared_secret(me.seed, they.public_key)
    assert secret is not None, "generated keys are usable"
    return secret


@dataclass
class Account:
    """A user. ``devices`` are the names of its nodes with their device ids."""

    name: str
    identity: Identity
    social: SocialState = field(default_factory=SocialState)
    devices: dict[str, str] = field(default_factory=dict)

    @property
    def user_id(self) -> str:
        return self.identity.fingerprint

    def cards(self) -> tuple[KeyCard, ...]:
        """What its devices publish."""
        keys = ((device, box_key(device)) for device in self.devices.values())
        return tuple(
            KeyCard(self.identity.pub, device, WALL_MS, (CardKey(key.kid, key.public, key.not_after_ms),))
            for device, key in keys
        )

    def befriend(self, friends: Sequence[Account], blocked: Sequence[Account]) -> None:
        """Sets our copy of the social facts."""
        self.social.merge(
            {
                "self": {"displayName": self.name},
                "friends": [
                    {"id": one.user_id, "displayName": one.name, "publicKey": one.identity.pub}
                    for one in friends
                ],
                "blocked": [one.user_id for one in blocked],
            }
        )


@dataclass
class NodeClock:
    """The clocks of one node. ``skew_ms``: how wrong its wall clock is; ``offset_ms``: how wrong what it has
    learnt of network time is, about a second at most."""

    agenda: Agenda
    skew_ms: int = 0
    offset_ms: int = 0

    def monotonic(self) -> float:
        return self.agenda.now

    def _true_ms(self) -> int:
        return WALL_MS + round((self.agenda.now - START) * 1000)

    def wall_ms(self) -> int:
        return self._true_ms() + self.skew_ms

    def network_ms(self) -> int:
        return self._true_ms() + self.offset_ms


@dataclass
class Owner:
    """One device of a user, in one life of its process (``epoch``). ``burnt`` is what its disk keeps: nonces,
    and the ids of calls that it was invited to, by sender and with their expiry."""

    name: str
    account: Account
    device: str
    epoch: str
    clock: NodeClock
    replay: ReplayWindow = field(default_factory=ReplayWindow)
    burnt: list[tuple[str, str, int]] = field(default_factory=list)

    def remember(self, signal: Signal) -> None:
        """Keeps what the next process has to know of a signal (C18)."""
        names = [signal.nonce, *([signal.call_id] if signal.kind is Kind.INVITE else [])]
        self.burnt += [(signal.sender.pub, name, signal.expires_at_ms) for name in names]

    def restart(self, epoch: str) -> None:
        """Another process begins, with what the disk has kept."""
        self.epoch, self.replay = epoch, ReplayWindow()
        self.replay.restore(self.burnt, self.clock.network_ms())
