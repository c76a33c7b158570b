"""What the users of a simulation do: they call, answer or not, hold, end, and meet in rooms.

What a user wants is drawn from a stream of its own, so the same people live in every network.
"""

from __future__ import annotations

from functools import partial
from random import Random

from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.conference import events as e
from sidecar.ids import call_id, hex_id
from sidecar.schema import CallSession, CallState, CallType, MediaTrackKind, ParticipantState

from .accounts import Account
from .nodes import Node
from .promises import ENDED
from .world import World

BETWEEN_WISHES_S = 12.0
"""Mean time between two wishes of a device."""
TALKING = frozenset({CallState.ACTIVE, CallState.ON_HOLD})


class Users:
    """``plan`` draws what everybody will want; ``saw`` is what their front ends show them."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"users {seed}")
        self._world: World
        self._until = 0.0

    def plan(self, world: World, seconds: float) -> None:
        """Fills the time until then with wishes."""
        self._world, self._until = world, seconds
        for node in world.nodes.values():
            at = self._random.expovariate(1 / BETWEEN_WISHES_S)
            while at < seconds:
                world.at(at, partial(self._wish, node))
                at += self._random.expovariate(1 / BETWEEN_WISHES_S)

    def leave_all(self) -> None:
        """Everybody ends everything, requests of strangers too."""
        for node in self._world.nodes.values():
            life = self._world.shared.promises.lives[node.name]
            live = [call_id for call_id, state in life.states.items() if state != ENDED]
            for there in [] if node.dead else live:
                node.tell(ce.End(call_id=there))

    def _chance(self, likely: float) -> bool:
        return self._random.random() < likely

    # --- wishes ----------------------------------------------------------------------------------------

    def _wish(self, node: Node) -> None:
        if not node.runs:
            return
        sessions = node.exchange.active()
        talking = [session for session in sessions if session.state in TALKING]
        if not sessions or (talking and self._chance(0.1)):
            self._begin(node)
        elif talking and self._chance(0.8):
            self._converse(node, self._random.choice(talking))
        else:
            node.tell(ce.End(call_id=self._random.choice(sessions).id))

    def _begin(self, node: Node) -> None:
        rooms = [room for room in node.shared.rooms.values() if _is_in(node, room.members)]
        if rooms and self._chance(0.4):
            self._meet(node, self._random.choice(rooms).room_id)
            return
        others = [user for user in node.shared.users.values() if user is not node.owner.account]
        self.call(node, self._random.choice(others))

    def call(self, node: Node, callee: Account) -> None:
        """Calls a user, who may have had the same idea at the same time (C01)."""
        taken = node.tell(
            ce.Initiate(
                call_id=call_id(self._random.randbytes(16)),
                user_id=callee.user_id,
                display_name=callee.name,
                call_type=self._random.choice((CallType.AUDIO, CallType.VIDEO)),
                relation=relation(node, callee),
                session=hex_id(self._random.randbytes(16)),
                at_ms=node.clock.wall_ms(),
                devices=tuple(callee.devices.values()),
            )
        )
        if taken and self._chance(0.2):
            back = [other for other in self._world.nodes.values() if other.owner.account is callee]
            crossing = partial(self._call_back, self._random.choice(back), node.owner.account)
            self._after(self._random.expovariate(1.0), crossing)

    def _call_back(self, node: Node, callee: Account) -> None:
        if node.runs and not node.exchange.active():
            self.call(node, callee)

    def _sits_elsewhere(self, node: Node) -> bool:
        """Whether another device of the user is in a conference: nobody sits in two places."""
        others = [o for o in self._world.nodes.values() if o.user_id == node.user_id and o is not node]
        return any(not other.dead and other.exchange.hall.talking() for other in others)

    def _meet(self, node: Node, room_id: str) -> None:
        if self._sits_elsewhere(node):
            return
        living = node.exchange.hall.living(room_id, node.clock.monotonic())
        now_ms, at_ms = node.clock.network_ms(), node.clock.wall_ms()
        if living is not None and self._chance(0.7):
            lease = node.new_lease()
            node.tell(e.Join(call_id=living.call_id, lease=lease, at_ms=at_ms, network_ms=now_ms))
            return
        nonce = hex_id(self._random.randbytes(16))
        node.tell(
            e.Create(
                call_id=node.exchange.hall.new_id(room_id, nonce),
                room_id=room_id,
                call_type=self._random.choice((CallType.AUDIO, CallType.VIDEO)),
                session=hex_id(self._random.randbytes(16)),
                key=hex_id(self._random.randbytes(32)),
                nonce=nonce,
                lease=node.new_lease(),
                at_ms=at_ms,
                network_ms=now_ms,
                ring=self._chance(0.8),
            )
        )

    def _converse(self, node: Node, session: CallSession) -> None:
        """Something that one does in a call."""
        what = self._random.random()
        if what < 0.35:
            node.tell(ce.End(call_id=session.id))
        elif what < 0.55:
            held = session.state is CallState.ON_HOLD
            node.tell((ce.Resume if held else ce.Hold)(call_id=session.id))
        elif what < 0.65:
            muted = self._chance(0.5)
            node.tell(ce.Mute(call_id=session.id, kind=MediaTrackKind.AUDIO, muted=muted))
        elif what < 0.85:
            self._invite(node, session)
        else:
            self._moderate(node, session)

    def _invite(self, node: Node, session: CallSession) -> None:
        inside = {person.user_id for person in session.participants}
        outside = [user for user in node.shared.users.values() if user.user_id not in inside]
        friends = [user for user in outside if relation(node, user) is ce.Relation.CONTACT]
        if friends:
            guest = self._random.choice(friends)
            node.tell(
                e.Invite(
                    call_id=session.id,
                    user_id=guest.user_id,
                    display_name=guest.name,
                    session=hex_id(self._random.randbytes(16)),
                    key=hex_id(self._random.randbytes(32)),
                    nonce=hex_id(self._random.randbytes(16)),
                    lease=node.new_lease(),
                    at_ms=node.clock.wall_ms(),
                    network_ms=node.clock.network_ms(),
                )
            )

    def _moderate(self, node: Node, session: CallSession) -> None:
        others = [
            person.user_id
            for person in session.participants
            if person.user_id != node.user_id and person.state is ParticipantState.CONNECTED
        ]
        if others and node.exchange.hall.get(session.id) is not None:
            event = e.Remove if self._chance(0.3) else e.Hush
            node.tell(event(call_id=session.id, user_id=self._random.choice(others)))

    # --- answers -----------------------------------------------------------------------------------------

    def saw(self, node: Node, effect: cf.Effect) -> None:
        """A front end shows something that its user may react to."""
        if isinstance(effect, cf.Ring):
            self._after(self._random.expovariate(1 / 5), partial(self._answer, node, effect.call_id))
        elif isinstance(effect, cf.Notify) and effect.event == "aleph:callRequest":
            self._after(self._random.expovariate(1 / 8), partial(self._answer, node, effect.call_id))

    def _answer(self, node: Node, asked: str) -> None:
        """Several devices of one user may answer at once (C08, C09)."""
        if not node.runs:
            return
        what = self._random.random()
        if what < 0.6:
            self._accept(node, asked)
        elif what < 0.75:
            node.tell(ce.Reject(call_id=asked))

    def _accept(self, node: Node, asked: str) -> None:
        at_ms, now_ms = node.clock.wall_ms(), node.clock.network_ms()
        if node.exchange.hall.get(asked) is None:
            node.tell(ce.Accept(call_id=asked, listen_only=self._chance(0.1)))
        elif not self._sits_elsewhere(node):
            node.tell(e.Join(call_id=asked, lease=node.new_lease(), at_ms=at_ms, network_ms=now_ms))

    def _after(self, delay_s: float, do: partial[None]) -> None:
        if self._world.now_s + delay_s < self._until:
            self._world.at(self._world.now_s + delay_s, do)


def relation(node: Node, other: Account) -> ce.Relation:
    """What the front end's social copy and the graph say about a user."""
    social = node.owner.account.social
    if social.is_blocked(other.user_id):
        return ce.Relation.BLOCKED
    known = social.contact(other.user_id) is not None
    return ce.Relation.CONTACT if known else ce.Relation.STRANGER


def _is_in(node: Node, members: tuple[object, ...]) -> bool:
    return any(getattr(guest, "user_id", "") == node.user_id for guest in members)
