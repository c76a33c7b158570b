"""What must hold in every simulated life, checked as it happens: by what nodes are told and what they do.

Nothing in here looks into a machine: a promise is about what a user, a peer or a history could notice.
``settling`` has the promises that only hold once everything has come to rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.conference import events as e
from sidecar.schema import CallState, EndReason, ParticipantState

from .broken import promise

if TYPE_CHECKING:
    from .nodes import Node

ENDED = "ended"
LIVE_CONFERENCE = "joined"
OLDEST_RING_MS = 121_000
"""The longest ring there may be, and the error of network time."""
_WANTING = (ce.Initiate, ce.Accept, e.Create, e.Join, e.Invite)
"""Commands with which a user asks for a call, and so for the microphone."""


@dataclass
class Ending:
    """Why a call ended on a device, and by which trigger."""

    reason: EndReason
    cause: str
    at: float


@dataclass
class Life:
    """What one process has done so far."""

    states: dict[str, str] = field(default_factory=dict)
    """By call, conferences included."""
    peers: dict[str, str] = field(default_factory=dict)
    """The other user of every 1:1 call that has begun."""
    endings: dict[str, Ending] = field(default_factory=dict)
    records: Counter[str] = field(default_factory=Counter)
    wanted: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    """Calls that our user has started."""
    called: set[str] = field(default_factory=set)
    """Users that ours has called."""
    welcome: set[str] = field(default_factory=set)
    """Users whose crossing call takes the place of ours, rooms whose conferences merge."""
    rung: set[tuple[str, bool]] = field(default_factory=set)
    """Calls that rang, and whether as conferences: one that has grown may ask another device of a user."""
    captured: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    doubtful: bool = False
    """Something has changed that ``held`` has to look at."""


class Promises:
    """``started``, ``asked``, ``done`` and ``held`` are called by the nodes as they live."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self.rings: Counter[tuple[str, str]] = Counter()
        """By device and call: restarts do not reset it, unless it is a conference that asks again."""
        self.known: set[tuple[str, str]] = set()
        """(device, call) of former lives."""

    def started(self, node: Node) -> None:
        """A process begins."""
        before = self.lives.get(node.name)
        if before is not None:
            self.known |= {(node.name, call_id) for call_id in before.peers}
        self.lives[node.name] = Life()

    def asked(self, node: Node, event: ce.Event) -> None:
        """The user of a node gives a command."""
        life = self.lives[node.name]
        if isinstance(event, _WANTING):
            life.wanted.add(event.call_id)
        if isinstance(event, (e.Create, e.Join)):
            room = _room_of(node, event)
            life.wanted |= {c.call_id for c in _in_room(node, room)}
        if isinstance(event, ce.Initiate):
            life.made.add(event.call_id)
            life.called.add(event.user_id)

    def done(self, node: Node, effect: cf.Effect) -> None:
        """A node is about to do something."""
        check = _CHECKS.get(type(effect))
        if check is not None:
            check(self, node, self.lives[node.name], effect)

    def held(self, node: Node) -> None:
        """A node has done all that an event asked for."""
        life = self.lives[node.name]
        if not life.doubtful:
            return
        life.doubtful = False
        live = [peer for call_id, peer in life.peers.items() if _lives(node, life, call_id)]
        promise(len(live) == len(set(live)), f"{node.name} has two live calls with one user")
        open_for = {call_id for call_id in life.captured if life.states.get(call_id) != ENDED}
        promise(open_for == life.captured, f"{node.name} captures for a call that has ended")
        joined = [c for c, state in life.states.items() if state == LIVE_CONFERENCE]
        rooms = [c.facts.room_id for c in map(node.exchange.hall.get, joined) if c and c.facts.room_id]
        promise(len(rooms) == len(set(rooms)), f"{node.name} is in two conferences of a room")

    # --- effects -----------------------------------------------------------------------------------------

    def _moved(self, node: Node, life: Life, effect: cf.Moved) -> None:
        call_id, life.doubtful = effect.call_id, True
        before = life.states.get(call_id)
        life.states[call_id] = effect.new
        if node.exchange.hall.get(call_id) is not None:
            self._conference_moved(node, life, effect)
            return
        life.peers.setdefault(call_id, _peer(node, call_id))
        promise(before != ENDED, f"{node.name} moved {call_id} after its end")
        if effect.new != ENDED:
            return
        reason = EndReason(effect.reason or "")
        life.endings[call_id] = Ending(reason, effect.cause, node.clock.monotonic())
        if reason is EndReason.GLARE and call_id in life.peers:
            life.welcome.add(life.peers[call_id])

    def _conference_moved(self, node: Node, life: Life, effect: cf.Moved) -> None:
        conference = node.exchange.hall.get(effect.call_id)
        replaced = effect.reason == EndReason.REPLACED.value
        if conference is not None and conference.facts.room_id and replaced:
            life.welcome.add(conference.facts.room_id)

    def _session(self, node: Node, life: Life, effect: cf.JoinSession) -> None:
        life.sessions.add(effect.call_id)

    def _left(self, node: Node, life: Life, effect: cf.LeaveSession) -> None:
        conference = node.exchange.hall.get(effect.call_id) is not None
        known = conference or effect.call_id in life.sessions
        promise(known, f"{node.name} left a session that it never joined")
        life.sessions.discard(effect.call_id)

    def _rang(self, node: Node, life: Life, effect: cf.Ring) -> None:
        offer, call_id = effect.offer, effect.call_id
        again = (node.owner.device, call_id)
        conference = node.exchange.hall.get(call_id) is not None
        self.rings[again] += 1
        promise(self.rings[again] == 1 or conference, f"{node.name} rang twice for {call_id}")
        promise((call_id, conference) not in life.rung, f"{node.name} rang twice for {call_id}")
        life.rung.add((call_id, conference))
        new = conference or (node.name, call_id) not in self.known
        promise(new, f"{node.name} rang again after its restart")
        caller, social = offer.from_user_id, node.owner.account.social
        promise(not social.is_blocked(caller), f"{node.name} rang for a blocked user")
        welcome = social.contact(caller) is not None or conference or caller in life.called
        promise(welcome or node.shared.rules.strangers_ring, f"{node.name} rang for a stranger")
        age_ms = node.clock.network_ms() - offer.timestamp
        promise(age_ms < OLDEST_RING_MS, f"{node.name} rang for a call that is {age_ms} ms old")

    def _ended(self, node: Node, life: Life, effect: cf.CallEnded) -> None:
        life.records[effect.call_id] += 1
        once = life.records[effect.call_id] == 1 or node.exchange.hall.get(effect.call_id) is not None
        promise(once, f"{node.name} recorded {effect.call_id} twice")

    def _opened(self, node: Node, life: Life, effect: cf.OpenCall) -> None:
        call_id, life.doubtful = effect.call_id, True
        promise(call_id not in life.captured, f"{node.name} opened its sources twice for {call_id}")
        conference = node.exchange.hall.get(call_id)
        crossing = conference.facts.room_id if conference is not None else life.peers.get(call_id)
        promise(
            call_id in life.wanted or crossing in life.welcome,
            f"{node.name} captures for {call_id} before its user accepted",
        )
        life.captured.add(call_id)

    def _closed(self, node: Node, life: Life, effect: cf.CloseCall) -> None:
        life.captured.discard(effect.call_id)

    def _notified(self, node: Node, life: Life, effect: cf.Notify) -> None:
        if effect.event == "aleph:callRequest":
            again = (node.owner.device, f"request {effect.call_id}")
            self.rings[again] += 1
            promise(self.rings[again] == 1, f"{node.name} showed a request twice")
        if effect.event != "aleph:participantJoined":
            return
        session = node.exchange.session(effect.call_id)
        if session is None or session.state in (CallState.ENDED, CallState.FAILED):
            return
        inside = [p for p in session.participants if p.state is ParticipantState.CONNECTED]
        promise(len(inside) <= session.max_participants, f"{node.name} shows more people than allowed")


def _lives(node: Node, life: Life, call_id: str) -> bool:
    return life.states.get(call_id) != ENDED and node.exchange.hall.get(call_id) is None


def _peer(node: Node, call_id: str) -> str:
    session = node.exchange.session(call_id)
    assert session is not None, "a call that moves is there"
    return next(person.user_id for person in session.participants if person.user_id != node.user_id)


def _room_of(node: Node, event: e.Create | e.Join) -> str | None:
    if isinstance(event, e.Create):
        return event.room_id
    conference = node.exchange.hall.get(event.call_id)
    return conference.facts.room_id if conference else None


def _in_room(node: Node, room_id: str | None) -> list[Any]:
    """Of two conferences of a room the user who joins one may find itself in the other."""
    living = node.exchange.hall.living(room_id, node.clock.monotonic()) if room_id else None
    return [living] if living else []


_CHECKS: Mapping[type[cf.Effect], Callable[[Promises, Node, Life, Any], None]] = {
    cf.Moved: Promises._moved,
    cf.JoinSession: Promises._session,
    cf.LeaveSession: Promises._left,
    cf.Ring: Promises._rang,
    cf.CallEnded: Promises._ended,
    cf.OpenCall: Promises._opened,
    cf.CloseCall: Promises._closed,
    cf.Notify: Promises._notified,
}
