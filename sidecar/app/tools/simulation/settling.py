"""What must hold once a world has come to rest: both ends in or out, one story, one roster, no timer left."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sidecar.schema import CallState, EndReason, ParticipantState

from .broken import promise
from .promises import ENDED

if TYPE_CHECKING:
    from sidecar.conference.machine import Conference

    from .nodes import Node
    from .shared import Shared

MIRROR = {EndReason.LOCAL_HANGUP: EndReason.REMOTE_HANGUP}
"""What the other end says to it; every other reason is the same word at both ends."""
FROM_PEER = frozenset({"signal reject", "signal busy", "signal cancel", "signal end"})
"""Causes of an end that the peer has told."""
ELSEWHERE = frozenset({EndReason.ANSWERED_ELSEWHERE, EndReason.DECLINED_ELSEWHERE})
TOGETHER = frozenset({CallState.ACTIVE, CallState.ON_HOLD})


def at_rest(shared: Shared) -> None:
    """Nobody has done anything for a while and the network works."""
    calls: dict[str, list[Node]] = defaultdict(list)
    for node in _alive(shared):
        for call_id in shared.promises.lives[node.name].peers:
            if node.exchange.hall.get(call_id) is None:
                calls[call_id].append(node)
    for call_id, nodes in calls.items():
        _together(shared, call_id, nodes)
        _one_story(shared, call_id, nodes)
    _one_roster(shared)


def at_the_end(shared: Shared) -> None:
    """Everybody has hung up, and what was to be forgotten has been."""
    for node in _alive(shared):
        life = shared.promises.lives[node.name]
        promise(not life.captured, f"{node.name} captures after everything has ended")
        promise(not life.sessions, f"{node.name} still reads the session of a call")
        promise(not node.exchange.active(), f"{node.name} has a call after everything has ended")
        due = node.exchange.next_deadline()
        promise(due is None, f"{node.name} has a timer left")


def _alive(shared: Shared) -> list[Node]:
    return [node for node in shared.nodes.values() if not node.dead]


def _together(shared: Shared, call_id: str, nodes: list[Node]) -> None:
    """Two are in a call, one at each end, or nobody is."""
    inside = []
    for node in nodes:
        if shared.promises.lives[node.name].states.get(call_id) == ENDED:
            continue
        session = node.exchange.session(call_id)
        promise(session is not None and session.state in TOGETHER, f"{node.name} is stuck in {call_id}")
        inside.append(node)
    users = {node.user_id for node in inside}
    promise(len(inside) in (0, 2) and len(users) == len(inside), f"{len(inside)} are in {call_id}")


def _one_story(shared: Shared, call_id: str, nodes: list[Node]) -> None:
    """Who was told of the end by the other side says what it says."""
    ends = {node: shared.promises.lives[node.name].endings.get(call_id) for node in nodes}
    caller = next((n for n in nodes if call_id in shared.promises.lives[n.name].made), None)
    mine = ends.get(caller) if caller else None
    if caller is None or mine is None:
        return
    theirs = {node: end for node, end in ends.items() if node is not caller and end is not None}
    for node, end in theirs.items():
        told = end.cause in FROM_PEER
        fits = _same(mine.reason, end.reason) or end.reason in ELSEWHERE
        promise(not told or fits, f"{call_id}: {mine.reason.value} here, {end.reason.value} at {node.name}")
    said = sorted(end.reason.value for end in theirs.values() if end.reason not in ELSEWHERE)
    if mine.cause in FROM_PEER and said and not _is_forgotten(shared, call_id):
        fits = any(_same(EndReason(reason), mine.reason) for reason in said)
        promise(fits, f"{call_id}: {mine.reason.value} at {caller.name}, {said} at the others")


def _is_forgotten(shared: Shared, call_id: str) -> bool:
    """Whether a process that had this call is gone: it may have been the one that said why it ended."""
    promises = shared.promises
    dead = [node.name for node in shared.nodes.values() if node.dead]
    return any(call_id in promises.lives[name].peers for name in dead) or any(
        (name, call_id) in promises.known for name in shared.nodes
    )


def _same(one: EndReason, other: EndReason) -> bool:
    return MIRROR.get(one, one) == other or MIRROR.get(other, other) == one


def _one_roster(shared: Shared) -> None:
    """Who is in a conference sees everybody who is in it, and nobody else; a room has one.

    Devices of one user say nothing to each other: what they know of each other they have from others.
    """
    inside: dict[str, list[Node]] = defaultdict(list)
    for node in _alive(shared):
        for conference in (node.exchange.hall.get(c) for c in shared.promises.lives[node.name].states):
            if conference is not None and conference.joined:
                inside[conference.call_id].append(node)
    rooms: dict[str, str] = {}
    for call_id, nodes in inside.items():
        room_id = _agreed(shared, call_id, nodes)
        other = rooms.setdefault(room_id, call_id) if room_id is not None else call_id
        apart = other == call_id or _apart(nodes, inside[other]) or _outcast(nodes, inside[other])
        here, there = _named(call_id, nodes), _named(other, inside[other])
        promise(apart, f"two conferences in {room_id}: {here}; {there}")


def _named(call_id: str, nodes: list[Node]) -> str:
    return f"{call_id} with {', '.join(node.name for node in nodes)}"


def _apart(some: list[Node], others: list[Node]) -> bool:
    """Whether two conferences of a room may go on side by side.

    Somebody is deaf to somebody, was sent out of one of them, is in both, or all do not fit in one.
    """
    here, there = {node.user_id for node in some}, {node.user_id for node in others}
    rooms = some[0].shared.rooms.values()
    full = any(len(here | there) > (room.participants_max or len(here | there)) for room in rooms)
    removed = (here | there) & {user for node in (*some, *others) for user in _removed(node)}
    return full or bool(removed) or bool(here & there) or _deaf(some + others)


def _outcast(some: list[Node], others: list[Node]) -> bool:
    """Whether one of them was made by somebody who was sent out of the other: nobody goes over."""
    removed = {user for node in (*some, *others) for user in _removed(node)}
    return any(
        conference is not None and conference.joined and conference.facts.initiator_id in removed
        for node in (*some, *others)
        for conference in map(node.exchange.hall.get, node.shared.promises.lives[node.name].states)
    )


def _removed(node: Node) -> set[str]:
    """Whom a moderator has sent out of what this node is in."""
    here = (node.exchange.hall.get(call_id) for call_id in node.shared.promises.lives[node.name].states)
    return {user for conference in here if conference is not None for user in conference.removed}


def _agreed(shared: Shared, call_id: str, nodes: list[Node]) -> str | None:
    """Checks one conference; its room. Who does not hear a member sees another roster."""
    inside = sorted(node.user_id for node in nodes)
    users = sorted(set(inside))
    twice = len(users) < len(inside) and len(users) > 1
    promise(not twice, f"two devices of one user are in {call_id[:12]}")
    conferences = [conference for node in nodes if (conference := node.exchange.hall.get(call_id))]
    blind = _deaf(nodes) or _back(nodes, conferences)
    for node, conference in [] if blind else zip(nodes, conferences, strict=True):
        promise(len(users) <= conference.limit, f"{len(users)} are in {call_id[:12]}")
        people = conference.session().participants
        seen = sorted(p.user_id for p in people if p.state is ParticipantState.CONNECTED)
        promise(seen == users, f"{node.name} sees {seen} in {call_id[:12]}, there are {users}")
    return conferences[0].facts.room_id


def _deaf(nodes: list[Node]) -> bool:
    """Whether one of them has blocked another."""
    return any(one.owner.account.social.is_blocked(two.user_id) for one in nodes for two in nodes)


def _back(nodes: list[Node], conferences: list[Conference]) -> bool:
    """Whether somebody who was sent out is back on another device, and no moderator is there to tell it."""
    return any(
        here.removed & {node.user_id for node in nodes} and not here.moderates(here.me.user_id)
        for here in conferences
    )
