"""What a call remembers, how a front end sees it, and the words it says: the nouns of the machine."""

from __future__ import annotations

import msgspec

from sidecar.schema import (
    CallSession,
    CallState,
    CallStateChange,
    CallType,
    EndReason,
    MediaTrackKind,
    ParticipantState,
)
from sidecar.signaling.messages import AnyBody, InviteBody, Kind, ReasonBody

from . import effects as f
from .facts import CALLEE_GEN, CALLER_GEN, Facts, kinds_of
from .own_media import OwnMedia
from .path import Path
from .people import Person
from .rules import MESH_LIMIT, Rules
from .states import Side, State, public_state
from .table import Trigger


class CallData(OwnMedia):
    """Everything about one call that changes, and the effects that tell others about it."""

    def __init__(self, rules: Rules, facts: Facts) -> None:
        self.rules = rules
        self.facts = facts
        incoming = facts.side is Side.CALLEE
        lines = kinds_of(facts.call_type)
        here = ParticipantState.RINGING if incoming else ParticipantState.CONNECTED
        there = ParticipantState.CONNECTING if incoming else ParticipantState.INVITED
        super().__init__(facts.call_id, Person(facts.me_id, facts.me_name, here, lines & rules.devices))
        self.peer = Person(facts.peer_id, facts.peer_name, there, lines)
        self.gen = CALLER_GEN if facts.offered else CALLEE_GEN
        self.state = State.RINGING if incoming else State.PREPARING if facts.offered else State.INVITING
        self.deadline: float | None = None
        self.reason: EndReason | None = None
        self.peer_device: str | None = None
        self.offer: str | None = None
        """The offer of the current connection until it is answered, whoever made it."""
        self.path: Path | None = None
        """The connection, once media has flowed."""
        self.peer_pub = ""
        """The full key that its signals are signed with."""
        self.peer_epoch: str | None = None
        """The life of the peer's process that this call is with."""
        self.heard_ms = 0
        """When the newest signal of the peer was made, by the peer's network time."""
        self.devices_met: set[str] = set()
        self.devices_busy: set[str] = set()
        self.reached = False
        self.reads = False
        """Whether the peer's words in the session of this call are read."""
        self.started_ms: int | None = None
        self.ended_ms: int | None = None
        self.farewell: Kind | None = None
        self.farewells = 0

    # --- looking ---------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        return self.state is State.ENDED

    @property
    def shown(self) -> CallState:
        """The state a front end sees."""
        started = self.started_ms is not None
        return public_state(self.state, started=started, held=self.me.held, reason=self.reason)

    @property
    def type(self) -> CallType:
        """An audio call in which somebody turns on a camera has become a video call."""
        cameras = MediaTrackKind.VIDEO in self.me.lines | self.peer.lines
        return CallType.VIDEO if cameras else self.facts.call_type

    def session(self) -> CallSession:
        """The whole call as a front end sees it."""
        facts = self.facts
        return CallSession(
            id=facts.call_id,
            type=self.type,
            state=self.shown,
            initiator_id=facts.peer_id if facts.side is Side.CALLEE else facts.me_id,
            participants=[self.me.view(), self.peer.view()],
            room_id=facts.room_id,
            domain_id=facts.domain_id,
            created_at=facts.created_ms,
            started_at=self.started_ms,
            ended_at=self.ended_ms,
            max_participants=min(self.rules.participants_max, MESH_LIMIT),
            recording=bool(self.recordings),
            end_reason=self.reason,
        )

    # --- making effects --------------------------------------------------------------------------------

    def open_peer(self) -> f.OpenPeer:
        return f.OpenPeer(
            call_id=self.facts.call_id, user_id=self.peer.user_id, gen=self.gen, remote_sdp=self.offer
        )

    def apply(self, sdp: str) -> f.ApplyAnswer:
        self.offer = None  # nothing is applied twice
        return f.ApplyAnswer(call_id=self.facts.call_id, user_id=self.peer.user_id, gen=self.gen, sdp=sdp)

    def invite(self, sdp: str | None, now: float) -> f.SendSignal:
        facts = self.facts
        body = InviteBody(
            call_type=facts.call_type.value, session=facts.session, display_name=facts.me_name, sdp=sdp
        )
        return self.say(Kind.INVITE, body, ttl_s=facts.ring_until - now)

    def say(
        self, kind: Kind, body: AnyBody, *, ttl_s: float | None = None, gen: int | None = None
    ) -> f.SendSignal:
        facts = self.facts
        return f.SendSignal(
            call_id=facts.call_id,
            user_id=facts.peer_id,
            device=self.peer_device,
            kind=kind,
            body=body,
            gen=self.gen if gen is None else gen,
            session=None if kind is Kind.INVITE else facts.session,
            ttl_s=self.rules.signal_ttl_s if ttl_s is None else ttl_s,
            room_id=facts.room_id,
            domain_id=facts.domain_id,
        )

    def tell_others(self, reason: EndReason, taker: str) -> list[f.Effect]:
        """Stops the callee's other devices; ``taker`` is the one that spoke for the user (C08, C09)."""
        if (self.facts.devices | self.devices_met) <= {taker}:
            return []
        told = self.say(Kind.CANCEL, ReasonBody(reason=reason.value, device=taker))
        return [msgspec.structs.replace(told, device=None)]

    def moved(self, old: State, trigger: Trigger, detail: str = "") -> f.Moved:
        return f.Moved(
            call_id=self.facts.call_id,
            old=old.value,
            new=self.state.value,
            cause=trigger.value,
            reason=self.reason.value if self.reason else None,
            detail=detail,
        )

    def state_change(self, participant: bool = False) -> f.Notify:
        data = CallStateChange(
            call_id=self.facts.call_id,
            state=self.shown,
            reason=self.reason,
            participant=self.peer.view() if participant else None,
        )
        return self.notify("aleph:callStateChange", data)
