"""What never changes in a conference, and what our social copy says about its room."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.schema import CallType

from .accounts import Sign


@dataclass(frozen=True, slots=True)
class Self:
    """This node: ``pub`` is the full key as signals spell it, ``sign`` signs with it."""

    user_id: str
    pub: str
    device: str
    sign: Sign


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who may be announced to."""

    user_id: str
    display_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A chat room as far as conferences need it. ``moderators``: its creator, its domain's owner and admins.

    ``participants_max``: what its domain allows (``maxConferenceSize``), None for no rule of its own.
    """

    room_id: str
    members: tuple[Guest, ...] = ()
    moderators: frozenset[str] = frozenset()
    participants_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConferenceFacts:
    """A conference from the first we know of it. ``created_ms`` is the unix time of ``created`` (monotonic
    seconds) on this machine, ``created_at`` the network time at which it was made."""

    call_id: str
    call_type: CallType
    initiator_id: str
    session: str
    key: str
    nonce: str
    founder: str = ""
    """The full key that the id of a room's conference is made of; its owner is the initiator."""
    founder_sig: str = ""
    told_by: str = ""
    """The user who told us of it; empty for one that we or the other end of our call have made."""
    created: float
    created_ms: int
    created_at: int
    room_id: str | None = None
    domain_id: str | None = None

    def at_ms(self, now: float) -> int:
        """Unix time of a monotonic time."""
        return self.created_ms + max(0, round((now - self.created) * 1000))

    def network_ms(self, now: float, offset_ms: int) -> int:
        """Network time of a monotonic time; ``offset_ms`` is what network time is ahead of this machine's."""
        return self.at_ms(now) + offset_ms
