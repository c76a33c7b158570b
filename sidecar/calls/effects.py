"""What the switchboard wants done. Each effect has exactly one performer, found by its type.

Plain structs with ids: they can be logged, compared and carried to another process. ``calls`` knows no media
(DESIGN section 2), so the kinds here are the schema's, and whoever performs an effect translates it.
"""

from __future__ import annotations

import msgspec

from sidecar.schema import CallOffer, CallRecord, MediaTrackKind
from sidecar.signaling.messages import AnyBody, Kind


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all effects; every one belongs to a call."""

    call_id: str


# --- media ------------------------------------------------------------------------------------------------


class OpenCall(Effect, frozen=True):
    """Make the local sources of a call: ``kinds`` get their default device, those in ``muted`` silent.

    ``owner``: the front end that has the media of this call, None for the sidecar itself (D7).
    """

    kinds: tuple[MediaTrackKind, ...]
    muted: tuple[MediaTrackKind, ...]
    owner: str | None = None


class OpenPeer(Effect, frozen=True):
    """Make a connection: an offer of our own, or with ``remote_sdp`` the answer to that offer."""

    user_id: str
    gen: int
    remote_sdp: str | None = None


class ApplyAnswer(Effect, frozen=True):
    user_id: str
    gen: int
    sdp: str


class ClosePeer(Effect, frozen=True):
    user_id: str
    gen: int


class CloseCall(Effect, frozen=True):
    """Close every connection and source of the call."""


class SetMuted(Effect, frozen=True):
    kind: MediaTrackKind
    muted: bool


# --- signaling --------------------------------------------------------------------------------------------


class JoinSession(Effect, frozen=True):
    """Read the session where the rest of the call runs."""

    session: str
    user_id: str


class LeaveSession(Effect, frozen=True):
    """Nothing more is expected in the session of this call."""


class SendSignal(Effect, frozen=True):
    """``device`` None is every device of the user; ``session`` None is the user's inbox."""

    user_id: str
    device: str | None
    kind: Kind
    body: AnyBody
    gen: int
    session: str | None
    ttl_s: float
    room_id: str | None = None
    domain_id: str | None = None


# --- front end, history, log --------------------------------------------------------------------------------


class Ring(Effect, frozen=True):
    """Alert the user: ``aleph:callOffer``, once per call."""

    offer: CallOffer


class Notify(Effect, frozen=True):
    """Emit an event of the schema."""

    event: str
    data: msgspec.Struct


class CallEnded(Effect, frozen=True):
    """The call is over; ``record`` is its line in the history."""

    record: CallRecord


class Moved(Effect, frozen=True):
    """The state changed; for the log."""

    old: str
    new: str
    cause: str
    reason: str | None = None
    detail: str = ""
    """Words of the peer's user about it."""
