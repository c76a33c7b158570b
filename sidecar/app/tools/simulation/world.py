"""Many nodes with the real machines over a seeded network and graph, in virtual time: same seed, same life.

A user may have several nodes (devices). The graph keeps what was written, so a node that comes later or comes
back reads the past as it would in life. Broken promises raise ``Broken`` with what led there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.calls.rules import Rules
from sidecar.calls.switchboard import Switchboard
from sidecar.conference import effects as f
from sidecar.conference import events as e
from sidecar.conference.exchange import Exchange
from sidecar.conference.facts import Room
from sidecar.conference.hall import Hall, Self
from sidecar.conference.rules import ConferenceRules
from sidecar.errors import SidecarError
from sidecar.ids import fingerprint, hex_id
from sidecar.schema import EndReason
from sidecar.signaling.messages import EmptyBody, Kind, MemberInfo, Party, Signal

from .media import Media
from .network import Agenda, Dice, Preset

WALL_MS = 1_800_000_000_000
START = 1000.0


class Broken(AssertionError):
    """A promise that did not hold."""


@dataclass
class Node:
    """One device of a user. ``skew_ms``: how wrong its wall clock is; network time is right all the same."""

    name: str
    pub: str
    device: str
    exchange: Exchange
    epoch: str
    skew_ms: int = 0
    dead: bool = False
    sessions: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    """Nonces that were burnt; they outlive the process."""
    rings: Counter[str] = field(default_factory=Counter)
    ends: dict[str, EndReason] = field(default_factory=dict)
    watches: dict[tuple[str, str], str] = field(default_factory=dict)
    """Lease watched, by call and user."""
    plans: dict[tuple[str, str], Any] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    wake_at: float | None = None

    @property
    def user_id(self) -> str:
        return fingerprint(self.pub)


class World:
    """Make nodes, plan what users do with ``at``, then ``run``."""

    def __init__(self, seed: int, preset: Preset, rooms: Mapping[str, Room] | None = None) -> None:
        self.agenda = Agenda(START)
        self.dice = Dice(seed, preset)
        self.media = Media(self.agenda, self.dice, self._media_said)
        self.nodes: dict[str, Node] = {}
        self.rooms: Mapping[str, Room] = rooms or {}
        self.leaves: list[tuple[Signal, str | None, str]] = []
        """(signal, session or None, recipient user)"""
        self.leases: dict[str, MemberInfo] = {}
        self.strangers: set[frozenset[str]] = set()
        """Pairs of users that are no contacts."""
        self.split: frozenset[str] = frozenset()
        """Nodes on the far side of a graph partition."""
        self.counts: Counter[str] = Counter()
        self.log: list[str] = []
        self.rules = Rules()
        self.conference_rules = ConferenceRules()

    # --- nodes -----------------------------------------------------------------------------------------

    def add(self, name: str, pub: str, *, skew_ms: int = 0) -> Node:
        """A device: several with one ``pub`` are one user."""
        device = hex_id(self.dice.bytes(8))
        node = Node(name, pub, device, self._exchange(name, pub, device), hex_id(self.dice.bytes(8)), skew_ms)
        self.nodes[name] = node
        return node

    def _exchange(self, name: str, pub: str, device: str) -> Exchange:
        user_id = fingerprint(pub)
        board = Switchboard(self.rules, user_id, name, public_key=pub, device=device)
        hall = Hall(self.conference_rules, Self(user_id, pub, device), name)
        hall.rooms = self.rooms
        return Exchange(board, hall, lambda _: self.new_lease(name))

    def new_lease(self, name: str) -> str:
        """The public key of a space made for a session."""
        return f"{name}.{hex_id(self.dice.bytes(8))}"

    def alive(self) -> list[Node]:
        return [node for node in self.nodes.values() if not node.dead]

    def devices(self, user_id: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.user_id == user_id]

    def crash(self, name: str) -> None:
        """kill -9."""
        node = self.nodes[name]
        self._note(f"{name} crashes")
        node.dead, node.sessions, node.watches, node.opened = True, set(), {}, set()
        node.wake_at = None
        self.media.kill(name)

    def restart(self, name: str) -> None:
        """The same device comes back as another process, and reads what the graph still has."""
        node = self.nodes[name]
        if not node.dead:
            return
        self._note(f"{name} restarts")
        node.dead, node.epoch = False, hex_id(self.dice.bytes(8))
        node.exchange = self._exchange(name, node.pub, node.device)
        node.ends.clear()
        for signal, session, user_id in list(self.leaves):
            if session is None and user_id == node.user_id:
                self._send_leaf(node, signal)

    # --- time ------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.agenda.now

    def network_ms(self) -> int:
        return WALL_MS + round((self.now - START) * 1000)

    def wall_ms(self, node: Node) -> int:
        return self.network_ms() + node.skew_ms

    def at(self, after_s: float, do: Callable[[], None]) -> None:
        self.agenda.at(START + after_s, do)

    def run(self, seconds: float) -> None:
        """Lets everything happen until then."""
        until = START + seconds
        while (due := self.agenda.next()) is not None and due <= until:
            self.agenda.run_next()
        self.agenda.now = until

    def _wake(self, node: Node) -> None:
        due = node.exchange.next_deadline()
        if due is not None and (node.wake_at is None or due < node.wake_at or node.wake_at <= self.now):
            node.wake_at = due
            self.agenda.at(due, partial(self._timer, node, node.epoch, due))

    def _timer(self, node: Node, epoch: str, due: float) -> None:
        if node.dead or node.epoch != epoch or node.wake_at != due:
            return
        node.wake_at = None
        self._perform(node, node.exchange.handle_timer(self.now))

    # --- commands --------------------------------------------------------------------------------------

    def tell(self, name: str, event: ce.Event) -> bool:
        """Our user's word; whether it was taken."""
        node = self.nodes[name]
        if node.dead:
            return False
        try:
            effects = node.exchange.handle(event, self.now)
        except SidecarError as error:
            self._note(f"{name} {type(event).__name__}: {error.code.value}")
            self.counts[f"refused {error.code.value}"] += 1
            return False
        self._note(f"{name} {type(event).__name__}")
        self._perform(node, effects)
        return True

    def _media_said(self, name: str, event: ce.Event) -> None:
        node = self.nodes[name]
        if not node.dead:
            self._perform(node, node.exchange.handle(event, self.now))

    # --- effects -----------------------------------------------------------------------------------------

    def _perform(self, node: Node, effects: list[cf.Effect]) -> None:
        for effect in effects:
            performer = _PERFORM.get(type(effect))
            if performer is not None:
                performer(self, node, effect)
        self._wake(node)

    def _note(self, text: str) -> None:
        self.log.append(f"{self.now - START:9.3f} {text}")

    def _moved(self, node: Node, effect: cf.Moved) -> None:
        self._note(f"{node.name} {effect.call_id[:12]} {effect.old} -> {effect.new} ({effect.cause})")

    def _rang(self, node: Node, effect: cf.Ring) -> None:
        node.rings[effect.call_id] += 1
        self.counts["rings"] += 1
        if node.rings[effect.call_id] > 1:
            raise Broken(f"{node.name} rang twice for {effect.call_id}")

    def _ended(self, node: Node, effect: cf.CallEnded) -> None:
        node.ends[effect.call_id] = effect.record.end_reason
        self.counts[f"ended {effect.record.end_reason.value}"] += 1

    def _opened(self, node: Node, effect: cf.OpenCall) -> None:
        if (node.name, effect.call_id) in self.media.captured:
            raise Broken(f"{node.name} opened its sources twice for {effect.call_id}")
        self.media.captured.add((node.name, effect.call_id))

    def _closed(self, node: Node, effect: cf.CloseCall) -> None:
        self.media.close_call(node.name, effect.call_id)

    def _open_peer(self, node: Node, effect: cf.OpenPeer) -> None:
        self.media.open_peer(node.name, effect)

    def _apply(self, node: Node, effect: cf.ApplyAnswer) -> None:
        self.media.apply_answer(node.name, effect)

    def _close_peer(self, node: Node, effect: cf.ClosePeer) -> None:
        self.media.close_peer(node.name, effect)

    def _join_session(self, node: Node, effect: cf.JoinSession) -> None:
        if effect.session in node.sessions:
            return
        node.sessions.add(effect.session)
        for signal, session, user_id in list(self.leaves):
            if session == effect.session and user_id == node.user_id:
                self._send_leaf(node, signal)

    def _say(self, node: Node, effect: cf.SendSignal) -> None:
        self.counts["signals"] += 1
        self.counts[f"signal {effect.kind.value}"] += 1
        to = self.devices(effect.user_id)
        signal = Signal(
            kind=effect.kind,
            call_id=effect.call_id,
            sender=Party(node.pub, node.device),
            recipient=Party(to[0].pub if to else "", effect.device),
            body=effect.body,
            epoch=node.epoch,
            gen=effect.gen,
            seq=self.counts["signals"],
            issued_at_ms=self.network_ms(),
            expires_at_ms=self.network_ms() + round(effect.ttl_s * 1000),
            nonce=hex_id(self.dice.bytes(16)),
            room_id=effect.room_id,
            domain_id=effect.domain_id,
        )
        self.leaves.append((signal, effect.session, effect.user_id))
        for device in to:
            if device is not node and (effect.session is None or effect.session in device.sessions):
                self._send_leaf(device, signal, sender=node.name)
        self.agenda.at(
            self.now + 0.01,
            partial(
                self._media_said, node.name, ce.SignalDelivered(call_id=effect.call_id, kind=effect.kind)
            ),
        )

    def _send_leaf(self, to: Node, signal: Signal, sender: str = "") -> None:
        if signal.recipient.device not in (None, to.device):
            return
        if sender and (sender in self.split) != (to.name in self.split):
            self.counts["held back"] += 1
            self.agenda.at(self.now + 5.0, partial(self._send_leaf, to, signal, sender))
            return
        for delay in self.dice.graph_delays():
            self.agenda.at(self.now + delay, partial(self._arrive, to, signal))

    def _arrive(self, to: Node, signal: Signal) -> None:
        """The checks at the door that matter here: expiry, and each nonce once."""
        if to.dead or signal.nonce in to.seen:
            return
        if signal.expires_at_ms <= self.network_ms():
            self.counts["expired"] += 1
            return
        to.seen.add(signal.nonce)
        user_id = fingerprint(signal.sender.pub)
        if user_id == to.user_id:
            return
        contact = frozenset({user_id, to.user_id}) not in self.strangers
        sender = next(node for node in self.nodes.values() if node.user_id == user_id)
        arrived = ce.SignalArrived(
            signal=signal,
            user_id=user_id,
            contact=contact,
            at_ms=self.wall_ms(to),
            network_ms=self.network_ms(),
            display_name=sender.name if contact else None,
        )
        if signal.kind is Kind.INVITE and contact:
            self._receipt(to, signal, user_id)
        self._perform(to, to.exchange.handle(arrived, self.now))

    def _receipt(self, node: Node, invitation: Signal, user_id: str) -> None:
        body = invitation.body
        self._say(
            node,
            cf.SendSignal(
                call_id=invitation.call_id,
                user_id=user_id,
                device=invitation.sender.device,
                kind=Kind.RECEIPT,
                body=EmptyBody(),
                gen=0,
                session=getattr(body, "session", None),
                ttl_s=60.0,
            ),
        )

    def _put_lease(self, node: Node, effect: f.PutLease) -> None:
        self.counts["leases"] += 1
        info = effect.info
        if not info.left:
            info = MemberInfo(
                pub=info.pub, device=info.device, lease=info.lease, joined_at=info.joined_at,
                at=self.network_ms(),
            )  # fmt: skip
        self.leases[info.lease] = info
        for other in self.alive():
            for (call_id, user_id), lease in list(other.watches.items()):
                if lease == info.lease:
                    self._tell_lease(other, call_id, user_id, info)

    def _watch(self, node: Node, effect: f.WatchLease) -> None:
        node.watches[effect.call_id, effect.user_id] = effect.lease
        info = self.leases.get(effect.lease)
        if info is not None:
            self._tell_lease(node, effect.call_id, effect.user_id, info)

    def _unwatch(self, node: Node, effect: f.UnwatchLease) -> None:
        node.watches.pop((effect.call_id, effect.user_id), None)

    def _tell_lease(self, node: Node, call_id: str, user_id: str, info: MemberInfo) -> None:
        for delay in self.dice.graph_delays():
            self.agenda.at(self.now + delay, partial(self._lease_arrives, node, call_id, user_id, info))

    def _lease_arrives(self, node: Node, call_id: str, user_id: str, info: MemberInfo) -> None:
        if node.dead or (call_id, user_id) not in node.watches:
            return
        seen = e.LeaseSeen(call_id=call_id, user_id=user_id, info=info, network_ms=self.network_ms())
        self._tell_quietly(node, seen)

    def _gossip(self, node: Node, effect: f.SendGossip) -> None:
        if not self.media.carries(node.name, effect.call_id, effect.user_id):
            return
        self.counts["gossip"] += 1
        for other in self.devices(effect.user_id):
            heard = partial(self._gossip_arrives, other, node.user_id, effect)
            self.agenda.at(self.now + self.dice.path_delay(), heard)

    def _gossip_arrives(self, node: Node, user_id: str, effect: f.SendGossip) -> None:
        self._tell_quietly(
            node,
            e.Gossip(
                call_id=effect.call_id,
                user_id=user_id,
                ages_ms=effect.ages_ms,
                members=effect.members,
                network_ms=self.network_ms(),
            ),
        )

    def _tell_quietly(self, node: Node, event: ce.Event) -> None:
        if node.dead:
            return
        try:
            effects = node.exchange.handle(event, self.now)
        except SidecarError:
            return
        self._perform(node, effects)

    def _plan(self, node: Node, effect: f.SetSendPlan) -> None:
        node.plans[effect.call_id, effect.user_id] = effect.plan


_PERFORM: Mapping[type[cf.Effect], Callable[[World, Node, Any], None]] = {
    cf.Moved: World._moved,
    cf.Ring: World._rang,
    cf.CallEnded: World._ended,
    cf.OpenCall: World._opened,
    cf.CloseCall: World._closed,
    cf.OpenPeer: World._open_peer,
    cf.ApplyAnswer: World._apply,
    cf.ClosePeer: World._close_peer,
    cf.JoinSession: World._join_session,
    cf.SendSignal: World._say,
    f.PutLease: World._put_lease,
    f.WatchLease: World._watch,
    f.UnwatchLease: World._unwatch,
    f.SendGossip: World._gossip,
    f.SetSendPlan: World._plan,
}
