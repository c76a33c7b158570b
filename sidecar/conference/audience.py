"""What the others say about a conference: announcements, joins, leases, gossip, the words of moderators."""

from __future__ import annotations

import msgspec

from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.errors import RemoteError
from sidecar.ids import fingerprint
from sidecar.schema import CallOffer, CallStateChange, EndReason, MediaTrackKind, ParticipantState
from sidecar.signaling.messages import AnnounceBody, JoinBody, Kind, MemberInfo, ReasonBody, TargetBody
from sidecar.trust.names import claimed

from . import events as e
from .accounts import is_own_word
from .facts import Room
from .ids import proves
from .member import Member
from .roster import rank
from .seat import Seat
from .table import State, Trigger

AHEAD_MS = 60_000
"""How far ahead of our network time an account may be."""
REMOVED_MAX = 256
"""Users that a moderator can send out of one conference."""
EXPECTED_MAX = 16
"""Users that others have asked in and that we listen to."""
WARNED_MAX = 32
"""Of so many a joiner is told at once; of the others when somebody says that they are in."""


class Audience(Seat):
    """Believes a member about itself, moderators about others, and nobody about our user."""

    def _heard(self, event: ce.SignalArrived, now: float) -> list[cf.Effect]:
        signal, shown = event.signal, self.shown
        self.keep_time(event.network_ms, now)
        if self.refuses(event.user_id):
            return self._send_out(event)
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
                out = self._negotiates(event, now) if self.joined else []
        return [*out, *([self.state_change()] if self.shown is not shown and self.joined else [])]

    def _send_out(self, event: ce.SignalArrived) -> list[cf.Effect]:
        """Somebody who was removed is back, on a device that was not there and has not heard of it."""
        signal, user_id = event.signal, event.user_id
        comes_in = signal.kind in (Kind.ANNOUNCE, Kind.JOIN) and self.joined
        if not (comes_in and user_id in self.removed and self.moderates(self.me.user_id)):
            raise RemoteError("refused-member")
        told = self.say(user_id, Kind.REMOVE, TargetBody(user_id))
        return [msgspec.structs.replace(told, device=signal.sender.device)]

    def _announced(self, event: ce.SignalArrived, body: AnnounceBody, now: float) -> list[cf.Effect]:
        out: list[cf.Effect] = []
        if (body.session, body.key) != (self.facts.session, self.facts.key):
            if not self._yields_to(event, body):
                raise RemoteError("another-session")
            out += self.rekey(body, now)
        for info in body.members:
            out += self.account(info, event.network_ms, now)
        if self.joined:
            news = self._make_known(event, body)
            return [*out, *news, *self.connect_all(now), *self.obey_limit(now)]
        self._stale_at = now + self.rules.stale_s
        if body.ring and not self.rung:
            out += self.ring(event, body, now)
        return out

    def _yields_to(self, event: ce.SignalArrived, body: AnnounceBody) -> bool:
        """Both ends of a call may make it a conference at once: of their sessions the smaller stands. The end
        that gives way follows the other, and those that it had asked follow it."""
        grown = self.growth is not None and self.growth.user_id == event.user_id
        teller = grown if event.signal.kind is Kind.GROW else event.user_id == self.facts.told_by
        return teller and self.facts.room_id is None and body.session < self.facts.session

    def _make_known(self, event: ce.SignalArrived, body: AnnounceBody) -> list[cf.Effect]:
        """Who came after us and has not heard of us would never offer to us: we tell it that we are here."""
        mine, member, signal = self.my_info, self.members.get(event.user_id), event.signal
        if mine is None or member is None:
            return []
        if signal.kind is Kind.GROW:
            return [self.say(event.user_id, Kind.JOIN, self.join_body(None))]
        if signal.sender.device != member.info.device:  # another device has taken its place
            return [self.account_for(event.user_id, signal.sender.device)]
        fresh = mine.at - 500 * self.rules.lease_s
        said = (info for info in body.members if (info.pub, info.device) == (self.pub, self.device))
        if any(info.at >= fresh for info in said) or rank(event.user_id, member.info) < rank(
            self.me.user_id, mine
        ):
            return []
        return [self.account_for(event.user_id, signal.sender.device)]

    def _negotiates(self, event: ce.SignalArrived, now: float) -> list[cf.Effect]:
        """About a connection. A device of a member whose place another device has taken is told so: with its
        connections it has lost what would have told it."""
        member, device = self.members.get(event.user_id), event.signal.sender.device
        if member is not None and device != member.info.device:
            return [self.account_for(event.user_id, device)]
        return self.negotiated(event, now)

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
        return [moved, cf.Ring(call_id=self.call_id, offer=offer), self.state_change()]

    def account(self, info: MemberInfo, network_ms: int, now: float, name: str = "") -> list[cf.Effect]:
        """An account that a member gave of itself, whoever passed it on."""
        user_id = fingerprint(info.pub)
        if info.at > network_ms + AHEAD_MS or not self._proven(info):
            return []
        if user_id == self.me.user_id:
            return self._told_of_me(info, now)
        if self.refuses(user_id):
            return []
        before = self.members[user_id].info.device if user_id in self.members else None
        out = self.learn(info, user_id, network_ms, now, name)
        member = self.members.get(user_id)
        if not self.joined or member is None or before in (None, member.info.device):
            return out
        return [*out, self.account_for(user_id, before)]  # it may have lost us before it heard of us

    def _proven(self, info: MemberInfo) -> bool:
        """Of what says nothing new the signature is not looked at: the roster has a better account."""
        return not self.roster.is_news(info) or is_own_word(info, self.call_id)

    def _told_of_me(self, info: MemberInfo, now: float) -> list[cf.Effect]:
        """Another device of our user is in: it has taken the conference, and we stop."""
        mine = self.my_info
        if info.left or info.device == self.device or not info.device:
            return []
        self.elsewhere_at = max(self.elsewhere_at, info.joined_at)
        if mine is not None and (info.joined_at, info.device) <= (mine.joined_at, mine.device):
            return []
        return self.move(Trigger.TAKEN, EndReason.ANSWERED_ELSEWHERE, now)

    def _joins(self, event: ce.SignalArrived, body: JoinBody, now: float) -> list[cf.Effect]:
        signal = event.signal
        device = signal.sender.device or ""
        if not proves(body.proof, self.facts.key, self.call_id, signal.sender.pub, device):
            raise RemoteError("no-proof")
        if self.growth is not None and self.growth.user_id == event.user_id:
            self.growth = None
        if (body.info.pub, body.info.device) != (signal.sender.pub, device) or not self._proven(body.info):
            raise RemoteError("foreign-account")
        out = self.account(body.info, event.network_ms, now, event.display_name or body.display_name)
        member = self.members.get(event.user_id)
        if not self.joined or member is None:
            return out
        if device != member.info.device:  # another device of this user joined later
            return [*out, self.account_for(event.user_id, device)]
        if not self.admitted(event.user_id, self.limit, now):
            told = self.announcement(event.user_id, ring=False)
            return [*out, told, *self.gone(event.user_id, EndReason.POLICY_DENIED, now)]
        self._gossip_at = now  # who asked for it may be the only one who has heard of the new member
        self.refresh_soon(now)
        return [
            *out,
            *self._welcome(event.user_id, now),
            *self.offered(event, body, now),
            *self.obey_limit(now),
        ]

    def _welcome(self, user_id: str, now: float) -> list[cf.Effect]:
        """What a joiner needs to hear costs many signals: once, however often he says that he joins."""
        self._welcomed = {user: at for user, at in self._welcomed.items() if at > now}
        if user_id in self._welcomed:
            return []
        self._welcomed[user_id] = now + self.rules.gossip_s
        return [*self._introduce(user_id), *self._warn(user_id)]

    def _warn(self, user_id: str) -> list[cf.Effect]:
        """Whoever joins learns from a moderator who was sent out, for he may still have the key (K09)."""
        removed = sorted(self.removed)[:WARNED_MAX] if self.moderates(self.me.user_id) else []
        return [self.say(user_id, Kind.REMOVE, TargetBody(other)) for other in removed]

    def _introduce(self, user_id: str) -> list[cf.Effect]:
        """Who joins may not have heard of those who joined a moment before, and gossip does not reach a page
        that has its own media (D7). So the most senior member tells whoever has to offer to them."""
        mine = self.my_info
        ranks = {other: rank(other, member.info) for other, member in self.members.items()}
        if mine is None or len(ranks) < 2 or min(ranks.values()) < rank(self.me.user_id, mine):
            return []
        later = [other for other, place in ranks.items() if place >= ranks[user_id]]
        return [self.announcement(other, ring=False) for other in later]

    def _show(self, member: Member, now: float) -> list[cf.Effect]:
        """Who was there longer may have to make place first."""
        out = self.obey_limit(now)
        stays = self.joined and member.user_id in self.members
        return [*out, *super()._show(member, now)] if stays else out

    def obey_limit(self, now: float) -> list[cf.Effect]:
        """Of two that took the last place at once the later one leaves; later members are let go (K10)."""
        if not self.admitted(self.me.user_id, self.limit, now):
            return self.move(Trigger.FULL, EndReason.POLICY_DENIED, now)
        late = [user_id for user_id in self.members if not self.admitted(user_id, self.limit, now)]
        out: list[cf.Effect] = []
        for user_id in late:
            if self.members[user_id].path is not None:  # who only is said to be there learns it when he joins
                out.append(self.announcement(user_id, ring=False))
            out += self.gone(user_id, EndReason.POLICY_DENIED, now)
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
        device = signal.sender.device or ""
        info = next((info for info in self.roster.of(event.user_id) if info.device == device), None)
        if signal.kind is not Kind.END or info is None or info.left or signal.issued_at_ms < info.at:
            return []  # the goodbye of an earlier stay may come late
        gone = msgspec.structs.replace(info, at=max(info.at + 1, signal.issued_at_ms), left=True, sig="")
        return self.learn(gone, event.user_id, event.network_ms, now)

    def take_out(self, user_id: str, now: float) -> list[cf.Effect]:
        if len(self.removed) >= REMOVED_MAX:
            raise RemoteError("removed-full")
        self.removed.add(user_id)
        for info in self.roster.of(user_id):
            self.roster.merge(msgspec.structs.replace(info, at=info.at + 1, left=True, sig=""))
        return self.gone(user_id, EndReason.POLICY_DENIED, now)

    def _told_to_remove(self, by: str, target: str, now: float) -> list[cf.Effect]:
        if not self.moderates(by):
            raise RemoteError("not-a-moderator")
        if target == self.me.user_id:
            self.removed.add(target)
            return self.move(Trigger.REMOVED, EndReason.POLICY_DENIED, now)
        return self.take_out(target, now)

    def _told_to_hush(self, by: str) -> list[cf.Effect]:
        if not self.moderates(by):
            raise RemoteError("not-a-moderator")
        if not self.joined:
            return []
        return self.own(ce.Mute(call_id=self.call_id, kind=MediaTrackKind.AUDIO, muted=True)) or []

    def _lease_seen(self, event: e.LeaseSeen, now: float) -> list[cf.Effect]:
        if fingerprint(event.info.pub) != event.user_id:
            raise RemoteError("foreign-lease")
        self.keep_time(event.network_ms, now)
        out: list[cf.Effect] = []
        for info in (event.info, *event.others):
            out += self.account(info, event.network_ms, now)
        if self.state is State.RINGING and not self.members:  # nobody waits for our user any more
            out += self.move(Trigger.RUNG_OUT, EndReason.CANCELLED, now)
        return [*out, *self.connect_all(now)]

    def _gossip(self, event: e.Gossip, now: float) -> list[cf.Effect]:
        if event.user_id not in self.members:
            return []
        self.keep_time(event.network_ms, now)
        out = self.gossip(event, now)
        for info in event.members:
            out += self.account(info, event.network_ms, now)
        if not self.joined:
            return out
        out += [*self._expect(event.invited), *self._send_out_again(event, now)]
        return [*out, *self.connect_all(now), *self.obey_limit(now)]

    def _expect(self, invited: list[str]) -> list[cf.Effect]:
        """Whom another member has asked in may come when that one has left: we listen to them as well."""
        known = {self.me.user_id, *self.expected, *self.members}
        new = [user_id for user_id in invited if user_id not in known and not self.refuses(user_id)]
        new = new[: EXPECTED_MAX - len(self.expected)]
        self.expected.update(new)
        return [self.listen(user_id) for user_id in new]

    def _send_out_again(self, event: e.Gossip, now: float) -> list[cf.Effect]:
        """Somebody who was removed is in with a member who has not heard of it: a moderator tells both."""
        there = {fingerprint(info.pub) for info in event.members if not info.left}
        back = sorted(there & self.removed) if self.moderates(self.me.user_id) else []
        if not back or now < self._send_out_at:
            return []
        self._send_out_at = now + self.rules.gossip_s
        told = ((to, user_id) for user_id in back for to in (event.user_id, user_id))
        return [self.say(to, Kind.REMOVE, TargetBody(user_id)) for to, user_id in told]

    def review(self, room: Room | None, now: float) -> list[cf.Effect]:
        """Our social copy has changed: nobody stays whom it keeps out now, ourselves included."""
        self.room = room or self.room
        if self._place.refusal(self.me.user_id) is not None:
            return self.move(Trigger.REMOVED, EndReason.POLICY_DENIED, now)
        if self.state is State.RINGING and self.refuses(self.facts.initiator_id):
            return self.move(Trigger.RUNG_OUT, EndReason.POLICY_DENIED, now)
        out: list[cf.Effect] = []
        for user_id in [user_id for user_id in self.members if self.refuses(user_id)]:
            if self.joined:
                out.append(self.say(user_id, Kind.END, ReasonBody(reason=EndReason.LOCAL_HANGUP.value)))
            out += self.gone(user_id, EndReason.POLICY_DENIED, now)
        return out
