"""The line that a call leaves in the history."""

from __future__ import annotations

import msgspec

from sidecar.schema import CallDirection, CallRecord, CallSession, EndReason

from .states import Side


def of_session(session: CallSession, side: Side, reason: EndReason, ended_ms: int) -> CallRecord:
    """The record of a call that has just ended, from its last session."""
    return CallRecord(
        call_id=session.id,
        type=session.type,
        direction=CallDirection.OUTGOING if side is Side.CALLER else CallDirection.INCOMING,
        initiator_id=session.initiator_id,
        participants=[msgspec.structs.replace(person) for person in session.participants],
        room_id=session.room_id,
        domain_id=session.domain_id,
        created_at=session.created_at,
        started_at=session.started_at,
        ended_at=ended_ms,
        end_reason=reason,
    )
