"""The other members of a conference: connections to each, their presence, and what each of them is sent.

The one who joins offers; of two whose offers cross, the smaller (key, device) stands (DESIGN D4). Between
connected members presence is liveness and gossip, the lease in the graph serves joiners and lookers-on (K02).
"""

from __future__ import annotations

import msgspec

from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.calls.own_media import OwnMedia
from sidecar.calls.path import News, Path, Say, Step
from sidecar.calls.people import Person
from sidecar.schema import (
    CallParticipant,
    EndReason,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantState,
    Reconnecting,
)
from sidecar.signaling.messages import AnyBody, JoinBody, Kind, MemberInfo, OfferBody, Signal
from sidecar.trust.names import claimed

from . import effects as f
from . import events as e
from .accounts import signed
from .facts import ConferenceFacts, Self
from .ids import proof
from .member import Member
from .plan import Planner, send_plan
from .presence import Presence
from .roster import Roster, rank
from .rules import SUSPECT_S, ConferenceRules

SETTLED_MS = 90_000
"""Who has been in for so long takes no part in a race for the last place any more, nor lightly in one between
two conferences of a room: longer than from one announcement to the next, so that these have met before."""
AGAIN_S = 1.0
"""A process that begins anew takes longer than this: a member does not make us connect more often."""
DEPARTED_MAX = 64
"""Of so many who have left the record of a conference tells."""


class Crowd(OwnMedia):
    """Everything about the others; ``machine.Conference`` decides whether we are among them."""

    def __init__(self, rules: ConferenceRules, facts: ConferenceFacts, me: Person, own: Self) -> None:
        super().__init__(facts.call_id, me)
        self.rules = rules
        self.facts = facts
        self.pub = own.pub
        self.device = own.device
        self._sign = own.sign
        self.roster = Roster(own=(me.user_id, own.device))
        self.members: dict[str, Member] = {}
        """Those that are there, by user id; we are not one of them."""
        self.names: dict[str, str] = {}
        """Names from our social copy."""
        self.invited: dict[str, Person] = {}
        """Those that were asked and have neither joined nor declined."""
        self.given_up: dict[str, int] = {}
        """When those that we lost had last said that they are there; only a newer word brings them back."""
        self._departed: dict[str, Person] = {}
        self.lease = ""
        self.started_ms: int | None = None
        self.presence = Presence()
        self.planner = Planner()
        self._gossip_at: float | None = None
        self._alone_since: float | None = None

    # --- looking ---------------------------------------------------------------------------------------

    @property
    def my_info(self) -> MemberInfo | None:
        """Our own account, None before we joined."""
        info = self.roster.get(self.me.user_id)
        return info if info is not None and info.device == self.device and not info.left else None

    def participants(self) -> list[CallParticipant]:
        people = [member.person for member in self.members.values() if member.shown or not member.met]
        return [person.view() for person in (self.me, *people, *self.invited.values())]

    def departed(self) -> list[CallParticipant]:
        """Those that were in, and are not any more."""
        return [person.view() for user_id, person in self._departed.items() if user_id not in self.members]

    def others(self) -> list[CallParticipant]:
        """Everybody who is in, as far as we know; ourselves only if we are."""
        mine = [self.me] if self.my_info is not None else []
        return [person.view() for person in (*mine, *(member.person for member in self.members.values()))]

    def present(self, now: float) -> list[tuple[str, MemberInfo]]:
        """Everybody who counts, ourselves included if we are in, the first to join first."""
        return [
            (user_id, info)
            for user_id, info in self.roster.present()
            if user_id == self.me.user_id or self._counts(user_id, now)
        ]

    def _counts(self, user_id: str, now: float) -> bool:
        member = self.members.get(user_id)
        return member is not None and (member.until > now or self._carries(member))

    @staticmethod
    def _carries(member: Member) -> bool:
        return member.path is not None and member.path.current is not None and not member.path.down

    def admitted(self, user_id: str, limit: int, now: float) -> bool:
        """Whether a member is among the first ``limit``: everybody computes the same (K10).

        Who has been in for a while gives way only to those that we are connected with: accounts alone push
        nobody out. Nobody came before the conference was made.
        """
        settled, made_at = self._settled(user_id, now), self.facts.created_at
        ahead = sorted(
            (max(info.joined_at, made_at), other)
            for other, info in self.present(now)
            if other in (user_id, self.me.user_id) or not settled or self._carries(self.members[other])
        )
        place = next((index for index, (_, other) in enumerate(ahead) if other == user_id), 0)
        return place < limit

    def _settled(self, user_id: str, now: float) -> bool:
        member = self.members.get(user_id)
        person = self.me if user_id == self.me.user_id else member.person if member and member.shown else None
        since = person.joined_ms if person else None
        return since is not None and self.facts.at_ms(now) - since >= SETTLED_MS

    # --- words -----------------------------------------------------------------------------------------

    def say(self, user_id: str, kind: Kind, body: AnyBody, *, gen: int = 0) -> cf.SendSignal:
        """A signal to one member, in the session."""
        info = self.roster.get(user_id)
        return cf.SendSignal(
            call_id=self.call_id,
            user_id=user_id,
            device=info.device if info else None,
            kind=kind,
            body=body,
            gen=gen,
            session=self.facts.session,
            ttl_s=self.rules.signal_ttl_s,
            room_id=self.facts.room_id,
            domain_id=self.facts.domain_id,
        )

    def _spoken(self, member: Member, steps: list[Step]) -> list[cf.Effect]:
        """A path's words as signals: until the two have met, an offer is what a join is made of."""
        out: list[cf.Effect] = []
        for step in steps:
            if not isinstance(step, Say):
                out.append(step)
            elif isinstance(step.body, OfferBody) and not member.met:
                out.append(self.say(member.user_id, Kind.JOIN, self.join_body(step.body.sdp), gen=step.gen))
            else:
                out.append(self.say(member.user_id, step.kind, step.body, gen=step.gen))
        return out

    def join_body(self, sdp: str | None) -> JoinBody:
        info = self.my_info
        assert info is not None, "only a member joins"
        return JoinBody(
            info=info,
            proof=proof(self.facts.key, self.call_id, self.pub, self.device),
            display_name=self.me.display_name,
            sdp=sdp,
        )

    # --- the roster ------------------------------------------------------------------------------------

    def say_of_me(self, info: MemberInfo) -> MemberInfo:
        """Our own account from now on, as others may pass it on."""
        mine = signed(info, self.call_id, self._sign)
        self.roster.merge(mine)
        return mine

    def learn(
        self, info: MemberInfo, user_id: str, network_ms: int, now: float, name: str = ""
    ) -> list[cf.Effect]:
        """Merges an account of a member, whoever it comes from."""
        if user_id == self.me.user_id:
            return []
        news = self.roster.merge(info)
        known = self.roster.get(user_id)
        if known is None or known.left:
            return self.gone(user_id, EndReason.REMOTE_HANGUP, now) if news else []
        info = known
        given_up = info.at <= self.given_up.get(user_id, -1)
        if given_up if user_id not in self.members else not news:
            return []
        until = now + self.rules.lease_s - max(0, network_ms - info.at) / 1000
        member = self.members.get(user_id)
        if member is None:
            if until <= now:
                return []
            shown_name = self.names.get(user_id) or claimed(name)
            person = Person(user_id, shown_name, ParticipantState.CONNECTING, frozenset())
            member = self.members[user_id] = Member(person, info, until)
            self.presence.expect(user_id, now)
            self.invited.pop(user_id, None)
        elif name and not member.person.display_name:
            member.person.display_name = claimed(name)
        out = self._follow(member, now) if member.info.device != info.device else []
        moved = member.info.lease != info.lease or member.path is None
        member.info, member.until = info, max(member.until, until)
        watch = f.WatchLease(call_id=self.call_id, user_id=user_id, lease=info.lease, key=self.facts.key)
        heard = [self.listen(user_id)] if self.my_info is not None and member.path is None else []
        return [*out, *heard, *([watch] if moved and info.lease else [])]

    def _follow(self, member: Member, now: float) -> list[cf.Effect]:
        """A member has gone on to another device: nothing connects us with that one yet."""
        steps = member.path.close() if member.path else []
        member.path, member.met, member.epoch = None, False, None
        self.presence.miss(member.user_id, now)
        return [step for step in steps if isinstance(step, cf.Effect)]

    def connect(self, limit: int, now: float) -> list[cf.Effect]:
        """Offers to everybody who has a place and was there before us; the others will offer to us."""
        mine = self.my_info
        if mine is None:
            return []
        out: list[cf.Effect] = []
        for user_id, member in self.members.items():
            first = rank(user_id, member.info) < rank(self.me.user_id, mine)
            if member.path is None and first and member.until > now and self.admitted(user_id, limit, now):
                member.path = self._path(user_id, offerer=True)
                out.append(self.listen(user_id))
                out += self._spoken(member, member.path.begin(now))
        return out

    def _path(self, user_id: str, *, offerer: bool) -> Path:
        return Path(self.call_id, user_id, offerer=offerer, rules=self.rules.path)

    def listen(self, user_id: str) -> cf.Effect:
        """Take what this user writes into the session."""
        return cf.JoinSession(call_id=self.call_id, session=self.facts.session, user_id=user_id)

    def gone(self, user_id: str, reason: EndReason, now: float) -> list[cf.Effect]:
        """A member has left, or was given up."""
        self.presence.forget(user_id)
        member = self.members.pop(user_id, None)
        if member is None:
            return []
        steps = member.path.close() if member.path else []
        out: list[cf.Effect] = [step for step in steps if isinstance(step, cf.Effect)]
        out.append(f.UnwatchLease(call_id=self.call_id, user_id=user_id))
        out += self._hide(member, reason, now)
        if not self.members:
            self._alone_since = now
        return [*out, *self._replan(now)]

    # --- signals about a connection ------------------------------------------------------------------------

    def offered(self, event: ce.SignalArrived, body: JoinBody, now: float) -> list[cf.Effect]:
        """Somebody offers to us; the account of it is in the roster already."""
        member, signal = self.members[event.user_id], event.signal
        out: list[cf.Effect] = []
        if member.path is not None and member.epoch not in (None, signal.epoch):
            if now < member.again_at:
                return out
            member.again_at = now + AGAIN_S
            out += [step for step in member.path.close() if isinstance(step, cf.Effect)]
            member.path, member.met = None, False
        member.epoch = signal.epoch
        if body.sdp is None:
            return out
        offer = msgspec.structs.replace(signal, body=OfferBody(sdp=body.sdp))
        if member.path is None:
            member.path = self._path(event.user_id, offerer=False)
            out.append(self.listen(event.user_id))
            steps = [*member.path.begin(now), *member.path.heard(offer, now)]
        elif not member.path.offerer:
            steps = member.path.heard(offer, now)
        elif not member.met and self._yields(signal):
            steps = member.path.yield_to(offer, now)
        else:
            steps = []
        return [*out, *self._spoken(member, steps)]

    def _yields(self, signal: Signal) -> bool:
        return (signal.sender.pub, signal.sender.device or "") < (self.pub, self.device)

    def negotiated(self, event: ce.SignalArrived, now: float) -> list[cf.Effect]:
        """An answer, a new generation or a wish for one."""
        member, signal = self.members.get(event.user_id), event.signal
        if member is None or member.path is None or signal.sender.device != member.info.device:
            return []
        if member.epoch not in (None, signal.epoch):
            return []
        member.epoch = signal.epoch
        return self._spoken(member, member.path.heard(signal, now))

    def media_said(self, event: ce.PeerEvent, now: float) -> list[cf.Effect]:
        member = self.members.get(event.user_id)
        if member is None or member.path is None:
            return []
        if isinstance(event, ce.RemoteState):
            return self.heard_state(member.person, event) if member.path.knows(event.gen) else []
        out = self._spoken(member, member.path.handle(event, now))
        return [*out, *self._news(member, now)]

    def _news(self, member: Member, now: float) -> list[cf.Effect]:
        match member.path.take_news() if member.path else None:
            case News.UP:
                member.met = True
                self.presence.hear(member.user_id, now)
                return [*self._show(member, now), *self._reconnecting(member, False)]
            case News.DOWN if member.path is not None:
                self.presence.miss(member.user_id, member.path.silent_since(now) - SUSPECT_S)
                return self._reconnecting(member, True)
            case News.LOST:
                member.path = None
                self.given_up[member.user_id] = member.info.at
                reason = EndReason.CONNECTION_LOST if member.met else EndReason.CONNECT_FAILED
                member.until = now
                return self.gone(member.user_id, reason, now)
            case _:
                return []

    def _reconnecting(self, member: Member, on: bool) -> list[cf.Effect]:
        if member.path is None:  # it had to make place
            return []
        data = Reconnecting(
            call_id=self.call_id, user_id=member.user_id, reconnecting=on, gen=member.path.gen
        )
        return [self.notify("aleph:reconnecting", data)] if on or member.path.gen > 0 else []

    def _show(self, member: Member, now: float) -> list[cf.Effect]:
        if member.shown:
            return []
        at_ms = self.facts.at_ms(now)
        self.started_ms = self.started_ms or at_ms
        self._alone_since = None
        member.shown, member.person.state, member.person.joined_ms = True, ParticipantState.CONNECTED, at_ms
        member.person.left_ms = None
        joined = ParticipantJoined(call_id=self.call_id, participant=member.person.view())
        return [self.notify("aleph:participantJoined", joined), *self._replan(now)]

    def _hide(self, member: Member, reason: EndReason, now: float) -> list[cf.Effect]:
        if not member.shown:
            return []
        member.shown, member.person.state = False, ParticipantState.DISCONNECTED
        member.person.left_ms = self.facts.at_ms(now)
        if len(self._departed) < DEPARTED_MAX or member.user_id in self._departed:
            self._departed[member.user_id] = member.person
        left = ParticipantLeft(call_id=self.call_id, user_id=member.user_id, reason=reason)
        return [self.notify("aleph:participantLeft", left)]

    # --- presence and plans --------------------------------------------------------------------------------

    def gossip(self, event: e.Gossip, now: float) -> list[cf.Effect]:
        """What a connected member tells; only a member is believed, and only about members."""
        member = self.members.get(event.user_id)
        if member is None or not self._carries(member):
            return []
        self.presence.told({user: age for user, age in event.ages_ms.items() if user != self.me.user_id}, now)
        out: list[cf.Effect] = []
        for other in self.members.values():
            if other.met and not other.shown and not self.presence.silent(other.user_id, now):
                out += self._show(other, now)
        return out

    def saw(self, event: e.Shown, now: float) -> list[cf.Effect]:
        """Somebody shows us in another size."""
        member = self.members.get(event.user_id)
        if member is None or member.visible_height == event.visible_height:
            return []
        member.visible_height = event.visible_height
        return [self._plan(member)] if member.shown else []

    def _plan(self, member: Member) -> cf.Effect:
        plan = send_plan(self.planner.current, visible_height=member.visible_height)
        return f.SetSendPlan(call_id=self.call_id, user_id=member.user_id, plan=plan)

    def _replan(self, now: float) -> list[cf.Effect]:
        shown = [member for member in self.members.values() if member.shown]
        changed = self.planner.follow(len(shown) + 1, now)
        return [self._plan(member) for member in shown] if changed else []

    def tend(self, now: float) -> list[cf.Effect]:
        """What has become due about the others."""
        out: list[cf.Effect] = []
        for member in list(self.members.values()):
            if member.path is not None and _due(member.path.next_deadline(), now):
                out += self._spoken(member, member.path.handle_timer(now))
                out += self._news(member, now)
        for member in list(self.members.values()):
            if self.presence.silent(member.user_id, now):
                out += self._hide(member, EndReason.CONNECTION_LOST, now)
            if member.until <= now and not self._carries(member) and member.path is None:
                out += self.gone(member.user_id, EndReason.CONNECTION_LOST, now)
        if _due(self.planner.next_deadline(), now):
            out += self._replan(now)
        if _due(self._gossip_at, now):
            self._gossip_at = now + self.rules.gossip_s
            out += self._tell(now)
        return out

    def _tell(self, now: float) -> list[cf.Effect]:
        ages, infos, invited = self.presence.gossip(now), self.roster.proven(), list(self.invited)
        return [
            f.SendGossip(call_id=self.call_id, user_id=user_id, ages_ms=ages, members=infos, invited=invited)
            for user_id, member in self.members.items()
            if self._carries(member)
        ]

    def tending_deadlines(self) -> list[float]:
        """When ``tend`` is due."""
        due = [member.path.next_deadline() for member in self.members.values() if member.path]
        due += [member.until for member in self.members.values() if member.path is None]
        shown = {member.user_id for member in self.members.values() if member.shown}
        due += [self.presence.next_silence(shown), self.planner.next_deadline(), self._gossip_at]
        return [at for at in due if at is not None]


def _due(at: float | None, now: float) -> bool:
    return at is not None and at <= now
