"""What conferences are told, beside the events that they share with calls (``sidecar.calls.events``).

Accept, Reject and End of a conference mean join, decline and leave.
"""

from __future__ import annotations

from sidecar.calls.events import CallEvent, Event
from sidecar.schema import CallType, MediaTrackKind
from sidecar.signaling.messages import MemberInfo


class Create(CallEvent, frozen=True):
    """Starts a conference in a room. ``call_id`` is ``Hall.new_id(room_id, nonce)``; ``session`` and
    ``nonce``: 128 random bits in hex, ``key``: 256; ``lease``: the public key of the space made for it."""

    room_id: str
    call_type: CallType
    session: str
    key: str
    nonce: str
    lease: str
    at_ms: int
    network_ms: int
    ring: bool = True
    domain_id: str | None = None
    owner: str | None = None


class Join(CallEvent, frozen=True):
    """Our user joins; times as in ``Create``. ``kinds``: what he sends if not what all send at first."""

    lease: str
    at_ms: int
    network_ms: int
    listen_only: bool = False
    kinds: frozenset[MediaTrackKind] | None = None
    held: bool = False
    owner: str | None = None


class Invite(CallEvent, frozen=True):
    """Our user asks somebody in. A 1:1 call grows: what a conference needs is made for it."""

    user_id: str
    display_name: str
    session: str
    key: str
    nonce: str
    lease: str
    at_ms: int
    network_ms: int


class Hush(CallEvent, frozen=True):
    """A moderator of ours asks a member to be mute."""

    user_id: str


class Remove(CallEvent, frozen=True):
    """A moderator of ours removes a member."""

    user_id: str


class LeaseSeen(CallEvent, frozen=True):
    """A lease that opened with the session's key and is signed by the space that stands for that user."""

    user_id: str
    info: MemberInfo
    network_ms: int
    others: tuple[MemberInfo, ...] = ()


class Gossip(CallEvent, frozen=True):
    """What a connected member says of the others: milliseconds since each was heard, its accounts, and whom
    it has asked in."""

    user_id: str
    ages_ms: dict[str, int]
    members: list[MemberInfo]
    network_ms: int
    invited: list[str]


class Shown(CallEvent, frozen=True):
    """How large a member shows our camera (``visible_height``), and whether we speak."""

    user_id: str
    visible_height: int | None
    speaking: bool = False


class SocialChanged(Event, frozen=True):
    """Rooms, domains, friends or blocks are not what they were."""
