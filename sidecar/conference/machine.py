"""One conference as this node sees it: known, ringing, joined or over. No I/O, clock or randomness.

``handle`` and ``handle_timer`` return effects, to be performed in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.calls.machine import Call
from sidecar.calls.people import Person
from sidecar.calls.states import FAULTS
from sidecar.errors import Code, DeniedError, LocalError, RemoteError
from sidecar.ids import fingerprint
from sidecar.schema import (
    CallDirection,
    CallOffer,
    CallRecord,
    CallSession,
    CallState,
    CallStateChange,
    EndReason,
    MediaTrackKind,
    ParticipantState,
)
from sidecar.signaling.messages import (
    AnnounceBody,
    EmptyBody,
    JoinBody,
    Kind,
    MemberInfo,
    ReasonBody,
    TargetBody,
)
from sidecar.trust.names import claimed

from . import effects as f
from . import events as e
from .crowd import Crowd
from .facts import ConferenceFacts, Room
from .ids import proves
from .member import Member
from .place import Gate, Place
from .rules import ConferenceRules
from .table import State, Trigger, Verdict, decide

MEDIA_COMMANDS = (ce.Mute, ce.Hold, ce.Resume, ce.UseMedia)
BACKDATED_MS = 60_000
"""How long before its word a member may claim to have joined: that order decides who is admitted."""


class Conference(Crowd):
    """Made by the hall when one is created, announced, or grown from a call."""

    def __init__(
        self,
        rules: ConferenceRules,
        facts: ConferenceFacts,
        me: Person,
        pub: str,
        device: str,
        *,
        room: Room | None = None,
        gate: Gate | None = None,
    ) -> None:
        super().__init__(rules, facts, me, pub, device)
        self.room = room
        self._place = Place(gate, facts)
        self.state = State.KNOWN
        self.reason: EndReason | None = None
        """Why our user is not in it any more."""
        self.rung = False
        """It has asked our user, which it does once."""
        self.removed: set[str] = set()
        self.joined_at: float | None = None
        self.ended_ms: int | None = None
        self.network_offset_ms = 0
        self._ring_until: float | None = None
        self._stale_at: float | None = facts.created + rules.stale_s
        self._announce_at: float | None = None
        self._lease_at: float | None = None
        self._forget_at: float | None = None

    # --- looking ---------------------------------------------------------------------------------------

    @property
    def joined(self) -> bool:
        return self.state is State.JOINED

    @property
    def over(self) -> bool:
        """Whether it may be forgotten."""
        return self.state is State.ENDED and self._forget_at is None

    @property
    def limit(self) -> int:
        of_room = self.room.participants_max if self.room else None
        caps = (self.rules.participants_max, of_room, self._place.participants_max(self.me.user_id))
        return max(2, min(cap for cap in caps if cap is not None))

    def moderates(self, user_id: str) -> bool:
        """Who may remove and hush: the initiator, and those whom room and domain name (K09)."""
        of_room = self.room.moderators if self.room else frozenset()
        return user_id == self.facts.initiator_id or user_id in of_room or self._place.moderates(user_id)

    @property
    def shown(self) -> CallState:
        """The seed's state."""
        match self.state:
            case State.RINGING:
                return CallState.RINGING
            case State.JOINED if self.me.held:
                return CallState.ON_HOLD
            case State.JOINED if self.started_ms is not None:
                return CallState.ACTIVE
            case State.JOINED:
                return CallState.CONNECTING if self.members else CallState.INITIATING
            case _:
                failed = self.reason in FAULTS and self.started_ms is None
                return CallState.FAILED if failed else CallState.ENDED

    def session(self) -> CallSession:
        """The conference as a front end sees it."""
        return CallSession(
            id=self.call_id,
            type=self.facts.call_type,
            state=self.shown,
            initiator_id=self.facts.initiator_id,
            participants=self.participants(),
            room_id=self.facts.room_id,
            domain_id=self.facts.domain_id,
            created_at=self.facts.created_ms,
            started_at=self.started_ms,
            ended_at=self.ended_ms,
            max_participants=self.limit,
            recording=bool(self.recordings),
            end_reason=self.reason,
        )

    def next_deadline(self) -> float | None:
        due = [self._ring_until, self._stale_at, self._announce_at, self._lease_at, self._forget_at]
        if self.joined:
            due += self.tending_deadlines()
            due.append(None if self._alone_since is None else self._alone_since + self.rules.alone_s)
        return min((at for at in due if at is not None), default=None)

    # --- what happens ------------------------------------------------------------------------------------

    def handle(self, event: ce.Event, now: float) -> list[cf.Effect]:
        """Takes one event. Raises LocalError or DeniedError for a command that cannot be, RemoteError for
        anything else that has no place here."""
        action = _ACTIONS.get(type(event))
        if action is not None:
            return action(self, event, now)
        if isinstance(event, ce.PeerEvent):
            return self.media_said(event, now) if self.joined else []
        if isinstance(event, MEDIA_COMMANDS) and decide(self.state, Trigger.USE) is Verdict.WRONG:
            raise self._wrong("use media")
        before = self.shown
        out = self.own(event) or []
        return [*out, *([self._state_change()] if self.shown is not before else [])]

    def handle_timer(self, now: float) -> list[cf.Effect]:
        """Does what has become due."""
        out: list[cf.Effect] = []
        if self._ring_until is not None and self._ring_until <= now:
            out += self._move(Trigger.RUNG_OUT, EndReason.NO_ANSWER, now)
        if self._stale_at is not None and self._stale_at <= now:
            self._stale_at = None
            out += self._move(Trigger.STALE, EndReason.REMOTE_HANGUP, now)
        if self._forget_at is not None and self._forget_at <= now:
            self._forget_at = None
        if not self.joined:
            return out
        shown = self.shown
        out += self.tend(now)
        if self._lease_at is not None and self._lease_at <= now:
            out += self._refresh(now)
        if self._announce_at is not None and self._announce_at <= now:
            out += self._announce(now, ring=now - self.facts.created < self.rules.ring_s)
        if self._alone_since is not None and self._alone_since + self.rules.alone_s <= now:
            return out + self._move(Trigger.ALONE, EndReason.REMOTE_HANGUP, now)
        return [*out, *self._connect_all(now), *([self._state_change()] if self.shown is not shown else [])]

    def _move(self, trigger: Trigger, reason: EndReason, now: float) -> list[cf.Effect]:
        """A transition of the table that takes our user out, or keeps it out."""
        decision = decide(self.state, trigger)
        if not isinstance(decision, State):
            return []
        old, self.state = self.state, decision
        self._ring_until = None
        moved = cf.Moved(
            call_id=self.call_id, old=old.value, new=decision.value, cause=trigger.value, reason=reason.value
        )
        out: list[cf.Effect] = [moved]
        if old is State.JOINED:
            out += self._depart(reason, now)
        if decision is State.ENDED:
            self._stale_at, self._forget_at = None, now + self.rules.ended_ttl_s
        if old in (State.JOINED, State.RINGING):
            self.reason, self.ended_ms = reason, self.facts.at_ms(now)
            self.me.state = ParticipantState.DISCONNECTED
            out += [self._state_change(), self._line(reason)]
        return out

    def _state_change(self) -> cf.Effect:
        data = CallStateChange(call_id=self.call_id, state=self.shown, reason=self.reason)
        return self.notify("aleph:callStateChange", data)

    def _line(self, reason: EndReason) -> cf.Effect:
        outgoing = self.facts.initiator_id == self.me.user_id
        assert self.ended_ms is not None
        record = CallRecord(
            call_id=self.call_id,
            type=self.facts.call_type,
            direction=CallDirection.OUTGOING if outgoing else CallDirection.INCOMING,
            initiator_id=self.facts.initiator_id,
            participants=self.participants(),
            room_id=self.facts.room_id,
            domain_id=self.facts.domain_id,
            created_at=self.facts.created_ms,
            started_at=self.started_ms,
            ended_at=self.ended_ms,
            end_reason=reason,
        )
        return cf.CallEnded(call_id=self.call_id, record=record)

    def _wrong(self, what: str) -> LocalError:
        return LocalError(
            f"cannot {what}: the conference is {self.shown.value}",
            code=Code.CALL_WRONG_STATE,
            details={"callId": self.call_id, "state": self.shown.value},
        )

    # --- our user ------------------------------------------------------------------------------------------

    def has_room(self, now: float) -> bool:
        """Whether our user would be admitted."""
        others = [user for user, _ in self.present(now) if user != self.me.user_id]
        return len(others) < self.limit and self.me.user_id not in self.removed

    def join(self, event: e.Join | e.Create, now: float) -> list[cf.Effect]:
        """Our user is in from now on. Raises LocalError ``conference.full``."""
        decision = decide(self.state, Trigger.JOIN)
        if decision is Verdict.IGNORE:
            return []
        if decision is Verdict.WRONG or self.me.user_id in self.removed:
            raise self._wrong("join")
        self._place.must_admit(self.me.user_id)
        if not self.has_room(now):
            raise LocalError(
                "the conference is full",
                code=Code.CONFERENCE_FULL,
                details={"callId": self.call_id, "maxParticipants": self.limit},
            )
        old, self.state = self.state, State.JOINED
        self.reason, self.ended_ms, self._ring_until, self._stale_at = None, None, None, None
        self.owner, self.lease, self.joined_at, self.started_ms = event.owner, event.lease, now, None
        self.network_offset_ms = event.network_ms - self.facts.at_ms(now)
        self._enlist(event.network_ms)
        self.given_up.clear()
        self._alone_since = None
        for user_id, info in list(self.roster.present()):
            if info.pub != self.pub:
                self.learn(info, user_id, event.network_ms, now)
        if isinstance(event, e.Join):
            self.me.lines &= frozenset() if event.listen_only else event.kinds or self.me.lines
        self.me.state, self.me.joined_ms = ParticipantState.CONNECTED, self.facts.at_ms(now)
        moved = cf.Moved(call_id=self.call_id, old=old.value, new=self.state.value, cause=Trigger.JOIN.value)
        return [moved, self.open_call(), *self._settle_in(now), self._state_change()]

    def _enlist(self, network_ms: int) -> None:
        self.roster.merge(
            MemberInfo(
                pub=self.pub, device=self.device, lease=self.lease, joined_at=network_ms, at=network_ms
            )
        )

    def _settle_in(self, now: float) -> list[cf.Effect]:
        """What starts when we are in: our lease, gossip, announcements, connections."""
        self._gossip_at = now + self.rules.gossip_s
        self._announce_at = now + self.rules.announce_s
        out = self._refresh(now)
        guests = self.room.members[: self.rules.announce_max] if self.room else ()
        others = dict.fromkeys([*(guest.user_id for guest in guests), *self.members])
        out += [self.listen(user_id) for user_id in others if user_id != self.me.user_id]
        for user_id, member in self.members.items():
            if member.info.lease:
                lease = member.info.lease
                out.append(
                    f.WatchLease(call_id=self.call_id, user_id=user_id, lease=lease, key=self.facts.key)
                )
        return [*out, *self._connect_all(now)]

    def begin(self, event: e.Create, now: float) -> list[cf.Effect]:
        """The first moments of a conference that our user creates."""
        return [*self.join(event, now), *self._announce(now, ring=event.ring)]

    def _leave(self, event: ce.End, now: float) -> list[cf.Effect]:
        declined = self.state is State.RINGING
        asked = EndReason.DECLINED if declined else EndReason.LOCAL_HANGUP
        return self._move(Trigger.LEAVE, event.reason or asked, now)

    def _decline(self, _: ce.Reject, now: float) -> list[cf.Effect]:
        if decide(self.state, Trigger.DECLINE) is Verdict.WRONG:
            raise self._wrong("decline")
        asker = self.facts.initiator_id
        told = [self.say(asker, Kind.REJECT, ReasonBody(reason=EndReason.DECLINED.value))]
        was_asked = self.state is State.RINGING
        return [*(told if was_asked else []), *self._move(Trigger.DECLINE, EndReason.DECLINED, now)]

    def _depart(self, reason: EndReason, now: float) -> list[cf.Effect]:
        """Says goodbye to everybody, closes everything, and leaves word in the lease."""
        goodbye = ReasonBody(reason=reason.value)
        out: list[cf.Effect] = [self.say(user_id, Kind.END, goodbye) for user_id in self.members]
        for user_id, member in self.members.items():
            if member.path is not None:
                member.path.close()
                member.path, member.met, member.shown = None, False, False
            out.append(f.UnwatchLease(call_id=self.call_id, user_id=user_id))
        info = self.my_info
        if info is not None:
            gone = MemberInfo(
                pub=info.pub, device=info.device, lease=info.lease, joined_at=info.joined_at,
                at=max(info.at + 1, self._network_ms(now)), left=True,
            )  # fmt: skip
            self.roster.merge(gone)
            out.append(f.PutLease(call_id=self.call_id, info=gone, key=self.facts.key))
        out += [cf.CloseCall(call_id=self.call_id), cf.LeaveSession(call_id=self.call_id)]
        self.opened, self.lease, self._alone_since = False, "", None
        self._lease_at = self._announce_at = self._gossip_at = None
        self._stale_at = now + self.rules.stale_s
        self.me.left_ms = self.facts.at_ms(now)
        return out

    def _network_ms(self, now: float) -> int:
        return self.facts.network_ms(now, self.network_offset_ms)

    def _refresh(self, now: float) -> list[cf.Effect]:
        self._lease_at = now + self.rules.refresh_s
        info = self.my_info
        if info is None:
            return []
        info = msgspec.structs.replace(info, at=max(info.at, self._network_ms(now)))
        self.roster.merge(info)
        return [f.PutLease(call_id=self.call_id, info=info, key=self.facts.key)]

    # --- telling others about it -------------------------------------------------------------------------

    def _announce(self, now: float, *, ring: bool) -> list[cf.Effect]:
        """To every member of the room that is not in, by the one who is in for longest (K01)."""
        self._announce_at = now + self.rules.announce_s
        first = next((user_id for user_id, _ in self.present(now)), None)
        if self.room is None or first != self.me.user_id:
            return []
        absent = [guest for guest in self.room.members if self._is_absent(guest.user_id)]
        return [self.announcement(guest.user_id, ring=ring) for guest in absent[: self.rules.announce_max]]

    def _is_absent(self, user_id: str) -> bool:
        return user_id not in (self.me.user_id, *self.members) and not self._refuses(user_id)

    def _refuses(self, user_id: str) -> bool:
        """Whether somebody has no place here: removed by a moderator, or kept out by our own copy (S21)."""
        return user_id in self.removed or self._place.refusal(user_id) is not None

    def announcement(self, user_id: str, *, ring: bool, kind: Kind = Kind.ANNOUNCE) -> cf.SendSignal:
        """What somebody needs to know to look at it and to join."""
        facts = self.facts
        body = AnnounceBody(
            call_type=facts.call_type.value,
            session=facts.session,
            key=facts.key,
            nonce=facts.nonce,
            display_name=self.me.display_name,
            created_at=facts.created_at,
            ring=ring,
            members=[info for info in self.roster.all() if not info.left][: 2 * self.limit],
        )
        return cf.SendSignal(
            call_id=self.call_id,
            user_id=user_id,
            device=None,
            kind=kind,
            body=body,
            gen=0,
            session=None,
            ttl_s=self.rules.signal_ttl_s,
            room_id=facts.room_id,
            domain_id=facts.domain_id,
        )

    def invite(self, user_id: str, name: str, now: float) -> list[cf.Effect]:
        """Our user asks somebody in; into the conference of a room only its members come."""
        if not self.joined:
            raise self._wrong("invite")
        if user_id == self.me.user_id or user_id in self.members:
            return []
        self._place.must_admit(user_id)
        if len(self.present(now)) >= self.limit:
            raise LocalError("the conference is full", code=Code.CONFERENCE_FULL)
        self.removed.discard(user_id)
        self.invited[user_id] = Person(user_id, name, ParticipantState.INVITED, frozenset())
        return [self.listen(user_id), self.announcement(user_id, ring=True)]

    def _hush(self, event: e.Hush, _: float) -> list[cf.Effect]:
        self._must_moderate()
        self._must_have(event.user_id)
        return [self.say(event.user_id, Kind.HUSH, EmptyBody())]

    def _remove(self, event: e.Remove, now: float) -> list[cf.Effect]:
        self._must_moderate()
        self._must_have(event.user_id)
        told: list[cf.Effect] = [
            self.say(user_id, Kind.REMOVE, TargetBody(event.user_id)) for user_id in self.members
        ]
        return [*told, *self._take_out(event.user_id, now)]

    def _must_moderate(self) -> None:
        if not self.joined:
            raise self._wrong("moderate")
        if not self.moderates(self.me.user_id):
            raise DeniedError("only moderators may do this")

    def _must_have(self, user_id: str) -> None:
        if user_id not in self.members:
            raise LocalError("not in this conference", details={"field": "userId"})

    def _take_out(self, user_id: str, now: float) -> list[cf.Effect]:
        self.removed.add(user_id)
        info = self.roster.get(user_id)
        if info is not None:
            gone = MemberInfo(
                pub=info.pub, device=info.device, lease=info.lease, joined_at=info.joined_at,
                at=info.at + 1, left=True,
            )  # fmt: skip
            self.roster.merge(gone)
        return self.gone(user_id, EndReason.POLICY_DENIED, now)

    # --- signals -----------------------------------------------------------------------------------------

    def _heard(self, event: ce.SignalArrived, now: float) -> list[cf.Effect]:
        signal, shown = event.signal, self.shown
        if self._refuses(event.user_id):
            raise RemoteError("refused-member")
        if event.display_name:
            self.names[event.user_id] = event.display_name
        match signal.body:
            case AnnounceBody():
                out = self._announced(event, signal.body, now)
            case JoinBody():
                out = self._joins(event, signal.body, now)
            case TargetBody(user_id=user_id):
                out = self._told_to_remove(event.user_id, user_id, now)
            case ReasonBody():
                out = self._said_goodbye(event, now)
            case _ if signal.kind is Kind.HUSH:
                out = self._told_to_hush(event.user_id)
            case _:
                out = self.negotiated(event, now) if self.joined else []
        return [*out, *([self._state_change()] if self.shown is not shown and self.joined else [])]

    def _announced(self, event: ce.SignalArrived, body: AnnounceBody, now: float) -> list[cf.Effect]:
        if (body.session, body.key) != (self.facts.session, self.facts.key):
            raise RemoteError("another-session")
        out: list[cf.Effect] = []
        for info in body.members:
            out += self.account(info, event.network_ms, now)
        if self.joined:
            return [*out, *self._connect_all(now), *self._obey_limit(now)]
        self._stale_at = now + self.rules.stale_s
        if body.ring and not self.rung:
            out += self.ring(event, body, now)
        return out

    def ring(
        self, event: ce.SignalArrived, body: AnnounceBody, now: float, *, waiting: bool = False
    ) -> list[cf.Effect]:
        """Asks our user, once. ``waiting``: another call is on, so it is shown and makes no noise."""
        self.rung = True
        left_s = self.rules.ring_s - (event.network_ms - event.signal.issued_at_ms) / 1000
        if left_s < 3.0:
            return []
        offer = CallOffer(
            call_id=self.call_id,
            from_user_id=event.user_id,
            from_display_name=event.display_name or claimed(body.display_name),
            type=self.facts.call_type,
            timestamp=event.signal.issued_at_ms,
            room_id=self.facts.room_id,
            waiting=waiting or None,
            verified=event.display_name is not None,
        )
        if waiting:
            return [self.notify("aleph:callOffer", offer)]
        self.state, self._ring_until = State.RINGING, now + left_s
        moved = cf.Moved(
            call_id=self.call_id, old=State.KNOWN.value, new=self.state.value, cause=Trigger.RING.value
        )
        return [moved, cf.Ring(call_id=self.call_id, offer=offer), self._state_change()]

    def adopt(self, call: Call, lease: str, network_ms: int, now: float) -> list[cf.Effect]:
        """Takes over a 1:1 call with its connection, sources and recordings (no media is interrupted)."""
        assert call.path is not None
        assert call.peer_device is not None
        self.state, self.rung, self._stale_at = State.JOINED, True, None
        self.owner, self.opened, self.recordings = call.owner, call.opened, call.recordings
        self.lease, self.joined_at, self.started_ms = lease, now, call.started_ms
        self.network_offset_ms = network_ms - self.facts.at_ms(now)
        self._enlist(network_ms)
        user_id = call.facts.peer_id
        info = MemberInfo(pub=call.peer_pub, device=call.peer_device, joined_at=network_ms, at=network_ms)
        self.roster.merge(info)
        member = Member(call.peer, info, now + self.rules.lease_s, call.path, call.peer_epoch)
        member.met = member.shown = True
        self.members[user_id] = member
        self.presence.expect(user_id, now)
        if not call.path.down:
            self.presence.hear(user_id, now)
        self.planner.follow(2, now)
        return [
            self.listen(user_id),
            *self._settle_in(now),
        ]

    def account(self, info: MemberInfo, network_ms: int, now: float, name: str = "") -> list[cf.Effect]:
        """An account of a member, whoever gave it."""
        user_id = fingerprint(info.pub)
        if user_id == self.me.user_id:
            return self._told_of_me(info, now)
        if self._refuses(user_id) or info.at > network_ms + BACKDATED_MS:
            return []
        return self.learn(info, user_id, network_ms, now, name)

    def _told_of_me(self, info: MemberInfo, now: float) -> list[cf.Effect]:
        """Another device of our user is in: it has taken the conference, and we stop."""
        mine = self.my_info
        if info.left or info.device == self.device or not info.device:
            return []
        if mine is not None and (info.joined_at, info.device) <= (mine.joined_at, mine.device):
            return []
        return self._move(Trigger.TAKEN, EndReason.ANSWERED_ELSEWHERE, now)

    def _joins(self, event: ce.SignalArrived, body: JoinBody, now: float) -> list[cf.Effect]:
        signal = event.signal
        device = signal.sender.device or ""
        if not proves(body.proof, self.facts.key, self.call_id, signal.sender.pub, device):
            raise RemoteError("no-proof")
        joined_at = max(body.joined_at, signal.issued_at_ms - BACKDATED_MS)
        info = MemberInfo(
            pub=signal.sender.pub,
            device=device,
            lease=body.lease,
            joined_at=joined_at,
            at=signal.issued_at_ms,
        )
        out = self.account(info, event.network_ms, now, event.display_name or body.display_name)
        if not self.joined or event.user_id not in self.members:
            return out
        if not self.admitted(event.user_id, self.limit, now):
            told = self.announcement(event.user_id, ring=False)
            return [*out, told, *self.gone(event.user_id, EndReason.POLICY_DENIED, now)]
        self._gossip_at = now  # who asked for it may be the only one who has heard of the new member
        return [*out, *self.offered(event, body, now), *self._obey_limit(now)]

    def _obey_limit(self, now: float) -> list[cf.Effect]:
        """Of two that took the last place at once the later one leaves; later members are let go (K10)."""
        if not self.admitted(self.me.user_id, self.limit, now):
            return self._move(Trigger.FULL, EndReason.POLICY_DENIED, now)
        late = [user_id for user_id in self.members if not self.admitted(user_id, self.limit, now)]
        out: list[cf.Effect] = []
        for user_id in late:
            out += [self.announcement(user_id, ring=False), *self.gone(user_id, EndReason.POLICY_DENIED, now)]
        return out

    def _said_goodbye(self, event: ce.SignalArrived, now: float) -> list[cf.Effect]:
        signal = event.signal
        if signal.kind is Kind.REJECT:
            person = self.invited.pop(event.user_id, None)
            if person is not None:
                person.state = ParticipantState.DECLINED
                change = CallStateChange(call_id=self.call_id, state=self.shown, participant=person.view())
                return [self.notify("aleph:callStateChange", change)]
            return []
        info = self.roster.get(event.user_id)
        if signal.kind is not Kind.END or info is None or info.device != (signal.sender.device or ""):
            return []
        gone = MemberInfo(
            pub=info.pub, device=info.device, lease=info.lease, joined_at=info.joined_at,
            at=max(info.at + 1, signal.issued_at_ms), left=True,
        )  # fmt: skip
        return self.learn(gone, event.user_id, event.network_ms, now)

    def _told_to_remove(self, by: str, target: str, now: float) -> list[cf.Effect]:
        if not self.moderates(by):
            raise RemoteError("not-a-moderator")
        if target == self.me.user_id:
            self.removed.add(target)
            return self._move(Trigger.REMOVED, EndReason.POLICY_DENIED, now)
        return self._take_out(target, now)

    def _told_to_hush(self, by: str) -> list[cf.Effect]:
        if not self.moderates(by):
            raise RemoteError("not-a-moderator")
        if not self.joined:
            return []
        return self.own(ce.Mute(call_id=self.call_id, kind=MediaTrackKind.AUDIO, muted=True)) or []

    # --- the graph and the control channels ----------------------------------------------------------------

    def _lease_seen(self, event: e.LeaseSeen, now: float) -> list[cf.Effect]:
        if fingerprint(event.info.pub) != event.user_id:
            raise RemoteError("foreign-lease")
        return [*self.account(event.info, event.network_ms, now), *self._connect_all(now)]

    def _gossip(self, event: e.Gossip, now: float) -> list[cf.Effect]:
        out = self.gossip(event, now)
        for info in event.members:
            out += self.account(info, event.network_ms, now)
        return [*out, *self._connect_all(now), *self._obey_limit(now)] if self.joined else out

    def _connect_all(self, now: float) -> list[cf.Effect]:
        return self.connect(now) if self.joined else []

    def _end_all(self, event: ce.Event, now: float) -> list[cf.Effect]:
        if isinstance(event, ce.Shutdown):
            reason = EndReason.APP_GONE if event.app_gone else EndReason.SHUTDOWN
            return self._move(Trigger.SHUTDOWN, reason, now)
        if self.owner is not None:
            return []  # a front end has the media
        lost = self.recordings_lost()
        return [*lost, *self._move(Trigger.MEDIA_LOST, EndReason.MEDIA_FAILED, now)]

    def review(self, room: Room | None, now: float) -> list[cf.Effect]:
        """Our social copy has changed: nobody stays whom it keeps out now, ourselves included."""
        self.room = room or self.room
        if self._place.refusal(self.me.user_id) is not None:
            return self._move(Trigger.REMOVED, EndReason.POLICY_DENIED, now)
        if self.state is State.RINGING and self._refuses(self.facts.initiator_id):
            return self._move(Trigger.RUNG_OUT, EndReason.POLICY_DENIED, now)
        out: list[cf.Effect] = []
        for user_id in [user_id for user_id in self.members if self._refuses(user_id)]:
            if self.joined:
                out.append(self.say(user_id, Kind.END, ReasonBody(reason=EndReason.LOCAL_HANGUP.value)))
            out += self.gone(user_id, EndReason.POLICY_DENIED, now)
        return out

    def _superseded(self, event: ce.Superseded, now: float) -> list[cf.Effect]:
        return self._move(Trigger.REPLACED, event.reason, now)


_ACTIONS: Mapping[type[Any], Callable[[Conference, Any, float], list[cf.Effect]]] = {
    e.Join: Conference.join,
    e.Hush: Conference._hush,
    e.Remove: Conference._remove,
    e.LeaseSeen: Conference._lease_seen,
    e.Gossip: Conference._gossip,
    e.Shown: Conference.saw,
    ce.End: Conference._leave,
    ce.Reject: Conference._decline,
    ce.SignalArrived: Conference._heard,
    ce.Superseded: Conference._superseded,
    ce.Shutdown: Conference._end_all,
    ce.MediaLost: Conference._end_all,
}
