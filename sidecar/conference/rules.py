"""What may be set about conferences (FAULTS section 1); times in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.calls.path_rules import PathRules
from sidecar.calls.rules import MESH_LIMIT
from sidecar.schema import CallType, MediaTrackKind
from sidecar.trust.rates import Rate

SUSPECT_S = 2.5
"""How long a connection has been silent when media first says so (D5)."""
RINGS = Rate(6, 0.1)
ANSWERS = Rate(3, 0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConferenceRules:
    """Limits and timers of all conferences of this node."""

    ring_s: float = 60.0
    lease_s: float = 60.0
    """A lease that is older says nothing any more."""
    refresh_s: float = 20.0
    tell_s: float = 2.0
    """How soon a lease says that somebody has joined: several that do so at once cost one write."""
    gossip_s: float = 5.0
    grow_s: float = 5.0
    """Between two words to the other end of a call that has become a conference, until it joins."""
    grow_for_s: float = 60.0
    """For how long it is told."""
    announce_s: float = 60.0
    announce_max: int = 64
    """Members of a room that are told; larger rooms are joined by those that are."""
    stale_s: float = 130.0
    """Two announcements and a little: a conference that nobody announces any more is forgotten."""
    alone_s: float = 20.0
    """After the last other member has left (Jitsi, LiveKit)."""
    signal_ttl_s: float = 60.0
    ended_ttl_s: float = 180.0
    """How long an ended conference is remembered, so that nothing rings twice."""
    known_max: int = 64
    """Conferences that are known, joined or not."""
    parked_max: int = 30
    """Joins and offers for a conference that is not known yet (S07)."""
    parked_of_user: int = 10
    """Of them, from one user."""
    rings: Rate = RINGS
    """Conferences by which one user may ask ours: as often as he may call."""
    answers: Rate = ANSWERS
    """How often somebody in another conference of a room is told of ours: both may go on side by side."""
    parked_ttl_s: float = 30.0
    participants_max: int = MESH_LIMIT
    """The ``maxConferenceParticipants`` setting; ``MESH_LIMIT`` caps it until there is a focus."""
    path: PathRules = field(default_factory=PathRules)
    devices: frozenset[MediaTrackKind] = frozenset({MediaTrackKind.AUDIO, MediaTrackKind.VIDEO})

    def lines(self, call_type: CallType) -> frozenset[MediaTrackKind]:
        """What our user sends who joins, as far as there is a device for it."""
        video = {MediaTrackKind.VIDEO} if call_type is CallType.VIDEO else set()
        return self.devices & {MediaTrackKind.AUDIO, *video}
