"""What other services report, as events of the switchboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sidecar.calls import events as e
from sidecar.media import messages as m
from sidecar.schema import MediaWarningCode

_WARNINGS = {code.value: code for code in MediaWarningCode}


def _of(peer: m.PeerRef) -> dict[str, Any]:
    return {"call_id": peer.call_id, "user_id": peer.user_id, "gen": peer.gen}


def _description(event: m.LocalDescription) -> e.Event:
    return e.LocalDescription(**_of(event.peer), type=event.type, sdp=event.sdp)


def _connected(event: m.PeerConnected) -> e.Event:
    return e.PeerConnected(**_of(event.peer))


def _liveness(event: m.PeerLiveness) -> e.Event:
    return e.PeerLiveness(**_of(event.peer), level=e.Level(event.liveness.value))


def _failed(event: m.PeerFailed) -> e.Event:
    return e.PeerFailed(**_of(event.peer), reason=event.reason)


def _remote_state(event: m.RemoteState) -> e.Event:
    return e.RemoteState(**_of(event.peer), audio=event.audio, video=event.video, screen=event.screen)


def _warning(event: m.Warning) -> e.Event | None:
    code = _WARNINGS.get(event.code)
    if code is None:
        return None
    return e.MediaWarned(call_id=event.call_id, code=code, user_id=event.user_id)


def _lost(_: m.MediaLost) -> e.Event:
    return e.MediaLost()


_FROM_MEDIA: Mapping[type[m.Message], Callable[[Any], e.Event | None]] = {
    m.LocalDescription: _description,
    m.PeerConnected: _connected,
    m.PeerLiveness: _liveness,
    m.PeerFailed: _failed,
    m.RemoteState: _remote_state,
    m.Warning: _warning,
    m.MediaLost: _lost,
}


def from_media(event: m.Event) -> e.Event | None:
    """The same for calls; None for what says nothing to them: ``Ready``, replies, unknown warnings, and ends
    of recordings, which ``call_media`` tells."""
    translate = _FROM_MEDIA.get(type(event))
    return translate(event) if translate else None
