"""All conferences that this node knows: makes them, finds whose an event is, merges those of one room.

Everything here that others can fill is bounded: known conferences, parked joins.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
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

from . import events as e
from .facts import ConferenceFacts, Room
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


@dataclass(frozen=True, slots=True)
class Self:
    """This node: ``pub`` is the full key as signals spell it."""

    user_id: str
    pub: str
    device: str


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

    def living(self, room_id: str) -> Conference | None:
        """The conference of a room that is joined, or else the one that is announced."""
        here = [c for c in self._known.values() if c.facts.room_id == room_id and c.state is not State.ENDED]
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
            conference = self._smallest(conference)
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

    def _smallest(self, conference: Conference) -> Conference:
        """Of two that were made in one room at once everybody joins the same (K01)."""
        room_id = conference.facts.room_id
        return (self.living(room_id) if room_id else None) or conference

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
        living = self.living(event.room_id)
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

    def _make(self, facts: ConferenceFacts, room: Room | None, me: Person | None = None) -> Conference:
        lines = {MediaTrackKind.AUDIO} | (
            {MediaTrackKind.VIDEO} if facts.call_type is CallType.VIDEO else set()
        )
        here = me or Person(
            self._me.user_id,
            self.display_name,
            ParticipantState.INVITED,
            frozenset(lines) & self.rules.devices,
        )
        conference = Conference(
            self.rules, facts, here, self._me.pub, self._me.device, room=room, gate=self.gate
        )
        if room is not None:
            conference.names = {guest.user_id: guest.display_name for guest in room.members}
        self.make_room()
        self._known[facts.call_id] = conference
        return conference

    def make_room(self) -> None:
        """Of too many the one that our user is not in and that was heard of first is forgotten. Raises
        RemoteError if our user is in, or asked into, all of them."""
        if len(self._known) < self.rules.known_max:
            return
        idle = [c.call_id for c in self._known.values() if c.state in (State.KNOWN, State.ENDED)]
        if not idle:
            raise RemoteError("too-many-conferences")
        del self._known[idle[0]]

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
        if len(self._parked) >= self.rules.parked_max:
            raise RemoteError("parked-full")
        self._parked.append((now + self.rules.parked_ttl_s, event))
        return []

    def unpark(self, conference: Conference, now: float) -> list[cf.Effect]:
        """What has waited for this conference."""
        waiting = [event for _, event in self._parked if event.signal.call_id == conference.call_id]
        self._parked = deque(item for item in self._parked if item[1] not in waiting)
        return [out for event in waiting for out in conference.handle(event, now)]

    def _announced(
        self,
        event: ce.SignalArrived,
        body: AnnounceBody,
        conference: Conference | None,
        now: float,
        *,
        busy: bool,
    ) -> list[cf.Effect]:
        if conference is None:
            asked = event.signal.room_id is not None and self._has_asked(event.signal.room_id)
            conference = self._learn(event, body, now)
            conference.rung = asked
        if busy and body.ring and not conference.rung and not conference.joined:
            shown = conference.ring(event, body, now, waiting=True)
        else:
            shown = []
        out = [*shown, *conference.handle(event, now), *self.unpark(conference, now)]
        return [*out, *self._merge(conference, event, now)]

    def _has_asked(self, room_id: str) -> bool:
        """Whether a conference of that room has rung already, and may still be taken."""
        here = (c for c in self._known.values() if c.facts.room_id == room_id)
        return any(c.rung and c.state is not State.ENDED for c in here)

    def _learn(self, event: ce.SignalArrived, body: AnnounceBody, now: float) -> Conference:
        signal = event.signal
        room = self._room_of(event, body)
        if body.call_type not in _CALL_TYPES:
            raise RemoteError("malformed-announcement")
        facts = ConferenceFacts(
            call_id=signal.call_id,
            call_type=CallType(body.call_type),
            initiator_id=event.user_id if room is None else fingerprint(body.founder),
            session=body.session,
            key=body.key,
            nonce=body.nonce,
            founder=body.founder,
            created=now,
            created_ms=event.at_ms,
            created_at=body.created_at,
            room_id=signal.room_id,
            domain_id=signal.domain_id,
        )
        Place(self.gate, facts).must_be_open(event.user_id, self._me.user_id, body.members)
        return self._make(facts, room)

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
        return room

    def _merge(self, heard: Conference, event: ce.SignalArrived, now: float) -> list[cf.Effect]:
        """Two conferences of one room: everybody adopts the smaller id (K01)."""
        if heard.facts.room_id is None:
            return []
        mine = next(
            (c for c in self._known.values() if c.joined and c.facts.room_id == heard.facts.room_id), None
        )
        if mine is None or mine is heard or heard.joined or heard.state is State.ENDED:
            return []
        if heard.call_id > mine.call_id:
            return [mine.announcement(event.user_id, ring=False)]
        if not heard.has_room(now):
            return []
        lease, owner, kinds, muted = mine.lease, mine.owner, mine.me.lines, mine.me.muted
        out = mine.handle(ce.Superseded(call_id=mine.call_id, reason=EndReason.REPLACED), now)
        heard.me.muted, heard.rung = muted, True
        join = e.Join(
            call_id=heard.call_id,
            lease=lease,
            at_ms=event.at_ms,
            network_ms=event.network_ms,
            kinds=kinds,
            owner=owner,
        )
        return [*out, *heard.join(join, now), *self._settle(heard, now)]

    # --- a call that grows ---------------------------------------------------------------------------------

    def grow(self, call: Call, event: e.Invite, now: float) -> list[cf.Effect]:
        """A 1:1 call of ours becomes a conference under the same id, its connection untouched."""
        facts = ConferenceFacts(
            call_id=call.call_id,
            call_type=call.type,
            initiator_id=call.facts.me_id if call.facts.side is Side.CALLER else call.facts.peer_id,
            session=event.session,
            key=event.key,
            nonce=event.nonce,
            created=call.facts.created,
            created_ms=call.facts.created_ms,
            created_at=event.network_ms,
            domain_id=call.facts.domain_id,
        )
        conference = self._make(facts, None, call.me)
        out = conference.adopt(call, event.lease, event.network_ms, now)
        out += conference.tell_peer(call, now)
        return [*out, *conference.invite(event.user_id, event.display_name, now)]

    def grown(self, call: Call, event: ce.SignalArrived, lease: str, now: float) -> list[cf.Effect]:
        """The peer of a 1:1 call has made it a conference."""
        body = event.signal.body
        if not isinstance(body, AnnounceBody):
            raise RemoteError("malformed-announcement")
        facts = ConferenceFacts(
            call_id=call.call_id,
            call_type=call.type,
            initiator_id=call.facts.me_id if call.facts.side is Side.CALLER else call.facts.peer_id,
            session=body.session,
            key=body.key,
            nonce=body.nonce,
            created=call.facts.created,
            created_ms=call.facts.created_ms,
            created_at=body.created_at,
            domain_id=call.facts.domain_id,
        )
        conference = self._make(facts, None, call.me)
        out = conference.adopt(call, lease, event.network_ms, now)
        for info in body.members:
            out += conference.account(info, event.network_ms, now)
        told = conference.say(call.facts.peer_id, Kind.JOIN, conference.join_body(None))
        return [*out, told, *self.unpark(conference, now)]


def _as_join(event: e.Create, call_id: str) -> e.Join:
    return e.Join(
        call_id=call_id,
        lease=event.lease,
        at_ms=event.at_ms,
        network_ms=event.network_ms,
        owner=event.owner,
    )
