"""What the switchboard is told: the user's commands, the peer's signals, the fate of our own, media, the end.

Plain structs with ids. No event carries a clock or randomness: the monotonic time is an argument of
``handle``, unix times and random ids are fields, made by whoever makes the event.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from sidecar.schema import CallType, EndReason, MediaTrackKind, MediaWarningCode
from sidecar.signaling.messages import Kind, Signal


class Relation(Enum):
    """What we know of a user that ours wants to call."""

    CONTACT = "contact"
    """A friend in our social copy whose full key is known: the invitation carries the offer (D4)."""
    STRANGER = "stranger"
    """A full key is known, but no friendship: the invitation carries no SDP and no candidates."""
    UNKNOWN = "unknown"
    """No key: nothing can be sealed to this user."""
    BLOCKED = "blocked"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all events."""


class CallEvent(Event, frozen=True, kw_only=True):
    """An event that belongs to one call."""

    call_id: str


# --- commands of our user ---------------------------------------------------------------------------------


class Initiate(CallEvent, frozen=True):
    """Calls a user. ``session``: 128 random bits in hex; ``at_ms``: unix time of this machine."""

    user_id: str
    display_name: str
    call_type: CallType
    relation: Relation
    session: str
    at_ms: int
    devices: tuple[str, ...] = ()
    """The callee's devices, as far as their cards are known: one that is busy does not speak for all."""
    owner: str | None = None
    """The front end that owns the media of this call (D7); None: the sidecar does."""
    room_id: str | None = None
    domain_id: str | None = None


class Accept(CallEvent, frozen=True):
    """Takes an incoming call; ``listen_only`` sends nothing of our own, ``kinds`` nothing but these."""

    listen_only: bool = False
    kinds: frozenset[MediaTrackKind] | None = None
    owner: str | None = None


class Reject(CallEvent, frozen=True):
    """Declines an incoming call; ``detail`` is for the log of the caller."""

    detail: str = ""


class End(CallEvent, frozen=True):
    """Hangs up, cancels or declines, whichever it is in the state the call is in.

    ``reason``: what it was if our user did not ask for it.
    """

    reason: EndReason | None = None


class Hold(CallEvent, frozen=True):
    """Sends nothing for a while, and makes room for another call."""


class Resume(CallEvent, frozen=True):
    """Ends the hold."""


class Mute(CallEvent, frozen=True):
    """Mutes or unmutes the microphone (audio) or the camera (video)."""

    kind: MediaTrackKind
    muted: bool


class UseMedia(CallEvent, frozen=True):
    """Asks whether the call has media of its own that can be shared, switched, measured or recorded."""


class Superseded(CallEvent, frozen=True):
    """Another call of the same two users takes the place of this one: ``glare`` or ``replaced``."""

    reason: EndReason


# --- signals ----------------------------------------------------------------------------------------------


class SignalArrived(Event, frozen=True):
    """A signal that passed every check of D3. ``user_id``: whose it is, by full key, never by claim.

    ``at_ms``: unix time of this machine; ``network_ms``: unix time of the network, for the expiry.
    ``display_name``: the name in our social copy, None when there is none.
    """

    signal: Signal
    user_id: str
    contact: bool
    at_ms: int
    network_ms: int
    display_name: str | None = None


class SignalDelivered(CallEvent, frozen=True):
    """A relay has taken a signal of ours."""

    kind: Kind


class SignalUndeliverable(CallEvent, frozen=True):
    """No relay took it in time. ``retrying``: it stays in the outbox. ``denied``: a rule forbids it."""

    kind: Kind
    retrying: bool
    denied: bool = False


# --- media ------------------------------------------------------------------------------------------------


class PeerEvent(CallEvent, frozen=True, kw_only=True):
    """An event about one connection."""

    user_id: str
    gen: int


class LocalDescription(PeerEvent, frozen=True):
    """Complete SDP with its candidates; ``type`` is offer or answer."""

    type: str
    sdp: str


class PeerConnected(PeerEvent, frozen=True):
    """Media can flow."""


class Level(Enum):
    """D5's judgement of a connection by what arrives on it."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    RECONNECTING = "reconnecting"
    LOST = "lost"


class PeerLiveness(PeerEvent, frozen=True):
    """The judgement changed; ``LOST`` is final, everything else may pass."""

    level: Level


class PeerFailed(PeerEvent, frozen=True):
    """The connection cannot live; ``reason`` is an ``EndReason`` value."""

    reason: str


class RemoteState(PeerEvent, frozen=True):
    """What the peer says it sends."""

    audio: bool
    video: bool
    screen: bool


class LineChanged(CallEvent, frozen=True):
    """One of our lines has got a source, or lost it for good: a screen is shared, a camera chosen."""

    kind: MediaTrackKind
    on: bool


class RecordingChanged(CallEvent, frozen=True):
    """A recording of ours has started, or has ended after ``duration_ms``."""

    recording_id: str
    on: bool
    path: str
    duration_ms: int | None = None


class MediaWarned(CallEvent, frozen=True):
    """Something is wrong with the media, and the call lives."""

    code: MediaWarningCode
    user_id: str | None = None


class MediaLost(Event, frozen=True):
    """The media process died: every connection and source of every call is gone."""


# --- this node --------------------------------------------------------------------------------------------


class Shutdown(Event, frozen=True):
    """Ends every call. ``app_gone``: because the front end disappeared, not because we were stopped."""

    app_gone: bool
