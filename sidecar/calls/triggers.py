"""Which trigger of the table an event is. The only place where the content of an event decides that."""

from __future__ import annotations

from sidecar.schema import EndReason
from sidecar.signaling.messages import AcceptBody, Kind, Signal

from . import events as e
from .path import News
from .table import Trigger

_SIGNALS = {
    Kind.INVITE: Trigger.INVITE,
    Kind.RECEIPT: Trigger.RECEIPT,
    Kind.RINGING: Trigger.ALERT,
    Kind.ANSWER: Trigger.ANSWER,
    Kind.REJECT: Trigger.REJECTED,
    Kind.BUSY: Trigger.BUSY,
    Kind.CANCEL: Trigger.CANCELLED,
    Kind.END: Trigger.REMOTE_END,
    Kind.OFFER: Trigger.OFFER,
    Kind.RESTART: Trigger.RESTART,
}

_PLAIN: dict[type[e.Event], Trigger] = {
    e.Accept: Trigger.ACCEPT,
    e.Reject: Trigger.REJECT,
    e.End: Trigger.END,
    e.Hold: Trigger.HOLD,
    e.Resume: Trigger.RESUME,
    e.Mute: Trigger.MUTE,
    e.UseMedia: Trigger.USE,
    e.SignalDelivered: Trigger.DELIVERED,
    e.LocalDescription: Trigger.DESCRIPTION,
    e.PeerConnected: Trigger.CONNECTED,
    e.RemoteState: Trigger.REMOTE_STATE,
    e.LineChanged: Trigger.LINE,
    e.RecordingChanged: Trigger.RECORDING,
    e.MediaWarned: Trigger.WARNING,
    e.MediaLost: Trigger.MEDIA_LOST,
    e.Shutdown: Trigger.SHUTDOWN,
}

_PATH_FAULTS = frozenset({EndReason.CONNECT_FAILED, EndReason.CONNECTION_LOST, EndReason.REMOTE_HANGUP})
"""Failures that look the same whether the network died or the peer just left."""

_CARRYING_SDP = frozenset({Kind.INVITE, Kind.ACCEPT, Kind.ANSWER})
"""Signals without which no call comes up; the others are courtesy, or liveness makes up for them."""


def _of_signal(signal: Signal) -> Trigger:
    if signal.kind is not Kind.ACCEPT:
        return _SIGNALS[signal.kind]
    answers = isinstance(signal.body, AcceptBody) and signal.body.sdp_type == "answer"
    return Trigger.ACCEPT_ANSWER if answers else Trigger.ACCEPT_OFFER


def _of_undeliverable(event: e.SignalUndeliverable) -> Trigger:
    lost = event.kind in _CARRYING_SDP and not event.retrying
    return Trigger.UNDELIVERABLE if lost else Trigger.DELAYED


def of(event: e.Event) -> Trigger:
    """The trigger of an event; ``Initiate`` has none, it makes the call.

    ``BUSY`` may become ``ONE_BUSY``: the machine knows the callee's devices.
    """
    match event:
        case e.SignalArrived():
            return _of_signal(event.signal)
        case e.SignalUndeliverable():
            return _of_undeliverable(event)
        case e.PeerLiveness():
            return Trigger.PATH_LOST if event.level is e.Level.LOST else Trigger.PATH_CHANGED
        case e.Superseded():
            return Trigger.GLARE if event.reason is EndReason.GLARE else Trigger.REPLACED
        case e.PeerFailed():
            return Trigger.PEER_BROKEN if event.reason in _PATH_FAULTS else Trigger.PEER_REFUSED
        case _:
            return _PLAIN[type(event)]


OF_NEWS = {News.UP: Trigger.PATH_UP, News.DOWN: Trigger.PATH_DOWN, News.LOST: Trigger.GIVEN_UP}
"""What the path has found out, as triggers."""
