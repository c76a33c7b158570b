"""What may be set about calls, with the trade-off that chose each default."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.schema import MediaTrackKind
from sidecar.trust.rates import Rate, per_hour, per_minute

from .path_rules import PathRules

RING_TIMEOUT_RANGE_S = (15.0, 120.0)
"""Shorter and nobody reaches the phone; longer and relays have dropped the invitation's session."""
MESH_LIMIT = 8
"""Above this a conference needs a focus (DESIGN section 1)."""

DETAIL_MAX = 256
"""Characters that a user may say about a decline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Limits and timers of all calls of this node; times in seconds."""

    ring_timeout_s: float = 60.0
    """How long a call rings at either end. 60 as in ringrtc; some users ask for 30."""
    prepare_timeout_s: float = 15.0
    """For media to make the offer. It takes well under a second unless the media process is stuck."""
    connect_timeout_s: float = 15.0
    """From accept to media. STUN's own 39.5 s is longer than people wait."""
    broken_grace_s: float = 3.0
    """A DTLS close arrives at once, the hang-up that explains it takes a graph round trip."""
    path: PathRules = field(default_factory=PathRules)
    """Of the connection once it is up."""
    min_ring_s: float = 3.0
    """An invitation with less time left than this does not ring any more (js-sdk): nobody could answer it."""
    busy_grace_s: float = 2.0
    """How long a caller that does not know the callee's devices waits for another one after a ``busy``."""
    signal_ttl_s: float = 60.0
    """Life of every signal but the invitation, which lives as long as it rings."""
    linger_s: float = 5.0
    """How long the session of an ended call is still read, for an accept that crossed the end."""
    ended_ttl_s: float = 180.0
    """How long an ended call is remembered: longer than an invitation may live, so nothing rings twice."""
    ended_max: int = 256
    """Ended calls remembered at most; the oldest goes first."""
    parked_max: int = 8
    """Hang-ups kept for invitations that have not arrived yet."""
    parked_ttl_s: float = 45.0
    """How long they are kept (Janus keeps orphans as long)."""
    calls_max: int = 1
    """Calls at once, those on hold not counted. A person has one ear; a headless role may take more."""
    held_max: int = 3
    """Calls on hold beside them."""
    requests_max: int = 8
    """Calls of strangers that wait to be looked at."""
    participants_max: int = MESH_LIMIT
    """The ``maxConferenceParticipants`` setting; ``MESH_LIMIT`` caps it."""
    devices: frozenset[MediaTrackKind] = frozenset({MediaTrackKind.AUDIO, MediaTrackKind.VIDEO})
    """Lines that have a device to start with; without one a line stays empty until it is given a source."""
    strangers_ring: bool = False
    """D8: by default the call of a stranger is shown as a request and does not ring."""
    stranger_rings: tuple[Rate, Rate] = (per_minute(3), per_hour(10))
    """One bucket for all strangers together, where they do ring (D8)."""

    def __post_init__(self) -> None:
        low, high = RING_TIMEOUT_RANGE_S
        if not low <= self.ring_timeout_s <= high:
            raise ValueError(f"ring_timeout_s must be {low:g} to {high:g}")
        if self.calls_max < 1 or self.participants_max < 2:
            raise ValueError("calls_max must be at least 1 and participants_max at least 2")
