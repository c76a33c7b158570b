"""Two users, seeded randomness, a clock that is set by hand and a graph in memory: for tests of signaling."""

from __future__ import annotations

import asyncio
import random as stdlib_random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sidecar import log
from sidecar.app.device_file import DeviceFile
from sidecar.app.services.control_link import ControlLink
from sidecar.app.services.signaling import SignalingService
from sidecar.errors import Code, UnavailableError
from sidecar.graph.core.leaves import is_leaf
from sidecar.media import messages as m
from sidecar.signaling.inbox import Inbox, Peer, Place, PlaceKind
from sidecar.signaling.limits import Limits
from sidecar.signaling.messages import AnyBody, Incoming, InviteBody, Kind, Party, Signal
from sidecar.signaling.outbox import Message, Outbox, Recipient
from sidecar.trust import boxkeys, identity, pairwise, sodium
from sidecar.trust.identity import Identity
from sidecar.trust.pins import KeyChange, Pin, Pins
from sidecar.trust.social import SocialState

NOW_MS = 1_795_000_000_000
"""2026-11-18T13:46:40Z."""
SESSION = "5e" * 16


class SeededRandom:
    """Reproducible bytes."""

    def __init__(self, seed: int = 1) -> None:
        self._source = stdlib_random.Random(seed)

    def bytes(self, n: int) -> bytes:
        return self._source.randbytes(n)


class HandClock:
    """Network time and monotonic time move together, by hand."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def wall_ms(self) -> int:
        return self.now_ms

    def network_ms(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)
        self.now_s += seconds


def user(number: int) -> Identity:
    """The identity of a numbered user."""
    return identity.generate(bytes([number]) * 32)


ALICE, BOB, MALLORY = user(1), user(2), user(3)
ALICE_DEVICE, BOB_DEVICE, MALLORY_DEVICE = "a1" * 8, "b2" * 8, "c3" * 8


def friend(who: Identity, name: str = "") -> dict[str, Any]:
    """A friend as ``social`` has it."""
    return {"id": who.fingerprint, "displayName": name or who.fingerprint[:4], "publicKey": who.pub}


def social(document: dict[str, Any]) -> SocialState:
    """A social copy that was handed this one object."""
    state = SocialState()
    state.merge(document)
    return state


def friends(*people: Identity, blocked: tuple[str, ...] = ()) -> SocialState:
    return social({"friends": [friend(who) for who in people], "blocked": list(blocked)})


def shared(one: Identity, other: Identity) -> bytes:
    secret = pairwise.shared_secret(one.seed, other.public_key)
    assert secret is not None
    return secret


def peer(me: Identity, other: Identity) -> Peer:
    return Peer(other.fingerprint, other.pub, shared(me, other))


def pairwise_place(me: Identity, other: Identity) -> Place:
    return Place(PlaceKind.PAIRWISE, other.fingerprint, (peer(me, other),))


def session_place(me: Identity, *others: Identity) -> Place:
    return Place(PlaceKind.SESSION, "call_x", tuple(peer(me, other) for other in others))


STRANGERS = Place(PlaceKind.STRANGERS)


def recipient(me: Identity, other: Identity, *, contact: bool = True) -> Recipient:
    return Recipient(other.fingerprint, other.pub, contact, shared(me, other))


def invite(call_id: str = "call_1", *, sdp: str | None = "v=0", ttl_s: float = 60) -> Message:
    body = InviteBody(call_type="video", session=SESSION, display_name="Alice", sdp=sdp)
    return Message(call_id, Kind.INVITE, body, 0, ttl_s, None)


def signal_from(author: Identity, to: Identity, /, **changes: Any) -> Signal:
    """A valid invitation, but for the changes."""
    return msgspec.structs.replace(
        Signal(
            kind=Kind.INVITE,
            call_id="call_1",
            sender=Party(author.pub, "a1" * 8),
            recipient=Party(to.pub),
            body=InviteBody(call_type="audio", session=SESSION, display_name="A"),
            epoch="e0" * 8,
            gen=0,
            seq=0,
            issued_at_ms=NOW_MS,
            expires_at_ms=NOW_MS + 60_000,
            nonce="0f" * 16,
        ),
        **changes,
    )


class Receiver:
    """An inbox with its own clock and a record of what it dropped."""

    def __init__(
        self,
        me: Identity = BOB,
        device: str = BOB_DEVICE,
        contacts: SocialState | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.me = me
        self.clock = HandClock()
        self.drops: list[str] = []
        self.pins = Pins()
        self.contacts = contacts if contacts is not None else friends(ALICE)
        for contact in self.contacts.contacts():
            self.pins.hold(contact.user_id, contact.pub)
        self.inbox = Inbox(
            me,
            device,
            social=self.contacts,
            pins=self.pins,
            on_drop=self.drops.append,
            limits=limits,
        )
        self.identity_key = boxkeys.of_identity(me.seed)
        self.inbox.set_box_keys([self.identity_key])

    def take(self, place: Place, key: str, value: str) -> Incoming | None:
        return self.inbox.receive(place, key, value, self.clock.now_ms, self.clock.now_s)


def sender(me: Identity = ALICE, device: str = ALICE_DEVICE, seed: int = 7) -> Outbox:
    return Outbox(me, device, epoch="e0" * 8, random=SeededRandom(seed))


def identity_key_of(who: Identity) -> bytes:
    converted = sodium.to_x25519_public(who.public_key)
    assert converted is not None
    return converted


class MemoryGraph:
    """A graph without wires: what is put is told to all who watch, late readers get everything."""

    def __init__(self) -> None:
        self.souls: dict[str, dict[str, str]] = defaultdict(dict)
        self.watchers: dict[str, list[Callable[[str, str, int], None]]] = defaultdict(list)
        self.reachable = True
        self.reads: list[str] = []
        self.kept_close = False
        self.put_event = asyncio.Event()

    async def put_leaf(self, soul: str, key: str, value: str) -> None:
        assert soul.endswith(("#<?172800", "#<?2678400"))
        assert is_leaf(key, value)
        if not self.reachable:
            raise UnavailableError("no relay", code=Code.GRAPH_UNREACHABLE)
        self.plant(soul, key, value)
        self.put_event.set()

    def plant(self, soul: str, key: str, value: str) -> None:
        """Writes as anybody can: the graph is public."""
        known = self.souls[soul].get(key)
        self.souls[soul][key] = value
        for watcher in list(self.watchers[soul]):
            if known is None:
                watcher(key, value, 0)

    def watch_leaves(self, soul: str, on_leaf: Callable[[str, str, int], None]) -> Callable[[], None]:
        self.watchers[soul].append(on_leaf)
        for key, value in list(self.souls[soul].items()):
            on_leaf(key, value, 0)
        return lambda: self.watchers[soul].remove(on_leaf)

    async def read_leaves(self, soul: str, *, timeout_s: float) -> dict[str, str]:
        self.reads.append(soul)
        if not self.reachable:
            raise UnavailableError("no relay", code=Code.GRAPH_UNREACHABLE)
        return dict(self.souls[soul])

    def wake(self) -> None:
        return

    def keep_close(self, close: bool) -> None:
        self.kept_close = close

    def watched(self) -> set[str]:
        return {soul for soul, watchers in self.watchers.items() if watchers}


class MemoryTrust:
    """What a node must not forget, in memory. ``commit`` is called by hand where a test holds it back."""

    def __init__(self) -> None:
        self.pinned: dict[str, Pin] = {}
        self.burnt: list[tuple[str, str, int]] = []
        self.stores = True
        self.hold_back = False
        self._waiting: list[Callable[[bool], None]] = []

    def pins(self) -> dict[str, Pin]:
        return self.pinned

    def save_pins(self, pins: Mapping[str, Pin | None], now_ms: int) -> None:
        for user_id, pin in pins.items():
            if pin is None:
                del self.pinned[user_id]
            else:
                self.pinned[user_id] = pin

    def nonces(self) -> list[tuple[str, str, int]]:
        return self.burnt

    def burn(
        self, nonces: Sequence[tuple[str, str, int]], now_ms: int, on_done: Callable[[bool], None]
    ) -> None:
        if self.stores:
            self.burnt += nonces
        self._waiting.append(on_done)
        if not self.hold_back:
            self.commit()

    def commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        for on_done in waiting:
            on_done(self.stores)


class Node:
    """One user's signaling on a graph, with what arrived."""

    def __init__(
        self,
        graph: Any,
        me: Identity,
        contacts: SocialState,
        folder: Path,
        *,
        clock: Any = None,
        seed: int = 1,
        limits: Limits | None = None,
        trust: MemoryTrust | None = None,
    ) -> None:
        self.me = me
        self.graph = graph
        self.contacts = contacts
        self.trust = trust or MemoryTrust()
        self.key_changes: list[KeyChange] = []
        self.clock = clock or HandClock()
        self.counters: dict[str, int] = {}
        self.arrived: asyncio.Queue[Incoming] = asyncio.Queue()
        self.envelopes: list[tuple[str, str, bool]] = []
        """Call, text, whether it is ours."""
        self.notes: list[m.SendControl] = []
        self.control = ControlLink(self._say, clock=self.clock, counters=self.counters)
        self.far_ends: dict[str, Node] = {}
        """Whose connections are up, by user."""
        random = SeededRandom(seed)
        self.service = SignalingService(
            graph,
            me,
            DeviceFile.inside(str(folder), random),
            contacts,
            control=self.control,
            memory=self.trust,
            clock=self.clock,
            random=random,
            log=log.get("signaling"),
            on_signal=self.arrived.put_nowait,
            on_key_changed=self.key_changes.append,
            counters=self.counters,
            on_envelope=lambda *envelope: self.envelopes.append(envelope),
            limits=limits,
        )

    def _say(self, note: m.SendControl) -> None:
        """Over the control channel, as far as there is one."""
        self.notes.append(note)
        far = self.far_ends.get(note.peer.user_id)
        if far is not None:
            peer = m.PeerRef(call_id=note.peer.call_id, user_id=self.me.fingerprint, gen=note.peer.gen)
            heard = m.ControlHeard(peer=peer, name=note.name, data=note.data)
            asyncio.get_running_loop().call_soon(far.control.on_media_event, heard)

    def connect(self, other: Node, call_id: str = "call_1", gen: int = 0) -> None:
        """A connection of the two comes up."""
        for one, two in ((self, other), (other, self)):
            one.far_ends[two.me.fingerprint] = two
            peer = m.PeerRef(call_id=call_id, user_id=two.me.fingerprint, gen=gen)
            one.control.on_media_event(m.PeerConnected(peer=peer))

    async def say(
        self,
        to: Identity,
        kind: Kind,
        body: AnyBody,
        *,
        session: str | None = SESSION,
        call_id: str = "call_1",
    ) -> None:
        await self.service.send(
            call_id=call_id, user_id=to.fingerprint, kind=kind, body=body, gen=0, session=session, ttl_s=60
        )

    async def invites(self, to: Identity, call_id: str = "call_1", sdp: str | None = "v=0\r\n") -> None:
        body = InviteBody(call_type="video", session=SESSION, display_name="me", sdp=sdp)
        await self.say(to, Kind.INVITE, body, session=None, call_id=call_id)

    async def next(self) -> Incoming:
        return await asyncio.wait_for(self.arrived.get(), 10)


class World:
    """Nodes on one graph with one clock; all are stopped at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.graph = MemoryGraph()
        self.clock = HandClock()
        self.nodes: list[Node] = []

    async def node(
        self, me: Identity, *contacts: Identity, blocked: tuple[str, ...] = (), **more: Any
    ) -> Node:
        number = len(self.nodes)
        made = Node(
            self.graph,
            me,
            friends(*contacts, blocked=blocked),
            self.folder / str(number),
            clock=self.clock,
            seed=number,
            **more,
        )
        self.nodes.append(made)
        await made.service.start()
        await settle()
        return made


async def settle() -> None:
    """Lets everything run that needs no time."""
    for _ in range(20):
        await asyncio.sleep(0)
