"""What never changes in a call, and the names of its connections and offers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sidecar.schema import CallType, MediaTrackKind

from .states import Side

CALLER_GEN = 0
"""The connection whose offer came with the invitation."""
CALLEE_GEN = 1
"""The connection whose offer came with the accept: another number, because a caller may have made both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A call from its first moment. ``created_ms`` is the unix time of ``created`` (monotonic seconds)."""

    call_id: str
    side: Side
    call_type: CallType
    me_id: str
    me_name: str
    peer_id: str
    peer_name: str
    contact: bool
    """Signals of courtesy (ringing, busy) go to contacts only (D8)."""
    offered: bool
    """The invitation carries the caller's offer; otherwise the accept carries the callee's (D4)."""
    session: str
    created: float
    created_ms: int
    ring_until: float
    """Monotonic seconds; the invitation expires then."""
    me_device: str = ""
    devices: frozenset[str] = frozenset()
    """The peer's devices, as far as their cards are known."""
    silent: bool = False
    """A stranger's call that is shown and does not ring (D8)."""
    room_id: str | None = None
    domain_id: str | None = None

    def at_ms(self, now: float) -> int:
        """Unix time of a monotonic time: what a call writes down never steps back, whatever clocks do."""
        return self.created_ms + max(0, round((now - self.created) * 1000))


def digest(sdp: str) -> str:
    """Names an offer in the answer to it: SHA-256 in hex."""
    return hashlib.sha256(sdp.encode()).hexdigest()


def kinds_of(call_type: CallType) -> frozenset[MediaTrackKind]:
    """The lines that have a source from the start. An audio call has a camera line, but it is empty."""
    if call_type is CallType.VIDEO:
        return frozenset({MediaTrackKind.AUDIO, MediaTrackKind.VIDEO})
    return frozenset({MediaTrackKind.AUDIO})
