"""One 1:1 call: what the table allows, done. No I/O, clock or randomness: ``handle(...) -> effects``.

Nothing that could tell the peer where we are (candidates, media, or the fact that somebody is here) leaves
this machine before the user of this node has acted, except between contacts: to a contact the caller's
invitation carries the offer, and the callee's device says ``ringing`` (D4, D8). The ``receipt`` before it is
signaling's own: it says that an invitation was opened, whatever becomes of it.
"""

from __future__ import annotations

from sidecar.errors import Code, LocalError, RemoteError
from sidecar.schema import EndReason, ParticipantLeft, ParticipantState
from sidecar.signaling.messages import AcceptBody, AnswerBody, Kind, ReasonBody, Signal

from . import effects as f
from . import events as e
from . import record, triggers
from .conduct import Conduct
from .endings import detail_of, farewell, why
from .facts import CALLEE_GEN, CALLER_GEN, digest
from .rules import DETAIL_MAX
from .states import Side, State
from .table import Trigger, Verdict, decide


class Call(Conduct):
    """A call of this node with one peer, made and started by the switchboard."""

    def begin(self, now: float, invitation: e.SignalArrived | None = None) -> list[f.Effect]:
        """The first effects: of an outgoing call, or with ``invitation`` of an incoming one."""
        facts = self.facts
        self._set_deadline(now)
        joined = f.JoinSession(call_id=facts.call_id, session=facts.session, user_id=facts.peer_id)
        moved = f.Moved(call_id=facts.call_id, old="none", new=self.state.value, cause="begin")
        out: list[f.Effect] = [moved, joined]
        if invitation is None:
            return [*out, *self.dial(now), self.state_change()]
        return [*out, *self.ring(invitation)]

    def handle(self, event: e.Event | None, now: float) -> list[f.Effect]:
        """Takes one event, or None when the deadline has passed.

        Raises ``LocalError`` (call.wrong-state) for a command that makes no sense now, ``RemoteError`` for
        anything else that has no place; both leave the call as it was.
        """
        trigger = Trigger.TIMEOUT if event is None else triggers.of(event)
        decision = decide(self.facts.side, self.state, trigger)
        if decision is Verdict.WRONG:
            raise LocalError(
                f"cannot {trigger.value}: the call is {self.shown.value}",
                code=Code.CALL_WRONG_STATE,
                details={"callId": self.facts.call_id, "state": self.shown.value},
            )
        if decision is Verdict.IGNORE:
            return []
        if not isinstance(decision, State) or self._stray(event):
            raise RemoteError("out-of-place", f"{trigger.value} while {self.state.value}")
        if decision is State.ENDED and not self.ended:
            return self._end(trigger, event, now)
        return self._go(decision, trigger, event, now)

    def miss(self, reason: EndReason, now: float) -> list[f.Effect]:
        """Ends an invitation that never rang: nobody is shown anything but its line in the history."""
        old, self.reason = self.state, reason
        self.state, self.deadline, self.offer = State.ENDED, None, None
        self.ended_ms = self.facts.at_ms(now)
        self._part(joined=False)
        return [self.moved(old, Trigger.INVITE), self._line(reason, self.ended_ms)]

    def _line(self, reason: EndReason, ended_ms: int) -> f.CallEnded:
        line = record.of_session(self.session(), self.facts.side, reason, ended_ms)
        return f.CallEnded(call_id=self.facts.call_id, record=line)

    def _go(self, new: State, trigger: Trigger, event: e.Event | None, now: float) -> list[f.Effect]:
        old, shown, there = self.state, self.shown, self.peer.state
        self.state = new
        if new is not old:
            self._set_deadline(now, old)
        out: list[f.Effect] = [] if new is old else [self.moved(old, trigger)]
        out.extend(self.act(event, now))
        if self.shown is not shown or self.peer.state is not there:
            out.append(self.state_change(self.peer.state is not there))
        return out

    def _end(self, trigger: Trigger, event: e.Event | None, now: float) -> list[f.Effect]:
        old, joined = self.state, self.peer.joined_ms is not None
        self.reason = why(old, trigger, event, reached=self.reached, broken_by=self.broken_by)
        self.farewell = farewell(self.facts.side, old, trigger, contact=self.facts.contact)
        self.state, self.deadline, self.offer = State.ENDED, None, None
        self.ended_ms = self.facts.at_ms(now)
        self._part(joined)
        out: list[f.Effect] = [self.moved(old, trigger, detail_of(event))]
        if self.farewell is not None:
            detail = event.detail[:DETAIL_MAX] if isinstance(event, e.Reject) else ""
            out.append(self.say(self.farewell, ReasonBody(reason=self.reason.value, detail=detail)))
        if self.opened:
            out.append(f.CloseCall(call_id=self.facts.call_id))
        if trigger is Trigger.MEDIA_LOST:
            out.extend(self.recordings_lost())
        if joined:
            left = ParticipantLeft(call_id=self.facts.call_id, user_id=self.peer.user_id, reason=self.reason)
            out.append(self.notify("aleph:participantLeft", left))
        out.append(self.state_change(participant=True))
        out.append(self._line(self.reason, self.ended_ms))
        return out

    def _part(self, joined: bool) -> None:
        callee = self.me if self.facts.side is Side.CALLEE else self.peer
        for person in (self.me, self.peer):
            person.state = ParticipantState.DISCONNECTED
            if joined:
                person.left_ms = self.ended_ms
        if self.reason is EndReason.DECLINED:
            callee.state = ParticipantState.DECLINED

    def _set_deadline(self, now: float, old: State | None = None) -> None:
        """One deadline per state (rule 5 of the table)."""
        rules = self.rules
        match self.state:
            case State.PREPARING:
                self.deadline = min(now + rules.prepare_timeout_s, self.facts.ring_until)
            case State.INVITING | State.ALERTING | State.RINGING:
                self.deadline = self.facts.ring_until
            case State.CONNECTING if old is State.ANSWERING:
                pass  # the 15 s count from the accept
            case State.ANSWERING | State.CONNECTING:
                self.deadline = now + rules.connect_timeout_s
            case State.BROKEN:
                self.deadline = now + rules.broken_grace_s
            case _:
                self.deadline = None

    # --- guards (rule 6 of the table) ------------------------------------------------------------------

    def _stray(self, event: e.Event | None) -> bool:
        """Whether the event is about another connection, device or offer than ours."""
        match event:
            case e.RecordingChanged():
                return event.on == (event.recording_id in self.recordings) or (event.on and self.ended)
            case e.SignalArrived() if not self.ended:
                return self._foreign(event.signal)
            case e.LocalDescription():
                return self._elsewhere(event) or event.type != ("offer" if self.offer is None else "answer")
            case e.PeerEvent():
                return self._elsewhere(event)
            case e.SignalUndeliverable():
                return self.state is State.CONNECTING and event.kind is Kind.INVITE
            case _:
                return False

    def _elsewhere(self, event: e.PeerEvent) -> bool:
        return (event.user_id, event.gen) != (self.peer.user_id, self.gen)

    def _foreign(self, signal: Signal) -> bool:
        if self.peer_device is not None and signal.sender.device != self.peer_device:
            return True
        match signal.body:
            case AcceptBody(sdp_type="answer"):
                return signal.gen != CALLER_GEN or not self._is_ours(signal.body.offer_digest)
            case AcceptBody():
                return signal.gen != CALLEE_GEN or signal.body.sdp_type != "offer"
            case AnswerBody():
                return signal.gen != self.gen or not self._is_ours(signal.body.offer_digest)
            case _:
                return False

    def _is_ours(self, offer_digest: str | None) -> bool:
        return self.offer is not None and offer_digest == digest(self.offer)
