"""One 1:1 call: what the table allows, done. No I/O, clock or randomness: ``handle(...) -> effects``.

Nothing that could tell the peer where we are (candidates, media, or the fact that somebody is here) leaves
this machine before the user of this node has acted, except between contacts: to a contact the caller's
invitation carries the offer, and the callee's device says ``ringing`` (D4, D8). The ``receipt`` before it is
signaling's own: it says that an invitation was opened, whatever becomes of it.
"""

from __future__ import annotations

import msgspec

from sidecar.errors import Code, LocalError, RemoteError
from sidecar.schema import EndReason, ParticipantLeft, ParticipantState, Reconnecting
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

_HANGUPS = frozenset({Kind.REJECT, Kind.BUSY, Kind.CANCEL, Kind.END})


class Call(Conduct):
    """A call of this node with one peer, made and started by the switchboard."""

    def begin(self, now: float, invitation: e.SignalArrived | None = None) -> list[f.Effect]:
        """The first effects: of an outgoing call, or with ``invitation`` of an incoming one."""
        facts = self.facts
        self._set_deadline(now)
        moved = f.Moved(call_id=facts.call_id, old="none", new=self.state.value, cause="begin")
        if invitation is None:
            return [moved, self.join_session(), *self.dial(now), self.state_change()]
        self.invited(invitation)
        # A relay sees who reads a session: a stranger's is read when our user takes the call, not before.
        return [moved, self.join_session()] if facts.contact else [moved]

    def handle(self, event: e.Event | None, now: float) -> list[f.Effect]:
        """Takes one event, or None when the deadline has passed.

        Raises ``LocalError`` (call.wrong-state) for a command that makes no sense now, ``RemoteError`` for
        anything else that has no place; both leave the call as it was.
        """
        if isinstance(event, e.SignalArrived) and self._too_late(event.signal):
            return self.refuse_late(event.signal)
        if isinstance(event, e.MediaLost) and self.owner is not None:
            return []
        trigger = self._trigger(event)
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
        if isinstance(event, e.SignalArrived):
            self.note(event.signal)
        return self._step(decision, trigger, event, now)

    def _trigger(self, event: e.Event | None) -> Trigger:
        if event is None:
            return Trigger.TIMEOUT
        trigger = triggers.of(event)
        if trigger is Trigger.BUSY and isinstance(event, e.SignalArrived):
            return trigger if self.all_busy(event.signal.sender.device or "") else Trigger.ONE_BUSY
        return trigger

    def _step(self, new: State, trigger: Trigger, event: e.Event | None, now: float) -> list[f.Effect]:
        """One transition, and the one that the path makes of it (rule 7)."""
        if new is State.ENDED and not self.ended:
            return self._end(trigger, event, now)
        out = self._go(new, trigger, event, now)
        news = self.path.take_news() if self.path else None
        if news is not None:
            found = triggers.OF_NEWS[news]
            decision = decide(self.facts.side, self.state, found)
            if isinstance(decision, State):
                out += self._moved_by_path(decision, found, now)
        if self.path is not None:
            self.deadline = self.path.next_deadline()
        return out

    def _moved_by_path(self, new: State, found: Trigger, now: float) -> list[f.Effect]:
        if new is State.ENDED:
            return self._end(found, None, now)
        old, self.state = self.state, new
        data = Reconnecting(
            call_id=self.facts.call_id,
            user_id=self.peer.user_id,
            reconnecting=new is State.RECONNECTING,
            gen=self.path.gen if self.path else None,
        )
        return [self.moved(old, found), self.notify("aleph:reconnecting", data)]

    def miss(self, reason: EndReason, now: float) -> list[f.Effect]:
        """Ends an invitation that never rang: nobody is shown anything but its line in the history."""
        old, self.reason = self.state, reason
        self.state, self.deadline, self.offer = State.ENDED, None, None
        self.ended_ms = self.facts.at_ms(now)
        self._part(joined=False)
        return [self.moved(old, Trigger.INVITE), self._line(reason, self.ended_ms)]

    def forgo(self, now: float) -> list[f.Effect]:
        """Ends an invitation that gave way to our own call (C01): it leaves no line, nobody missed it."""
        return self.miss(EndReason.GLARE, now)[:1]

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
        self.reason = why(old, trigger, event, reached=self.reached, busy=bool(self.devices_busy))
        self.farewell = farewell(self.facts.side, old, trigger, contact=self.facts.contact)
        self.state, self.deadline, self.offer, self.path = State.ENDED, None, None, None
        self.ended_ms = self.facts.at_ms(now)
        self._part(joined)
        out: list[f.Effect] = [self.moved(old, trigger, detail_of(event))]
        if self.farewell is not None:
            detail = event.detail[:DETAIL_MAX] if isinstance(event, e.Reject) else ""
            said = self.say(self.farewell, ReasonBody(reason=self.reason.value, detail=detail))
            # Beside the invitation, where it is found by whoever has not seen that one yet (C06).
            unseen = self.farewell is Kind.CANCEL and self.facts.contact and not self.devices_met
            out.append(msgspec.structs.replace(said, session=None) if unseen else said)
        if trigger is Trigger.REJECTED and isinstance(event, e.SignalArrived):
            out += self.tell_others(EndReason.DECLINED_ELSEWHERE, event.signal.sender.device or "")
            self.farewell = Kind.CANCEL
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
            case e.PeerEvent():
                return self._elsewhere(event)
            case e.SignalUndeliverable():
                return self.state is State.CONNECTING and event.kind is Kind.INVITE
            case _:
                return False

    def _elsewhere(self, event: e.PeerEvent) -> bool:
        if event.user_id != self.peer.user_id:
            return True
        if self.path is not None:
            return not self.path.knows(event.gen)
        wanted = "offer" if self.offer is None else "answer"
        return event.gen != self.gen or (isinstance(event, e.LocalDescription) and event.type != wanted)

    def _foreign(self, signal: Signal) -> bool:
        return self._of_another(signal) or self._misnamed(signal)

    def _of_another(self, signal: Signal) -> bool:
        """From another device than the one that we are with, or from another life of its process: all that
        the latter can do to this call is end it."""
        if self.peer_device is not None and signal.sender.device != self.peer_device:
            return True
        return self.peer_epoch not in (None, signal.epoch) and signal.kind not in _HANGUPS

    def _misnamed(self, signal: Signal) -> bool:
        """Names another connection, offer or device than it has to."""
        match signal.body:
            case ReasonBody(device=device) if device and device == self.facts.me_device:
                return True
            case AnswerBody() if self.path is not None:
                return False
            case AcceptBody(sdp_type="answer"):
                return signal.gen != CALLER_GEN or not self._is_ours(signal.body.offer_digest)
            case AcceptBody():
                return signal.gen != CALLEE_GEN or signal.body.sdp_type != "offer"
            case AnswerBody():
                return signal.gen != self.gen or not self._is_ours(signal.body.offer_digest)
            case _:
                return False

    def _too_late(self, signal: Signal) -> bool:
        """Whether another device of the callee accepts what one has accepted already."""
        taken = self.peer_device is not None and self.facts.side is Side.CALLER and not self.ended
        return taken and signal.kind is Kind.ACCEPT and signal.sender.device != self.peer_device

    def _is_ours(self, offer_digest: str | None) -> bool:
        return self.offer is not None and offer_digest == digest(self.offer)
