"""A few named users in a simulated world, and what a test makes them do at which second."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial

from sidecar.app.tools.simulation import settling
from sidecar.app.tools.simulation.network import PRESETS, Preset
from sidecar.app.tools.simulation.nodes import Node
from sidecar.app.tools.simulation.users import relation
from sidecar.app.tools.simulation.world import World
from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.conference import effects as f
from sidecar.conference import events as e
from sidecar.conference.facts import Guest, Room
from sidecar.conference.plan import SendPlan
from sidecar.ids import call_id, hex_id
from sidecar.schema import CallRecord, CallState, CallType, EndReason, ParticipantState
from sidecar.signaling.messages import Kind

ROOM = "room"
AFTERMATH_S = 600.0
"""Longer than anything is remembered."""


class Scene:
    """Users with one device each unless ``devices`` says more; all are friends and in one room.

    A device is named like ``ann``, the second one of a user ``ann/2``. ``offsets_ms``: how wrong the network
    time of a device is; ``cap``: how many the room's domain lets into a conference.
    """

    def __init__(
        self,
        *users: str,
        net: Preset = PRESETS["wifi"],
        seed: int = 1,
        sealed: bool = False,
        devices: dict[str, int] | None = None,
        offsets_ms: dict[str, int] | None = None,
        cap: int | None = None,
    ) -> None:
        self.world = World(seed, net, sealed=sealed, on_effect=self._saw)
        accounts = [self.world.user(name, number) for number, name in enumerate(users, 1)]
        self.world.befriend(*accounts)
        self.nodes: dict[str, Node] = {}
        for account in accounts:
            for number in range(1, (devices or {}).get(account.name, 1) + 1):
                name = account.name if number == 1 else f"{account.name}/{number}"
                offset_ms = (offsets_ms or {}).get(name, 0)
                self.nodes[name] = self.world.device(account, skew_ms=offset_ms, offset_ms=offset_ms)
        guests = tuple(Guest(account.user_id, account.name) for account in accounts)
        self.world.set_rooms({ROOM: Room(room_id=ROOM, members=guests, participants_max=cap)})
        self.rings: dict[str, list[str]] = defaultdict(list)
        """Calls that rang, by device."""
        self.records: dict[str, list[CallRecord]] = defaultdict(list)
        """The history of each device."""
        self.said: Counter[Kind] = Counter()
        """Signals that were written."""
        self.plans: dict[str, list[tuple[float, SendPlan]]] = defaultdict(list)
        """What each device was told to send, and when."""
        self.world.start()

    def _saw(self, node: Node, effect: cf.Effect) -> None:
        name = next(name for name, one in self.nodes.items() if one is node)
        if isinstance(effect, cf.Ring):
            self.rings[name].append(effect.call_id)
        elif isinstance(effect, cf.SendSignal):
            self.said[effect.kind] += 1
        elif isinstance(effect, f.SetSendPlan):
            self.plans[name].append((self.world.shared.agenda.now, effect.plan))
        elif isinstance(effect, cf.CallEnded):
            self.records[name].append(effect.record)

    # --- what happens when -----------------------------------------------------------------------------

    def at(self, at_s: float, do: Callable[..., object], *arguments: object) -> None:
        self.world.at(at_s, partial(do, *arguments))

    def run(self, until_s: float) -> None:
        self.world.run(until_s)

    def part(self, *names: str) -> None:
        """The graph of these devices is apart from that of the others; of nobody: it is whole again."""
        self.world.shared.graph.divide(frozenset(self.nodes[name].name for name in names))

    def new_call(self) -> str:
        return call_id(self._hex_bytes(16))

    def call(self, caller: str, callee: str, to_be: str) -> None:
        """``to_be``: the id of the call, from ``new_call``."""
        node, other = self.nodes[caller], self.nodes[callee].owner.account
        self._tell(
            caller,
            ce.Initiate(
                call_id=to_be,
                user_id=other.user_id,
                display_name=other.name,
                call_type=CallType.AUDIO,
                relation=relation(node, other),
                session=hex_id(self._hex_bytes(16)),
                at_ms=node.clock.wall_ms(),
                devices=tuple(other.devices.values()),
            ),
        )

    def accept(self, name: str, call: str) -> None:
        self._tell(name, ce.Accept(call_id=call))

    def end(self, name: str, call: str) -> None:
        self._tell(name, ce.End(call_id=call))

    def meet(self, name: str) -> str:
        """Creates a conference in the room."""
        node, nonce = self.nodes[name], hex_id(self._hex_bytes(16))
        call = node.exchange.hall.new_id(ROOM, nonce)
        self._tell(
            name,
            e.Create(
                call_id=call,
                room_id=ROOM,
                call_type=CallType.AUDIO,
                session=hex_id(self._hex_bytes(16)),
                key=hex_id(self._hex_bytes(32)),
                nonce=nonce,
                lease=node.new_lease(),
                at_ms=node.clock.wall_ms(),
                network_ms=node.clock.network_ms(),
            ),
        )
        return call

    def join(self, name: str, call: str) -> None:
        node = self.nodes[name]
        at_ms, network_ms = node.clock.wall_ms(), node.clock.network_ms()
        self._tell(name, e.Join(call_id=call, lease=node.new_lease(), at_ms=at_ms, network_ms=network_ms))

    def may_join(self, name: str, call: str) -> bool:
        """Tries it."""
        node = self.nodes[name]
        at_ms, network_ms = node.clock.wall_ms(), node.clock.network_ms()
        return node.tell(e.Join(call_id=call, lease=node.new_lease(), at_ms=at_ms, network_ms=network_ms))

    def invite(self, name: str, guest: str, call: str) -> None:
        node, other = self.nodes[name], self.nodes[guest].owner.account
        self._tell(
            name,
            e.Invite(
                call_id=call,
                user_id=other.user_id,
                display_name=other.name,
                session=hex_id(self._hex_bytes(16)),
                key=hex_id(self._hex_bytes(32)),
                nonce=hex_id(self._hex_bytes(16)),
                lease=node.new_lease(),
                at_ms=node.clock.wall_ms(),
                network_ms=node.clock.network_ms(),
            ),
        )

    def _tell(self, name: str, event: ce.Event) -> None:
        assert self.nodes[name].tell(event), f"{name} may not: {event}"

    def _hex_bytes(self, count: int) -> bytes:
        return self.world.shared.random.bytes(count)

    # --- what became of it -----------------------------------------------------------------------------

    def state(self, name: str, call: str) -> CallState | None:
        session = self.nodes[name].exchange.session(call)
        return session.state if session else None

    def states(self, call: str) -> dict[str, CallState | None]:
        return {name: self.state(name, call) for name in self.nodes}

    def why(self, name: str) -> list[EndReason]:
        """How everything in the history of a device ended."""
        return [record.end_reason for record in self.records[name]]

    def seen_by(self, name: str, call: str) -> set[str]:
        """Who is in a call as this device shows it."""
        session = self.nodes[name].exchange.session(call)
        people = session.participants if session else []
        inside = {person.user_id for person in people if person.state is ParticipantState.CONNECTED}
        return {node.owner.account.name for node in self.nodes.values() if node.user_id in inside}

    def rest(self, now_s: float) -> None:
        """Both ends agree; then everybody hangs up, and nothing is left of anything."""
        settling.at_rest(self.world.shared)
        for name, node in self.nodes.items():
            for session in [] if node.dead else node.exchange.active():
                self.end(name, session.id)
        self.run(now_s + AFTERMATH_S)
        settling.at_the_end(self.world.shared)
        for node in self.nodes.values():
            assert not node.exchange.notes()
        assert not self.world.shared.media.ends
