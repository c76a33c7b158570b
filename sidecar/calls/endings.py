"""Why a call ends and what the peer is told, by the state it is in and the trigger that ends it."""

from __future__ import annotations

from sidecar.schema import EndReason
from sidecar.signaling.messages import Kind, ReasonBody, Signal
from sidecar.trust.names import claimed

from . import events as e
from .reasons import mirrored, parsed
from .rules import DETAIL_MAX
from .states import UNANSWERED, Side, State
from .table import Trigger

FROM_PEER = frozenset({Trigger.REJECTED, Trigger.BUSY, Trigger.CANCELLED, Trigger.REMOTE_END})
"""Triggers with which the peer itself ends a call: it needs no farewell."""


def _hangup(state: State) -> EndReason:
    if state is State.RINGING:
        return EndReason.DECLINED
    if state in UNANSWERED:
        return EndReason.CANCELLED
    return EndReason.LOCAL_HANGUP


def _timeout(state: State, *, reached: bool, busy: bool) -> EndReason:
    match state:
        case State.PREPARING | State.ANSWERING:
            return EndReason.MEDIA_FAILED
        case State.INVITING if busy:
            return EndReason.BUSY
        case State.INVITING:
            return EndReason.NO_ANSWER if reached else EndReason.UNREACHABLE
        case State.ALERTING | State.RINGING:
            return EndReason.NO_ANSWER
        case _:
            return EndReason.CONNECT_FAILED


def _said(event: e.Event | None) -> EndReason | None:
    """The reason that the event itself brings, if any."""
    match event:
        case e.SignalArrived(signal=Signal(kind=kind, body=ReasonBody(reason=reason))):
            return mirrored(kind, reason)
        case e.PeerFailed(reason=reason):
            return parsed(reason, EndReason.MEDIA_FAILED)
        case e.SignalUndeliverable(denied=denied):
            return EndReason.POLICY_DENIED if denied else EndReason.UNREACHABLE
        case e.Shutdown(app_gone=app_gone):
            return EndReason.APP_GONE if app_gone else EndReason.SHUTDOWN
        case e.MediaLost():
            return EndReason.MEDIA_FAILED
        case _:
            return None


def why(state: State, trigger: Trigger, event: e.Event | None, *, reached: bool, busy: bool) -> EndReason:
    """The end reason. ``reached``: a relay or the callee has the invitation; ``busy``: a device of the callee
    said so."""
    said = _said(event)
    if said is not None:
        return said
    if isinstance(event, e.Superseded | e.End) and event.reason is not None:
        return event.reason
    if trigger is Trigger.TIMEOUT:
        return _timeout(state, reached=reached, busy=busy)
    if trigger is Trigger.PATH_LOST:
        return EndReason.CONNECT_FAILED
    if trigger is Trigger.GIVEN_UP:
        return EndReason.CONNECTION_LOST
    return _hangup(state)


def farewell(side: Side, state: State, trigger: Trigger, *, contact: bool) -> Kind | None:
    """The signal that tells the peer, or None when there is nothing to tell or nobody to tell it to."""
    if trigger in FROM_PEER or trigger is Trigger.UNDELIVERABLE or state is State.PREPARING:
        return None
    if state is State.RINGING:
        # The caller's own timer ends it there too; a stranger hears nothing that its callee did not do.
        unasked = trigger in (Trigger.TIMEOUT, Trigger.REPLACED)
        unasked = unasked or (trigger is Trigger.SHUTDOWN and not contact)
        return None if unasked else Kind.REJECT
    if side is Side.CALLER and state in UNANSWERED:
        return Kind.CANCEL
    return Kind.END


def detail_of(event: e.Event | None) -> str:
    """What the peer's user said about the end, cut; for the log."""
    match event:
        case e.SignalArrived(signal=Signal(body=ReasonBody(detail=detail))):
            return claimed(detail, DETAIL_MAX)
        case _:
            return ""
