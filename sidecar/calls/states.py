"""The states of a 1:1 call, and what a front end is shown of them.

More states than the seed has names for: correctness needs to know *why* a call is, say, ``connecting``.
A front end sees the seed's ``CallState`` only, through ``public_state``.
"""

from __future__ import annotations

from enum import Enum

from sidecar.schema import CallState, EndReason


class Side(Enum):
    """Which end of the call this node is; fixed for its whole life."""

    CALLER = "caller"
    CALLEE = "callee"


class State(Enum):
    """Where a call is. Each state has at most one deadline, and leaving it cancels that."""

    PREPARING = "preparing"
    """Caller: media makes the offer; nothing has left this node."""
    INVITING = "inviting"
    """Caller: the invitation is out, the callee's user is not known to be alerted."""
    ALERTING = "alerting"
    """Caller: a device of the callee said that it rings."""
    RINGING = "ringing"
    """Callee: our user is being alerted."""
    ANSWERING = "answering"
    """The callee accepted; media makes the description that follows from it."""
    CONNECTING = "connecting"
    """Both descriptions are made; the connection is coming up."""
    ACTIVE = "active"
    """Media flows."""
    RECONNECTING = "reconnecting"
    """Nothing arrives any more; a new generation of the connection is being tried."""
    BROKEN = "broken"
    """The first connection died at once; a hang-up that is still on its way may say why."""
    ENDED = "ended"
    """Over. Kept for a while, so that late and repeated messages find what they belong to."""


LIVE = frozenset(State) - {State.ENDED}
ESTABLISHED = frozenset({State.ACTIVE, State.RECONNECTING})
"""Media flows or has flowed: the path has the word about the connection."""
UNANSWERED = frozenset({State.PREPARING, State.INVITING, State.ALERTING})
"""Our user calls and nobody has taken it."""

_SHOWN = {
    State.PREPARING: CallState.INITIATING,
    State.INVITING: CallState.INITIATING,
    State.ALERTING: CallState.RINGING,
    State.RINGING: CallState.RINGING,
    State.ANSWERING: CallState.CONNECTING,
    State.CONNECTING: CallState.CONNECTING,
    State.BROKEN: CallState.CONNECTING,
    State.ACTIVE: CallState.ACTIVE,
    State.RECONNECTING: CallState.ACTIVE,
}

FAULTS = frozenset(
    {
        EndReason.UNREACHABLE,
        EndReason.CONNECT_FAILED,
        EndReason.CONNECTION_LOST,
        EndReason.MEDIA_FAILED,
        EndReason.POLICY_DENIED,
        EndReason.SECURITY,
        EndReason.INTERNAL_ERROR,
    }
)
"""Reasons that nobody chose."""


def public_state(state: State, *, started: bool, held: bool, reason: EndReason | None) -> CallState:
    """The seed's state. A call that once was active *ended*, whatever ended it; one that a fault kept from
    ever becoming active *failed*."""
    if held and state in ESTABLISHED:
        return CallState.ON_HOLD
    if state is State.ENDED:
        return CallState.FAILED if reason in FAULTS and not started else CallState.ENDED
    return _SHOWN[state]
