"""What must be known of a conference after a crash of one that was in it (``sidecar.calls.notes``)."""

from __future__ import annotations

from sidecar.calls import record
from sidecar.calls.notes import Goodbye, LiveNote
from sidecar.calls.states import Side
from sidecar.schema import EndReason
from sidecar.signaling.messages import Kind

from .machine import Conference


def of_conference(conference: Conference) -> LiveNote:
    """The note of one that our user is in, or is asked into, as it is now. Its lease is not in it: the key
    of its space is held in memory only, and it runs out by itself."""
    ours = conference.facts.initiator_id == conference.me.user_id
    side = Side.CALLER if ours else Side.CALLEE
    goodbyes = []
    if conference.joined:
        goodbyes = [
            Goodbye(user_id, member.info.device, Kind.END) for user_id, member in conference.members.items()
        ]
    line = record.of_session(conference.session(), side, EndReason.APP_GONE, 0)
    return LiveNote(line, conference.facts.session, goodbyes)
