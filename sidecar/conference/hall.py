"""All conferences that this node knows: makes them, finds whose an event is, merges those of one room.

Everything here that others can fill is bounded: known conferences, parked joins.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Protocol

from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.calls.machine import Call
from sidecar.calls.notes import LiveNote
from sidecar.calls.people import Person
from sidecar.calls.states import Side
from sidecar.errors import Code, LocalError, RemoteError
from sidecar.ids import fingerprint
from sidecar.schema import CallSession, CallType, EndReason, MediaTrackKind, ParticipantState
from sidecar.signaling.messages import AnnounceBody, JoinBody, Kind
from sidecar.trust.rates import RateLimits

from . import events as e
from .accounts import founding, is_founded
from .facts import ConferenceFacts, Room, Self
from .ids import conference_id
from .machine import Conference
from .notes import of_conference
from .place import Gate, Place
from .rules import ConferenceRules
from .table import State

_CALL_TYPES = frozenset(call_type.value for call_type in CallType)
KINDS = frozenset({Kind.ANNOUNCE, Kind.GROW, Kind.JOIN, Kind.REMOVE, Kind.HUSH})
"""Signals that only conferences know."""


class Rooms(Protocol):
    """Rooms by id."""

    def get(self, room_id: str, /) -> Room | None: ...


class Hall:
    """``handle`` and ``handle_timer`` return effects. ``rooms`` and ``gate``, set from outside, are those of
    our social copy; ``review`` follows when they say something else.
    """

    def __init__(self, rules: ConferenceRules, me: Self, display_name: str) -> None:
        self.rules = rules
        self.display_name = display_name
        self.rooms: Rooms = {}
        self.gate: Gate | None = None
        self._me = me
        self._known: dict[str, Conference] = {}
        self._parked: deque[tuple[float, ce.SignalArrived]] = deque()
        self.dropped: Counter[str] = Counter()
        self._rates = RateLimits({"rings": rules.rings, "answers": rules.answers})

    def new_id(self, room_id: str, nonce: str) -> str:
        """The id of a conference that our user makes in a room; ``nonce``: 128 random bits in hex."""
        return conference_id(room_id, nonce, self._me.pub)

    # --- looking ---------------------------------------------------------------------------------------

    def get(self, call_id: str) -> Conference | None:
        return self._known.get(call_id)

    def session(self, call_id: str) -> CallSession | None:
        """A conference that our user is, was or is asked to be in."""
        conference = self._known.get(call_id)
        seen = conference is not None and (conference.joined or conference.rung or conference.reason)
        return conference.session() if conference is not None and seen else None

    def device_of(self, call_id: str, user_id: str) -> str | None:
        """The device of a member."""
        conference = self._known.get(call_id)
        member = conference.members.get(user_id) if conference is not None else None
        return member.info.device if member is not None else None

    def active(self) -> list[CallSession]:
        """Those that our user is in or is asked into."""
        live = (State.JOINED, State.RINGING)
        return [conference.session() for conference in self._known.values() if conference.state in live]

    def notes(self) -> list[LiveNote]:
        """What a crash would leave behind of those."""
        live = (State.JOINED, State.RINGING)
        return [of_conference(conference) for conference in self._known.values() if conference.state in live]

    def talking(self) -> str | None:
        """The conference that claims our user."""
        return next((c.call_id for c in self._known.values() if c.joined and not c.me.held), None)

    def living(self, room_id: str, now: float) -> Conference | None:
        """The conference of a room that is joined, or else the one that somebody is in."""
        here = [c for c in self._known.values() if c.facts.room_id == room_id and c.inhabited(now)]
        here.sort(key=lambda conference: (not conference.joined, conference.call_id))
        return here[0] if here else None

    def all_lost(self) -> list[ce.PeerLiveness]:
        """As that of the switchboard."""
        return [
            ce.PeerLiveness(call_id=c.call_id, user_id=user_id, gen=member.path.current, level=ce.Level.LOST)
            for c in self._known.values()
            for user_id, member in c.members.items()
            if member.path is not None and member.path.current is not None
        ]

    def next_deadline(self) -> float | None:
        due = [conference.next_deadline() for conference in self._known.values()]
        due += [at for at, _ in self._parked]
        return min((at for at in due if at is not None), default=None)

    # --- what happens ------------------------------------------------------------------------------------

    def handle_timer(self, now: float) -> list[cf.Effect]:
        out: list[cf.Effect] = []
        for conference in list(self._known.values()):
            deadline = conference.next_deadline()
            if deadline is not None and deadline <= now:
                out += conference.handle_timer(now)
        while self._parked and self._parked[0][0] <= now:
            self._parked.popleft()
        self._forget()
        return out

    def handle(self, event: ce.CallEvent, now: float) -> list[cf.Effect]:
        """A command or a report about one conference that is known."""
        conference = self._known.get(event.call_id)
        if conference is None and isinstance(event, (e.LeaseSeen, e.Gossip, e.Shown)):
            raise RemoteError("unknown-call")
        if conference is None:
            raise LocalError("there is no such conference", code=Code.CALL_NOT_FOUND)
        if isinstance(event, e.Invite):
            return conference.invite(event.user_id, event.display_name, now)
        if isinstance(event, e.Join) and not conference.joined:
            conference = self._smallest(conference, now)
            return [*conference.handle(event, now), *self._settle(conference, now)]
        return conference.handle(event, now)

    def _settle(self, conference: Conference, now: float) -> list[cf.Effect]:
        """Our user is in one of a room: another one that still asks him stops."""
        room_id = conference.facts.room_id
        if room_id is None or not conference.joined:
            return []
        others = [c for c in self._known.values() if c.facts.room_id == room_id and c.state is State.RINGING]
        replaced = (ce.Superseded(call_id=c.call_id, reason=EndReason.REPLACED) for c in others)
        return [out for c, event in zip(others, replaced, strict=True) for out in c.handle(event, now)]

    def _smallest(self, conference: Conference, now: float) -> Conference:
        """Of two that were made in one room at once everybody joins the same (K01)."""
        room_id = conference.facts.room_id
        return (self.living(room_id, now) if room_id else None) or conference

    def broadcast(self, event: ce.Event, now: float) -> list[cf.Effect]:
        """Something that concerns all of them: shutdown, media lost."""
        return [out for c in list(self._known.values()) for out in c.handle(event, now)]

    def review(self, now: float) -> list[cf.Effect]:
        """Our social copy has changed."""
        known = [(c, c.facts.room_id) for c in self._known.values()]
        return [
            out for c, room_id in known for out in c.review(self.rooms.get(room_id) if room_id else None, now)
        ]

    def create(self, event: e.Create, now: float) -> list[cf.Effect]:
        """Starts a conference in a room, or joins the one that lives there already."""
        living = self.living(event.room_id, now)
        if living is not None:
            return [*living.join(_as_join(event, living.call_id), now), *self._settle(living, now)]
        facts = ConferenceFacts(
            call_id=event.call_id,
            call_type=event.call_type,
            initiator_id=self._me.user_id,
            session=event.session,
            key=event.key,
            nonce=event.nonce,
            founder=self._me.pub,
            founder_sig=self._found(event),
            created=now,
            created_ms=event.at_ms,
            created_at=event.network_ms,
            room_id=event.room_id,
            domain_id=event.domain_id,
        )
        Place(self.gate, facts).must_admit(self._me.user_id, founding=True)
        room = self.rooms.get(event.room_id)
        if room is None:
            raise LocalError("no such room", details={"field": "roomId"})
        conference = self._make(facts, room)
        conference.rung = True
        return conference.begin(event, now)

    def _found(self, event: e.Create) -> str:
        text = founding(
            event.call_id,
            call_type=event.call_type.value,
            session=event.session,
            key=event.key,
            nonce=event.nonce,
            created_at=event.network_ms,
        )
        return self._me.sign(text)

    def _make(self, facts: ConferenceFacts, room: Room | None, me: Person | None = None) -> Conference:
        here = me or Person(
            self._me.user_id,
            self.display_name,
            ParticipantState.INVITED,
            self.rules.lines(facts.call_type),
        )
        conference = Conference(self.rules, facts, here, self._me, room=room, gate=self.gate)
        if room is not None:
            conference.names = {guest.user_id: guest.display_name for guest in room.members}
        self.must_have_room()
        self._known[facts.call_id] = conference
        return conference

    def must_have_room(self) -> None:
        """Before one more. Raises RemoteError if our user is in, or asked into, as many as are kept."""
        if len(self._known) >= self.rules.known_max and not any(map(_idle, self._known.values())):
            raise RemoteError("too-many-conferences")

    def trim(self) -> list[cf.Effect]:
        """Of too many the one that our user is not in and that was heard of first is forgotten."""
        idle = next(filter(_idle, self._known.values()), None)
        if idle is None or len(self._known) <= self.rules.known_max:
            return []
        del self._known[idle.call_id]
        return idle.look_away()

    def _forget(self) -> None:
        for call_id in [c.call_id for c in self._known.values() if c.over]:
            del self._known[call_id]

    # --- signals -----------------------------------------------------------------------------------------

    def arrived(self, event: ce.SignalArrived, now: float, *, busy: bool) -> list[cf.Effect]:
        """A signal of a conference. ``busy``: our user is in another call, so nothing rings."""
        signal = event.signal
        conference = self._known.get(signal.call_id)
        if signal.kind is Kind.ANNOUNCE and isinstance(signal.body, AnnounceBody):
            return self._announced(event, signal.body, conference, now, busy=busy)
        if conference is not None:
            return conference.handle(event, now)
        if signal.kind is Kind.JOIN and isinstance(signal.body, JoinBody):
            return self._park(event, now)
        raise RemoteError("unknown-call")

    def _park(self, event: ce.SignalArrived, now: float) -> list[cf.Effect]:
        """A join that overtook the announcement waits for it (S07, K08)."""
        of_user = sum(parked.user_id == event.user_id for _, parked in self._parked)
        if len(self._parked) >= self.rules.parked_max or of_user >= self.rules.parked_of_user:
            raise RemoteError("parked-full")
        self._parked.append((now + self.rules.parked_ttl_s, event))
        return []

    def unpark(self, conference: Conference, now: float) -> list[cf.Effect]:
        """What has waited for this conference."""
        waiting = [event for _, event in self._parked if event.signal.call_id == conference.call_id]
        self._parked = deque(item for item in self._parked if item[1] not in waiting)
        out: list[cf.Effect] = []
        for event in waiting:
            try:
                out += conference.handle(event, now)
            except RemoteError as error:  # what it waited for is not to blame
                self.dropped[error.reason] += 1
        return out

    def _announced(
        self,
        event: ce.SignalArrived,
        body: AnnounceBody,
        conference: Conference | None,
        now: float,
        *,
        busy: bool,
    ) -> list[cf.Effect]:
        if conference is None or conference.faded:
            conference = self._learn_again(conference, self._learn(event, body, now), now)
        if body.ring and not conference.rung and not conference.joined:
            asks = self._rates.allow("rings", event.user_id, now)
            shown = conference.ring(event, body, now, waiting=True) if busy and asks else []
            conference.rung |= not asks
        else:
            shown = []
        out = [*shown, *conference.handle(event, now), *self.unpark(conference, now)]
        return [*out, *self._merge(conference, event, now)]

    def _learn_again(self, before: Conference | None, conference: Conference, now: float) -> Conference:
        """One that was heard of no more is back: it asks once, and who was sent out stays out."""
        room_id = conference.facts.room_id
        conference.rung = room_id is not None and self._has_asked(room_id, now)
        if before is not None:
            conference.rung |= before.rung
            conference.removed |= before.removed
        return conference

    def _has_asked(self, room_id: str, now: float) -> bool:
        """Whether a conference of that room has rung already, and may still be taken."""
        here = (c for c in self._known.values() if c.facts.room_id == room_id)
        return any(c.rung and c.inhabited(now) for c in here)

    def _learn(self, event: ce.SignalArrived, body: AnnounceBody, now: float) -> Conference:
        signal = event.signal
        room = self._room_of(event, body)
        if body.call_type not in _CALL_TYPES:
            raise RemoteError("malformed-announcement")
        facts = ConferenceFacts(
            call_id=signal.call_id,
            call_type=CallType(body.call_type),
            initiator_id=fingerprint(body.founder) if body.founder else event.user_id,
            session=body.session,
            key=body.key,
            nonce=body.nonce,
            founder=body.founder,
            founder_sig=body.founder_sig,
            told_by=event.user_id,
            created=now,
            created_ms=event.at_ms,
            created_at=body.created_at,
            room_id=signal.room_id,
            domain_id=signal.domain_id,
        )
        Place(self.gate, facts).must_be_open(event.user_id, self._me.user_id, body.members)
        if self._sent_away(facts, event.user_id):
            raise RemoteError("refused-member")
        return self._make(facts, room)

    def _sent_away(self, facts: ConferenceFacts, by: str) -> bool:
        """Whether it comes from somebody who was removed from the one of that room that our user is in:
        nobody is drawn over to a conference of his own."""
        mine = self._joined_in(facts.room_id) if facts.room_id is not None else None
        return mine is not None and not mine.removed.isdisjoint({by, facts.initiator_id})

    def _joined_in(self, room_id: str) -> Conference | None:
        return next((c for c in self._known.values() if c.joined and c.facts.room_id == room_id), None)

    def _room_of(self, event: ce.SignalArrived, body: AnnounceBody) -> Room | None:
        """The room that is meant; only its members may announce there, and only under the id that follows."""
        room_id = event.signal.room_id
        if room_id is None:
            if not event.contact:
                raise RemoteError("stranger")
            return None
        room = self.rooms.get(room_id)
        if room is None or event.user_id not in {guest.user_id for guest in room.members}:
            raise RemoteError("not-in-that-room")
        if event.signal.call_id != conference_id(room_id, body.nonce, body.founder):
            raise RemoteError("chosen-id")
        if not is_founded(body, event.signal.call_id):
            raise RemoteError("not-the-founder")
        return room

    def _merge(self, heard: Conference, event: ce.SignalArrived, now: float) -> list[cf.Effect]:
        """Two conferences of one room: everybody adopts the smaller id (K01). One that more people have been
        in for a while stands all the same: ids can be tried until one is small."""
        if heard.facts.room_id is None:
            return []
        mine = self._joined_in(heard.facts.room_id)
        if mine is None or mine is heard or heard.joined or heard.state is State.ENDED:
            return []
        if (-heard.standing(now), heard.call_id) > (-mine.standing(now), mine.call_id):
            answers = self._rates.allow("answers", event.user_id, now)
            return [mine.announcement(event.user_id, ring=False)] if answers else []
        if not heard.has_room(now):
            return []
        lease, owner, lines = mine.lease, mine.owner, mine.me.lines - {MediaTrackKind.SCREEN}
        out = mine.handle(ce.Superseded(call_id=mine.call_id, reason=EndReason.REPLACED), now)
        heard.me.muted, heard.rung = mine.me.muted, True
        join = e.Join(
            call_id=heard.call_id,
            lease=lease,
            at_ms=event.at_ms,
            network_ms=event.network_ms,
            kinds=lines,
            held=mine.me.held,
            owner=owner,
        )
        return [*out, *heard.join(join, now), *self._settle(heard, now)]

    # --- a call that grows ---------------------------------------------------------------------------------

    def grow(self, call: Call, event: e.Invite, now: float) -> list[cf.Effect]:
        """A 1:1 call of ours becomes a conference under the same id, its connection untouched."""
        facts = _grown_facts(call, event, self._me.pub, created_at=event.network_ms)
        conference = self._make(facts, None, call.me)
        out = conference.adopt(call, event.lease, event.network_ms, now)
        out += conference.tell_peer(call, now)
        return [*out, *conference.invite(event.user_id, event.display_name, now)]

    def grown(self, call: Call, event: ce.SignalArrived, lease: str, now: float) -> list[cf.Effect]:
        """The peer of a 1:1 call has made it a conference."""
        body = event.signal.body
        if not isinstance(body, AnnounceBody):
            raise RemoteError("malformed-announcement")
        facts = _grown_facts(call, body, self._me.pub, created_at=body.created_at)
        conference = self._make(facts, None, call.me)
        out = conference.adopt(call, lease, event.network_ms, now)
        for info in body.members:
            out += conference.account(info, event.network_ms, now)
        if not conference.joined:  # another device of our user is in already
            return out
        told = conference.say(call.facts.peer_id, Kind.JOIN, conference.join_body(None))
        return [*out, told, *self.unpark(conference, now)]


def _idle(conference: Conference) -> bool:
    return conference.state in (State.KNOWN, State.ENDED)


def _grown_facts(
    call: Call, session: e.Invite | AnnounceBody, pub: str, *, created_at: int
) -> ConferenceFacts:
    """A conference that was a call keeps its id, and who began it. ``pub``: our key."""
    founder = pub if call.facts.side is Side.CALLER else call.peer_pub
    return ConferenceFacts(
        call_id=call.call_id,
        call_type=call.type,
        initiator_id=fingerprint(founder),
        founder=founder,
        session=session.session,
        key=session.key,
        nonce=session.nonce,
        created=call.facts.created,
        created_ms=call.facts.created_ms,
        created_at=created_at,
        domain_id=call.facts.domain_id,
    )


def _as_join(event: e.Create, call_id: str) -> e.Join:
    return e.Join(
        call_id=call_id,
        lease=event.lease,
        at_ms=event.at_ms,
        network_ms=event.network_ms,
        owner=event.owner,
    )
