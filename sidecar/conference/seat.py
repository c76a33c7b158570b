"""Our own place in a conference: where we are with it, what that looks like, how it is taken and left."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from sidecar.calls import effects as cf
from sidecar.calls.machine import Call
from sidecar.calls.people import Person
from sidecar.calls.states import FAULTS
from sidecar.errors import Code, LocalError
from sidecar.schema import (
    CallDirection,
    CallRecord,
    CallSession,
    CallState,
    CallStateChange,
    EndReason,
    ParticipantState,
)
from sidecar.signaling.messages import AnnounceBody, Kind, MemberInfo, ReasonBody

from . import effects as f
from . import events as e
from .crowd import SETTLED_MS, Crowd
from .facts import ConferenceFacts, Room, Self
from .member import Member
from .place import Gate, Place
from .rules import ConferenceRules
from .table import State, Trigger, Verdict, decide

CLOCKS_MS = 60_000
"""How far the network clocks of two members may be apart; nobody's claim moves us further."""


class Seat(Crowd):
    """What ``machine.Conference`` does with our user; the others are the crowd's."""

    def __init__(
        self,
        rules: ConferenceRules,
        facts: ConferenceFacts,
        me: Person,
        own: Self,
        *,
        room: Room | None = None,
        gate: Gate | None = None,
    ) -> None:
        super().__init__(rules, facts, me, own)
        self.room = room
        self._place = Place(gate, facts)
        self.state = State.KNOWN
        self.reason: EndReason | None = None
        """Why our user is not in it any more."""
        self.rung = False
        """It has asked our user, which it does once."""
        self.removed: set[str] = set()
        self.growth: cf.SendSignal | None = None
        """What makes the other end of our 1:1 call a conference; said again until that end has joined."""
        self.joined_at: float | None = None
        self.ended_ms: int | None = None
        self.network_offset_ms = 0
        self._ring_until: float | None = None
        self._stale_at: float | None = facts.created + rules.stale_s
        self._announce_at: float | None = None
        self._lease_at: float | None = None
        self._grow_at: float | None = None
        self._grow_until = 0.0
        self.elsewhere_at = 0
        """When the last other device of our user joined, by its own account."""
        self.expected: set[str] = set()
        """Those that other members have asked in."""
        self._send_out_at = 0.0
        self._welcomed: dict[str, float] = {}
        """Until when those that have joined are not told again what they were told."""
        self._forget_at: float | None = None
        self.faded = False
        """It has ended because nobody announced it any more, or we went over to another one of its room: new
        announcements make it known again."""

    @property
    def joined(self) -> bool:
        return self.state is State.JOINED

    def inhabited(self, now: float) -> bool:
        """Whether somebody is in it, as far as we know."""
        here = any(member.until > now for member in self.members.values())
        return self.joined or (self.state is not State.ENDED and here)

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

    def standing(self, now: float) -> int:
        """How many people say that they have been in it for a while; one alone could say anything."""
        since = self.network_ms(now) - SETTLED_MS
        settled = sum(info.joined_at <= since for _, info in self.present(now))
        return settled if settled > 1 else 0

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
            raise self.wrong("join")
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
        for member in self.members.values():
            member.person.state = ParticipantState.CONNECTING
        for user_id, info in list(self.roster.present()):
            if info.pub != self.pub:
                self.learn(info, user_id, event.network_ms, now)
        self._take_seat(event, now)
        moved = cf.Moved(call_id=self.call_id, old=old.value, new=self.state.value, cause=Trigger.JOIN.value)
        return [moved, self.open_call(), *self._settle_in(now), self.state_change()]

    def _take_seat(self, event: e.Join | e.Create, now: float) -> None:
        """Nothing of an earlier stay is left but what our user has muted."""
        self.me.lines, self.me.held = self.rules.lines(self.facts.call_type), False
        if isinstance(event, e.Join):
            self.me.lines = self.me.lines if event.kinds is None else event.kinds
            self.me.lines = frozenset() if event.listen_only else self.me.lines
            self.me.held = event.held
        self.me.state, self.me.joined_ms = ParticipantState.CONNECTED, self.facts.at_ms(now)
        self.me.left_ms = None

    def _enlist(self, network_ms: int) -> None:
        """We come after everybody we know of, our other devices included, whatever the clocks say: only who
        came later offers, and who has not heard of us would be waited for in vain."""
        ours = self.roster.of(self.me.user_id)
        others = [info.joined_at for _, info in self.roster.present() if info.pub != self.pub]
        before = [*others, self.elsewhere_at]
        joined_at = max(network_ms, min(max(before) + 1, network_ms + CLOCKS_MS))
        last = max((info.at for info in ours if info.device == self.device), default=0)
        self.say_of_me(
            MemberInfo(
                pub=self.pub,
                device=self.device,
                lease=self.lease,
                joined_at=joined_at,
                at=max(network_ms, min(last + 1, network_ms + CLOCKS_MS)),
            )
        )

    def _settle_in(self, now: float) -> list[cf.Effect]:
        """What starts when we are in: our lease, gossip, announcements, connections."""
        self._gossip_at = now + self.rules.gossip_s
        self._announce_at = now + self.rules.announce_s
        out = self.refresh(now)
        guests = self.room.members[: self.rules.announce_max] if self.room else ()
        others = dict.fromkeys([*(guest.user_id for guest in guests), *self.members, *self.expected])
        out += [self.listen(user_id) for user_id in others if user_id != self.me.user_id]
        for user_id, member in self.members.items():
            out += self.watch(user_id, member.info.lease)
            out += self._tell_other_devices(user_id, member)
        return [*out, *self.connect_all(now)]

    def _tell_other_devices(self, user_id: str, member: Member) -> list[cf.Effect]:
        """Two devices of a user who are in alone say nothing to each other; the first to come tells them."""
        others = [info for info in self.roster.of(user_id) if info.device != member.info.device]
        return [self.account_for(user_id, info.device) for info in others if not info.left]

    def account_for(self, user_id: str, device: str | None) -> cf.SendSignal:
        """Who is in, for one device that reads the session."""
        told = self.announcement(user_id, ring=False)
        return msgspec.structs.replace(told, session=self.facts.session, device=device)

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
        info = MemberInfo(pub=call.peer_pub, device=call.peer_device, joined_at=network_ms, at=0)
        self.roster.merge(info)  # until it gives its own account
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

    def tell_peer(self, call: Call, now: float) -> list[cf.Effect]:
        """Tells the other end of the call that was adopted, in the call's own session, which that end reads:
        the inbox of somebody who is no contact takes invitations only."""
        again = self.announcement(call.facts.peer_id, ring=False, kind=Kind.GROW)
        again = msgspec.structs.replace(again, device=call.peer_device)
        told = msgspec.structs.replace(again, session=call.facts.session)
        # An end that has made it a conference too does not read that session any more.
        self.growth = again if call.facts.contact else told
        self._grow_at, self._grow_until = now + self.rules.grow_s, now + self.rules.grow_for_s
        return [told]

    def grow_on(self, now: float) -> list[cf.Effect]:
        """It may have come before the other end was connected, or not at all."""
        told = self.growth
        waits = told is not None and told.user_id in self.members and now < self._grow_until
        self._grow_at = now + self.rules.grow_s if waits else None
        return [told] if told is not None and waits else []

    def rekey(self, body: AnnounceBody, now: float) -> list[cf.Effect]:
        """Goes over to another session of the same conference, and takes along those that are in or asked."""
        self.facts = replace(
            self.facts, session=body.session, key=body.key, nonce=body.nonce, created_at=body.created_at
        )
        self.growth = None
        others = [*self.members, *self.invited] if self.joined else []
        out = [self.listen(user_id) for user_id in others]
        for user_id, member in self.members.items() if self.joined else ():
            out += self.watch(user_id, member.info.lease)
        out += self.refresh(now) if self.joined else []
        return [*out, *(self.announcement(user_id, ring=False) for user_id in others)]

    def watch(self, user_id: str, lease: str) -> list[cf.Effect]:
        """Follow the lease of a member, if it has one."""
        watched = f.WatchLease(call_id=self.call_id, user_id=user_id, lease=lease, key=self.facts.key)
        return [watched] if lease else []

    def look_away(self) -> list[cf.Effect]:
        """Follow nobody any more."""
        return [f.UnwatchLease(call_id=self.call_id, user_id=user_id) for user_id in self.members]

    def move(self, trigger: Trigger, reason: EndReason, now: float) -> list[cf.Effect]:
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
        if decision is State.ENDED:  # who has only left looks on
            self._stale_at, self._forget_at = None, now + self.rules.ended_ttl_s
            self.faded = trigger in (Trigger.STALE, Trigger.REPLACED)
            out += self.look_away()
        if old in (State.JOINED, State.RINGING):
            self.reason, self.ended_ms = reason, self.facts.at_ms(now)
            self.me.state = ParticipantState.DISCONNECTED
            out += [self.state_change(), self._line(reason)]
        return out

    def _depart(self, reason: EndReason, now: float) -> list[cf.Effect]:
        """Says goodbye to everybody, closes everything, and leaves word in the lease."""
        goodbye = ReasonBody(reason=reason.value)
        out: list[cf.Effect] = [self.say(user_id, Kind.END, goodbye) for user_id in self.members]
        for member in self.members.values():
            if member.path is not None:
                member.path.close()
            member.path, member.met, member.shown = None, False, False
        info = self.my_info
        if info is not None:
            left = msgspec.structs.replace(info, at=max(info.at + 1, self.network_ms(now)), left=True)
            others = self._others(now)
            gone = self.say_of_me(left)
            out.append(f.PutLease(call_id=self.call_id, info=gone, key=self.facts.key, others=others))
        out += [cf.CloseCall(call_id=self.call_id), cf.LeaveSession(call_id=self.call_id)]
        self.opened, self.lease, self._alone_since = False, "", None
        self._lease_at = self._announce_at = self._gossip_at = self._grow_at = None
        self._stale_at = now + self.rules.stale_s
        self.me.left_ms = self.facts.at_ms(now)
        return out

    def state_change(self) -> cf.Effect:
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
            participants=[*self.participants(), *self.departed()],
            room_id=self.facts.room_id,
            domain_id=self.facts.domain_id,
            created_at=self.facts.created_ms,
            started_at=self.started_ms,
            ended_at=self.ended_ms,
            end_reason=reason,
        )
        return cf.CallEnded(call_id=self.call_id, record=record)

    def wrong(self, what: str) -> LocalError:
        return LocalError(
            f"cannot {what}: the conference is {self.shown.value}",
            code=Code.CALL_WRONG_STATE,
            details={"callId": self.call_id, "state": self.shown.value},
        )

    def network_ms(self, now: float) -> int:
        return self.facts.network_ms(now, self.network_offset_ms)

    def keep_time(self, network_ms: int, now: float) -> None:
        """Network time may become known, or better known, while we are in."""
        self.network_offset_ms = network_ms - self.facts.at_ms(now)

    def refresh(self, now: float) -> list[cf.Effect]:
        self._lease_at = now + self.rules.refresh_s
        info = self.my_info
        if info is None:
            return []
        info = self.say_of_me(msgspec.structs.replace(info, at=max(info.at, self.network_ms(now))))
        others = self._others(now)
        return [f.PutLease(call_id=self.call_id, info=info, key=self.facts.key, others=others)]

    def _others(self, now: float) -> tuple[MemberInfo, ...]:
        """Who else is in, for those who look on, and for those who come when we have left."""
        here = (other for user_id, other in self.present(now) if user_id != self.me.user_id)
        return tuple(other for other in here if other.sig)

    def refresh_soon(self, now: float) -> None:
        """The one who is in for longest tells those who look on that somebody has joined."""
        if self._lease_at is not None and self.is_senior(now):
            self._lease_at = min(self._lease_at, now + self.rules.tell_s)

    def is_senior(self, now: float) -> bool:
        """Whether our user is the one who is in for longest."""
        return next((user_id for user_id, _ in self.present(now)), None) == self.me.user_id

    def announce(self, now: float, *, ring: bool) -> list[cf.Effect]:
        """To every member of the room that is not in, by the one who is in for longest (K01)."""
        self._announce_at = now + self.rules.announce_s
        if self.room is None or not self.is_senior(now):
            return []
        absent = [guest for guest in self.room.members if self._is_absent(guest.user_id)]
        return [self.announcement(guest.user_id, ring=ring) for guest in absent[: self.rules.announce_max]]

    def announcement(self, user_id: str, *, ring: bool, kind: Kind = Kind.ANNOUNCE) -> cf.SendSignal:
        """What somebody needs to know to look at it and to join."""
        facts = self.facts
        body = AnnounceBody(
            call_type=facts.call_type.value,
            session=facts.session,
            key=facts.key,
            nonce=facts.nonce,
            founder=facts.founder,
            founder_sig=facts.founder_sig,
            display_name=self.me.display_name,
            created_at=facts.created_at,
            ring=ring,
            members=self._told_members(),
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

    def _told_members(self) -> list[MemberInfo]:
        here = [info for info in self.roster.proven() if not info.left]
        return sorted(here, key=lambda info: info.at, reverse=True)[: 2 * self.limit]

    def _is_absent(self, user_id: str) -> bool:
        return user_id not in (self.me.user_id, *self.members) and not self.refuses(user_id)

    def refuses(self, user_id: str) -> bool:
        """Whether somebody has no place here: removed by a moderator, or kept out by our own copy (S21)."""
        return user_id in self.removed or self._place.refusal(user_id) is not None

    def connect_all(self, now: float) -> list[cf.Effect]:
        return self.connect(self.limit, now) if self.joined else []
