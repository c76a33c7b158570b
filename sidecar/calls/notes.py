"""What must be known of a live call after a crash: its line in the history, and whom to say goodbye to (C18).

Goodbyes go where a shutdown would send them: to contacts and to strangers whose call was taken. An
invitation that still rings has none, because a decline of this device would end it at the others too (C09).
"""

from __future__ import annotations

import msgspec

from sidecar.schema import CallRecord, EndReason, ParticipantState
from sidecar.signaling.messages import Kind

from . import record
from .endings import farewell
from .machine import Call
from .states import State
from .table import Trigger


class Goodbye(msgspec.Struct, frozen=True):
    """A hang-up for one user; ``device`` None means every device."""

    user_id: str
    device: str | None
    kind: Kind
    gen: int = 0


class LiveNote(msgspec.Struct, frozen=True):
    """``record`` has no end yet: ``ended`` gives it one. ``session``: where the goodbyes go."""

    record: CallRecord
    session: str
    goodbyes: list[Goodbye]

    @property
    def call_id(self) -> str:
        return self.record.call_id

    def ended(self, at_ms: int) -> CallRecord:
        """The record of a call that ended with this process at about ``at_ms``."""
        at_ms = max(at_ms, self.record.created_at, self.record.started_at or 0)
        return msgspec.structs.replace(
            self.record,
            ended_at=at_ms,
            participants=[
                msgspec.structs.replace(
                    person,
                    state=ParticipantState.DISCONNECTED,
                    left_at=person.left_at if person.joined_at is None else person.left_at or at_ms,
                )
                for person in self.record.participants
            ],
        )


def of_call(call: Call) -> LiveNote:
    """The note of a live call as it is now."""
    facts = call.facts
    kind = farewell(facts.side, call.state, Trigger.SHUTDOWN, contact=facts.contact)
    goodbyes = []
    if kind is not None and call.state is not State.RINGING:
        goodbyes.append(Goodbye(facts.peer_id, call.peer_device, kind, call.gen))
    line = record.of_session(call.session(), facts.side, EndReason.APP_GONE, 0)
    return LiveNote(line, facts.session, goodbyes)
