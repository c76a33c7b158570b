"""What each trigger does, once the table and the guards have let it through: the verbs of the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sidecar.schema import (
    CallOffer,
    EndReason,
    MediaTrackKind,
    MediaWarning,
    ParticipantJoined,
    ParticipantState,
    Recording,
)
from sidecar.signaling.messages import AcceptBody, AnswerBody, EmptyBody, InviteBody, Kind, ReasonBody, Signal

from . import effects as f
from . import events as e
from .data import CallData
from .facts import CALLEE_GEN, CALLER_GEN, digest
from .states import Side

FAREWELLS_MAX = 3
"""Late accepts that an ended call answers; after that somebody is playing."""


class Conduct(CallData):
    """The actions. None of them changes the state of the call: that is the table's."""

    def act(self, event: e.Event | None, now: float) -> list[f.Effect]:
        """Does what the event asks for; a timeout and most ends ask for nothing."""
        action = _ACTIONS.get(type(event))
        return action(self, event, now) if action else []

    def dial(self, now: float) -> list[f.Effect]:
        opened = self.open_call()
        if not self.facts.offered:
            return [opened, self.invite(None, now)]
        return [opened, self.open_peer()]

    def ring(self, invitation: e.SignalArrived) -> list[f.Effect]:
        signal, facts = invitation.signal, self.facts
        self.peer_device = signal.sender.device
        if facts.offered and isinstance(signal.body, InviteBody):
            self.offer = signal.body.sdp
        offer = CallOffer(
            call_id=facts.call_id,
            from_user_id=facts.peer_id,
            from_display_name=facts.peer_name,
            type=facts.call_type,
            timestamp=signal.issued_at_ms,
            room_id=facts.room_id,
            verified=invitation.display_name is not None,
        )
        out: list[f.Effect] = [f.Ring(call_id=facts.call_id, offer=offer), self.state_change()]
        if not facts.contact:
            return out
        return [*out, self.say(Kind.RINGING, EmptyBody())]

    def _heard(self, event: e.SignalArrived, _: float) -> list[f.Effect]:
        signal = event.signal
        match signal.body:
            case AcceptBody() if self.ended:
                return self._repeat_farewell(signal)
            case AcceptBody():
                self.peer_device = signal.sender.device
                self.peer.state = ParticipantState.CONNECTING
                return self._take_accept(signal.body)
            case AnswerBody():
                return [self.apply(signal.body.sdp)]
        self.reached = True
        if signal.kind is Kind.RINGING:
            self.peer.state = ParticipantState.RINGING
        return []

    def _take_accept(self, body: AcceptBody) -> list[f.Effect]:
        if body.sdp_type == "answer":
            return [self.apply(body.sdp)]
        out: list[f.Effect] = []
        if self.gen == CALLER_GEN:
            out.append(f.ClosePeer(call_id=self.facts.call_id, user_id=self.peer.user_id, gen=self.gen))
        self.gen, self.offer = CALLEE_GEN, body.sdp
        return [*out, self.open_peer()]

    def _repeat_farewell(self, signal: Signal) -> list[f.Effect]:
        """An accept that crossed our end: whoever accepted has not heard it."""
        if self.farewell is None or self.reason is None or self.farewells >= FAREWELLS_MAX:
            return []
        self.farewells += 1
        self.peer_device = signal.sender.device
        return [self.say(self.farewell, ReasonBody(reason=self.reason.value))]

    def _answer(self, event: e.Accept, _: float) -> list[f.Effect]:
        self.me.state = ParticipantState.CONNECTING
        if event.listen_only:
            self.me.lines = frozenset()
        return [self.open_call(), self.open_peer()]

    def _described(self, event: e.LocalDescription, now: float) -> list[f.Effect]:
        theirs, self.offer = self.offer, None
        if theirs is None:
            self.offer = event.sdp
            if self.facts.side is Side.CALLER:
                return [self.invite(event.sdp, now)]
            return [self.say(Kind.ACCEPT, AcceptBody(sdp=event.sdp, sdp_type="offer"))]
        named = digest(theirs)
        if self.facts.side is Side.CALLER:
            return [self.say(Kind.ANSWER, AnswerBody(sdp=event.sdp, offer_digest=named))]
        body = AcceptBody(sdp=event.sdp, sdp_type="answer", offer_digest=named)
        return [self.say(Kind.ACCEPT, body)]

    def _connected(self, _: e.PeerConnected, now: float) -> list[f.Effect]:
        self.started_ms = self.facts.at_ms(now)
        for person in (self.me, self.peer):
            person.state, person.joined_ms = ParticipantState.CONNECTED, self.started_ms
        joined = ParticipantJoined(call_id=self.facts.call_id, participant=self.peer.view())
        return [self.notify("aleph:participantJoined", joined)]

    def _mute(self, event: e.Mute, _: float) -> list[f.Effect]:
        muted = self.me.muted | {event.kind} if event.muted else self.me.muted - {event.kind}
        if muted == self.me.muted:
            return []
        told = self.media_state(self.me, self.me.lines, muted)
        if not self.opened:
            return told
        return [f.SetMuted(call_id=self.facts.call_id, kind=event.kind, muted=event.muted), *told]

    def _remote_state(self, event: e.RemoteState, _: float) -> list[f.Effect]:
        said = {
            MediaTrackKind.AUDIO: event.audio,
            MediaTrackKind.VIDEO: event.video,
            MediaTrackKind.SCREEN: event.screen,
        }
        lines = frozenset(kind for kind, on in said.items() if on)
        return self.media_state(self.peer, lines, frozenset())

    def _line_changed(self, event: e.LineChanged, _: float) -> list[f.Effect]:
        lines = self.me.lines | {event.kind} if event.on else self.me.lines - {event.kind}
        return self.media_state(self.me, lines, self.me.muted)

    def _recording_changed(self, event: e.RecordingChanged, _: float) -> list[f.Effect]:
        if event.on:
            self.recordings[event.recording_id] = event.path
        else:
            del self.recordings[event.recording_id]
        return [self._recording(event.recording_id, event.path, event.on, event.duration_ms)]

    def recordings_lost(self) -> list[f.Effect]:
        """Recordings die with the media process; they are never left looking alive."""
        lost, self.recordings = self.recordings, {}
        return [self._recording(recording_id, path, False) for recording_id, path in lost.items()]

    def _recording(self, recording_id: str, path: str, on: bool, duration_ms: int | None = None) -> f.Effect:
        data = Recording(
            call_id=self.facts.call_id,
            user_id=self.me.user_id,
            recording=on,
            recording_id=recording_id,
            path=path,
            duration_ms=duration_ms,
        )
        return self.notify("aleph:recording", data)

    def _warned(self, event: e.MediaWarned, _: float) -> list[f.Effect]:
        data = MediaWarning(call_id=event.call_id, code=event.code, user_id=event.user_id)
        return [self.notify("aleph:mediaWarning", data)]

    def _broken(self, _: e.PeerFailed, __: float) -> list[f.Effect]:
        lost = self.started_ms is not None
        self.broken_by = EndReason.CONNECTION_LOST if lost else EndReason.CONNECT_FAILED
        return []

    def _delivered(self, _: e.SignalDelivered, __: float) -> list[f.Effect]:
        self.reached = True
        return []


_ACTIONS: Mapping[type[Any], Callable[[Conduct, Any, float], list[f.Effect]]] = {
    e.Accept: Conduct._answer,
    e.Mute: Conduct._mute,
    e.SignalArrived: Conduct._heard,
    e.SignalDelivered: Conduct._delivered,
    e.LocalDescription: Conduct._described,
    e.PeerConnected: Conduct._connected,
    e.PeerFailed: Conduct._broken,
    e.RemoteState: Conduct._remote_state,
    e.LineChanged: Conduct._line_changed,
    e.RecordingChanged: Conduct._recording_changed,
    e.MediaWarned: Conduct._warned,
}
