"""Performs the effects of the switchboard: every effect type has exactly one performer, ``PERFORMERS``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from sidecar.calls import effects as f
from sidecar.calls import events as e
from sidecar.calls.notes import LiveNote
from sidecar.errors import DeniedError, SidecarError, UnavailableError
from sidecar.log import Logger
from sidecar.media import messages as m
from sidecar.schema import CallRecord, MediaTrackKind
from sidecar.signaling.messages import AnyBody, Kind

LINES: Mapping[MediaTrackKind, m.Line] = {
    MediaTrackKind.AUDIO: m.Line.AUDIO,
    MediaTrackKind.VIDEO: m.Line.CAMERA,
    MediaTrackKind.SCREEN: m.Line.SCREEN,
}


class Media(Protocol):
    """What calls use of the media service."""

    def send(self, command: m.Command) -> None: ...


class Signaling(Protocol):
    """What calls use of the signaling service."""

    async def relation(self, user_id: str) -> e.Relation: ...
    async def send(
        self,
        *,
        call_id: str,
        user_id: str,
        kind: Kind,
        body: AnyBody,
        gen: int,
        session: str | None,
        ttl_s: float,
        device: str | None = None,
        room_id: str | None = None,
        domain_id: str | None = None,
    ) -> None: ...
    def prefetch(self, user_id: str) -> None: ...
    def devices(self, user_id: str) -> tuple[str, ...]: ...
    def join_session(self, call_id: str, session: str, user_id: str) -> None: ...
    def leave_session(self, call_id: str) -> None: ...


class Hub(Protocol):
    """Where events for front ends go."""

    def emit(self, name: str, data: msgspec.Struct) -> None: ...


class Archive(Protocol):
    """Where ended calls are kept."""

    def add(self, record: CallRecord) -> None: ...


class Journal(Protocol):
    """Where live calls are noted for the process after a crash."""

    def keep(self, notes: Iterable[LiveNote]) -> None: ...


class Performer:
    """Hands effects to the other services; what becomes of a signal comes back through ``on_fate``."""

    def __init__(
        self,
        *,
        media: Media,
        signaling: Signaling,
        hub: Hub,
        history: Archive,
        sources: Mapping[MediaTrackKind, str],
        ice_servers: list[m.IceServer],
        more: Mapping[type[f.Effect], Callable[[Any], None]],
        on_fate: Callable[[e.Event], None],
        log: Logger,
    ) -> None:
        """``more``: the performers of effects that only conferences have."""
        self._more = more
        self._media = media
        self._signaling = signaling
        self._hub = hub
        self._history = history
        self._sources = sources
        self._ice_servers = ice_servers
        self._on_fate = on_fate
        self._log = log
        self._sending: set[asyncio.Task[None]] = set()

    def perform(self, effect: f.Effect) -> None:
        """Does it now, or for a signal, begins to."""
        try:
            performer = PERFORMERS.get(type(effect))
            if performer is not None:
                performer(self, effect)
            else:
                self._more[type(effect)](effect)
        except Exception as error:  # one broken performer must not keep the others from ending a call
            name = type(effect).__name__
            self._log.error("effect failed", call_id=effect.call_id, effect=name, problem=repr(error))

    async def close(self, within_s: float) -> None:
        """Waits for relays to take the signals on their way, but no longer than that."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=within_s)
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _open_call(self, effect: f.OpenCall) -> None:
        sources = {LINES[kind]: self._sources[kind] for kind in effect.kinds if kind in self._sources}
        muted = [LINES[kind] for kind in effect.muted]
        self._media.send(m.OpenCall(call_id=effect.call_id, sources=sources, muted=muted, owner=effect.owner))

    def _open_peer(self, effect: f.OpenPeer) -> None:
        role = m.Role.OFFERER if effect.remote_sdp is None else m.Role.ANSWERER
        self._media.send(
            m.OpenPeer(
                peer=_peer(effect), role=role, remote_sdp=effect.remote_sdp, ice_servers=self._ice_servers
            )
        )

    def _apply_answer(self, effect: f.ApplyAnswer) -> None:
        self._media.send(m.ApplyAnswer(peer=_peer(effect), sdp=effect.sdp))

    def _close_peer(self, effect: f.ClosePeer) -> None:
        self._media.send(m.ClosePeer(peer=_peer(effect)))

    def _close_call(self, effect: f.CloseCall) -> None:
        self._media.send(m.CloseCall(call_id=effect.call_id))

    def _set_muted(self, effect: f.SetMuted) -> None:
        line = LINES[effect.kind]
        self._media.send(m.SetMuted(call_id=effect.call_id, line=line, muted=effect.muted))

    def _join_session(self, effect: f.JoinSession) -> None:
        self._signaling.join_session(effect.call_id, effect.session, effect.user_id)

    def _leave_session(self, effect: f.LeaveSession) -> None:
        self._signaling.leave_session(effect.call_id)

    def _send_signal(self, effect: f.SendSignal) -> None:
        task = asyncio.create_task(self._deliver(effect), name=f"signal-{effect.kind.value}")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _deliver(self, effect: f.SendSignal) -> None:
        try:
            await self._signaling.send(**{name: getattr(effect, name) for name in effect.__struct_fields__})
        except SidecarError as error:
            self._log.warning(
                "signal not delivered", call_id=effect.call_id, kind=effect.kind.value, code=error.code.value
            )
            self._on_fate(
                e.SignalUndeliverable(
                    call_id=effect.call_id,
                    kind=effect.kind,
                    retrying=isinstance(error, UnavailableError),
                    denied=isinstance(error, DeniedError),
                )
            )
        else:
            self._on_fate(e.SignalDelivered(call_id=effect.call_id, kind=effect.kind))

    def _ring(self, effect: f.Ring) -> None:
        self._hub.emit("aleph:callOffer", effect.offer)

    def _notify(self, effect: f.Notify) -> None:
        self._hub.emit(effect.event, effect.data)

    def _ended(self, effect: f.CallEnded) -> None:
        self._history.add(effect.record)

    def _moved(self, effect: f.Moved) -> None:
        more = {"reason": effect.reason, "detail": effect.detail or None}
        fields = {name: value for name, value in more.items() if value is not None}
        self._log.info(
            "call state", call_id=effect.call_id, old=effect.old, new=effect.new, cause=effect.cause, **fields
        )


def _peer(effect: f.OpenPeer | f.ApplyAnswer | f.ClosePeer) -> m.PeerRef:
    return m.PeerRef(call_id=effect.call_id, user_id=effect.user_id, gen=effect.gen)


PERFORMERS: Mapping[type[f.Effect], Callable[[Performer, Any], None]] = {
    f.OpenCall: Performer._open_call,
    f.OpenPeer: Performer._open_peer,
    f.ApplyAnswer: Performer._apply_answer,
    f.ClosePeer: Performer._close_peer,
    f.CloseCall: Performer._close_call,
    f.SetMuted: Performer._set_muted,
    f.JoinSession: Performer._join_session,
    f.LeaveSession: Performer._leave_session,
    f.SendSignal: Performer._send_signal,
    f.Ring: Performer._ring,
    f.Notify: Performer._notify,
    f.CallEnded: Performer._ended,
    f.Moved: Performer._moved,
}
