"""What each trigger does, once the table and the guards have let it through: the verbs of the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sidecar.schema import (
    CallOffer,
    CallRequest,
    EndReason,
    ParticipantJoined,
    ParticipantState,
)
from sidecar.signaling.messages import AcceptBody, AnswerBody, EmptyBody, InviteBody, Kind, ReasonBody, Signal

from . import effects as f
from . import events as e
from .data import CallData
from .facts import CALLEE_GEN, CALLER_GEN, digest
from .path import Path, Say, Step
from .states import Side

FAREWELLS_MAX = 8
"""Late accepts that a call answers; after that somebody is playing."""
DEVICES_MAX = 16
"""Devices of one callee that a caller keeps apart."""


class Conduct(CallData):
    """The actions. None of them changes the state of the call: that is the table's."""

    def act(self, event: e.Event | None, now: float) -> list[f.Effect]:
        """Does what the event asks for; a timeout and most ends ask for nothing."""
        if self.path is not None and isinstance(event, _OF_PATH | None):
            return self._walk(self.path, event, now)
        action = _ACTIONS.get(type(event))
        if action is not None:
            return action(self, event, now)
        return (self.own(event) or []) if event is not None else []

    def _walk(self, path: Path, event: e.PeerEvent | None, now: float) -> list[f.Effect]:
        """Rule 7 of the table: the path has the word."""
        return self._sent(path.handle_timer(now) if event is None else path.handle(event, now))

    def _sent(self, steps: list[Step]) -> list[f.Effect]:
        return [
            self.say(step.kind, step.body, gen=step.gen) if isinstance(step, Say) else step for step in steps
        ]

    def join_session(self) -> f.Effect:
        """Read what the peer says about this call."""
        facts, self.reads = self.facts, True
        return f.JoinSession(call_id=facts.call_id, session=facts.session, user_id=facts.peer_id)

    def dial(self, now: float) -> list[f.Effect]:
        opened = self.open_call()
        if not self.facts.offered:
            return [opened, self.invite(None, now)]
        return [opened, self.open_peer()]

    def invited(self, invitation: e.SignalArrived) -> None:
        """Remembers what the invitation brought."""
        signal = invitation.signal
        self.peer_pub = signal.sender.pub
        self.peer_device, self.peer_epoch = signal.sender.device, signal.epoch
        self.heard_ms = signal.issued_at_ms
        if self.facts.offered and isinstance(signal.body, InviteBody):
            self.offer = signal.body.sdp

    def ring(self, invitation: e.SignalArrived) -> list[f.Effect]:
        """Alerts the user; a stranger's call is shown and makes no noise (D8)."""
        facts, verified = self.facts, invitation.display_name is not None
        if facts.silent:
            return [self._request(invitation.signal.issued_at_ms, verified)]
        rung = f.Ring(call_id=facts.call_id, offer=self.offer_shown(invitation, waiting=False))
        out: list[f.Effect] = [rung, self.state_change()]
        if not facts.contact:
            return out
        return [*out, self.say(Kind.RINGING, EmptyBody())]

    def _request(self, at_ms: int, verified: bool) -> f.Effect:
        facts = self.facts
        data = CallRequest(
            call_id=facts.call_id,
            from_user_id=facts.peer_id,
            from_display_name=facts.peer_name,
            type=facts.call_type,
            timestamp=at_ms,
            room_id=facts.room_id,
            verified=verified,
        )
        return self.notify("aleph:callRequest", data)

    def offer_shown(self, invitation: e.SignalArrived, *, waiting: bool) -> CallOffer:
        """The invitation as a front end sees it; ``waiting``: we are in another call."""
        facts = self.facts
        return CallOffer(
            call_id=facts.call_id,
            from_user_id=facts.peer_id,
            from_display_name=facts.peer_name,
            type=facts.call_type,
            timestamp=invitation.signal.issued_at_ms,
            room_id=facts.room_id,
            waiting=waiting or None,
            verified=invitation.display_name is not None,
        )

    def _heard(self, event: e.SignalArrived, now: float) -> list[f.Effect]:
        signal = event.signal
        if self.path is not None:
            return self._sent(self.path.heard(signal, now))
        if self.ended:
            return self._repeat_farewell(signal)
        match signal.body:
            case AcceptBody():
                self.peer_device, self.peer_epoch = signal.sender.device, signal.epoch
                self.peer.state = ParticipantState.CONNECTING
                others = self.tell_others(EndReason.ANSWERED_ELSEWHERE, signal.sender.device or "")
                return [*self._take_accept(signal.body), *others]
            case AnswerBody():
                return [self.apply(signal.body.sdp)]
        self.reached = True
        if signal.kind is Kind.RINGING:
            self.peer.state = ParticipantState.RINGING
        if signal.kind is Kind.BUSY and not self._others():
            self.deadline = min(self.facts.ring_until, now + self.rules.busy_grace_s)
        return []

    def _others(self) -> frozenset[str]:
        """The callee's devices that have not said that they are busy."""
        return frozenset((self.facts.devices | self.devices_met) - self.devices_busy)

    def all_busy(self, device: str) -> bool:
        """Whether this ``busy`` speaks for all devices of the callee (C10)."""
        return bool(self.facts.devices) and self._others() <= {device}

    def note(self, signal: Signal) -> None:
        """Remembers which device spoke last and what about."""
        self.peer_pub = signal.sender.pub
        self.heard_ms = max(self.heard_ms, signal.issued_at_ms)
        device = signal.sender.device or ""
        if len(self.devices_met) < DEVICES_MAX:
            self.devices_met.add(device)
            if signal.kind is Kind.BUSY:
                self.devices_busy.add(device)

    def _take_accept(self, body: AcceptBody) -> list[f.Effect]:
        if body.sdp_type == "answer":
            return [self.apply(body.sdp)]
        out: list[f.Effect] = []
        if self.gen == CALLER_GEN:
            out.append(f.ClosePeer(call_id=self.facts.call_id, user_id=self.peer.user_id, gen=self.gen))
        self.gen, self.offer = CALLEE_GEN, body.sdp
        return [*out, self.open_peer()]

    def _repeat_farewell(self, signal: Signal) -> list[f.Effect]:
        """An accept that crossed our end, or a peer that tries to reconnect: it has not heard the end."""
        if self.farewell is None or self.reason is None or self.farewells >= FAREWELLS_MAX:
            return []
        self.farewells += 1
        self.peer_device = signal.sender.device
        reason = self.reason
        if reason is EndReason.DECLINED:
            return [self.say(Kind.CANCEL, ReasonBody(reason=EndReason.DECLINED_ELSEWHERE.value))]
        return [self.say(self.farewell, ReasonBody(reason=reason.value))]

    def refuse_late(self, signal: Signal) -> list[f.Effect]:
        """Another device of the callee accepted after the one that we are with (C08)."""
        if self.farewells >= FAREWELLS_MAX:
            return []
        self.farewells += 1
        taken = ReasonBody(reason=EndReason.ANSWERED_ELSEWHERE.value, device=self.peer_device or "")
        told = self.say(Kind.CANCEL, taken)
        return [msgspec.structs.replace(told, device=signal.sender.device)]

    def _answer(self, event: e.Accept, _: float) -> list[f.Effect]:
        self.me.state = ParticipantState.CONNECTING
        self.owner = event.owner
        if event.listen_only:
            self.me.lines = frozenset()
        if event.kinds is not None:
            self.me.lines &= event.kinds
        join = [] if self.facts.contact else [self.join_session()]
        return [*join, self.open_call(), self.open_peer()]

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
        caller = self.facts.side is Side.CALLER
        self.path = Path(
            self.facts.call_id,
            self.peer.user_id,
            offerer=caller is self.facts.offered,
            rules=self.rules.path,
            current=self.gen,
        )
        for person in (self.me, self.peer):
            person.state, person.joined_ms = ParticipantState.CONNECTED, self.started_ms
        joined = ParticipantJoined(call_id=self.facts.call_id, participant=self.peer.view())
        return [self.notify("aleph:participantJoined", joined)]

    def _remote_state(self, event: e.RemoteState, _: float) -> list[f.Effect]:
        return self.heard_state(self.peer, event)

    def _delivered(self, _: e.SignalDelivered, __: float) -> list[f.Effect]:
        self.reached = True
        return []


_OF_PATH = e.LocalDescription | e.PeerConnected | e.PeerLiveness | e.PeerFailed
"""What media says about a connection."""

_ACTIONS: Mapping[type[Any], Callable[[Conduct, Any, float], list[f.Effect]]] = {
    e.Accept: Conduct._answer,
    e.SignalArrived: Conduct._heard,
    e.SignalDelivered: Conduct._delivered,
    e.LocalDescription: Conduct._described,
    e.PeerConnected: Conduct._connected,
    e.RemoteState: Conduct._remote_state,
}
