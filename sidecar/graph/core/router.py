"""The relay as a machine: what it answers, keeps and passes on (gun.md sections 4 to 7, DESIGN D9).

Puts are checked, settled with HAM, delivered to subscribers at once and acknowledged after the store has
committed, unchanged ones too. Gets are answered from the store, always; what it lacks is asked of a few
others (``inquiry``). Nothing is flooded. Connections are numbers, 0 is the relay itself; ``take`` drains what
is to be sent. The store is called, never waited for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import msgspec

from sidecar.clock import Random
from sidecar.errors import RemoteError
from sidecar.graph.core import answers, delivery, leaves, wire
from sidecar.graph.core.dedupe import Dedupe
from sidecar.graph.core.deferrals import Deferrals, Deferred
from sidecar.graph.core.delivery import Deliver
from sidecar.graph.core.inquiry import Inquiry
from sidecar.graph.core.intake import Intake, RefusalError, Sorted
from sidecar.graph.core.nodes import Graph, Node, graph_bytes
from sidecar.graph.core.parking import Parking
from sidecar.graph.core.subscriptions import MAX_PER_CONNECTION, MAX_TOTAL, Subscriptions
from sidecar.graph.core.upstream import Upstreams
from sidecar.graph.store import NodeStore, OnDone

RELAY = 0
ANSWERED_BYTES = 8 * 1024 * 1024
"""One frame is answered until it has had more than this: a small frame must not become gigabytes."""
COST_BYTES = 64 * 1024
RESUMED_BYTES = 1024 * 1024
"""Sent to a client that is back and does not ask; beyond it, it is only subscribed."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection and one soul may cost."""

    frame_bytes: int = wire.MAX_FRAME
    subscriptions: int = MAX_PER_CONNECTION
    subscriptions_total: int = MAX_TOTAL
    future_ms: int = 300_000
    """How far in the future a state may lie: clocks are a few minutes wrong, and farther states would shadow
    every later write."""
    deferred: int = 10_000
    """Puts kept until their state is due."""
    unwritten_bytes: int = 64 * 1024 * 1024
    """Waiting for a disk that stalls; beyond it puts are refused."""
    leaf_soul_bytes: int = leaves.MAX_SOUL_BYTES
    soul_bytes: int = 8 * 1024 * 1024
    reply_bytes: int = 64 * 1024
    """About the size of one part of an answer; longer nodes go out in several."""


class Router:
    """One relay. ``now`` is monotonic seconds, ``now_ms`` the wall clock that HAM compares states with."""

    def __init__(
        self,
        store: NodeStore,
        random: Random,
        limits: Limits,
        wake: Callable[[], None] = lambda: None,
        *,
        upstreams: int = 0,
    ) -> None:
        """``upstreams`` is how many relays this one was told to peer with."""
        self.counters: Counter[str] = Counter()
        """What was refused or dropped, by reason."""
        self.handled: Counter[str] = Counter()
        """Messages by kind: put, get, answer, control."""
        self._store = store
        self._random = random
        self._limits = limits
        self._wake = wake
        self._pid = self._new_id()
        self._subscriptions = Subscriptions(
            max_per_connection=limits.subscriptions, max_total=limits.subscriptions_total
        )
        self._parking = Parking(store)
        self._deferrals = Deferrals(store, limits.deferred)
        self._intake = Intake(
            store,
            future_ms=limits.future_ms,
            leaf_soul_bytes=limits.leaf_soul_bytes,
            soul_bytes=limits.soul_bytes,
        )
        self._unwritten = 0
        self._saving = 0
        self._seen: Dedupe[int] = Dedupe()
        self._inquiry = Inquiry()
        self._upstreams = Upstreams(upstreams)
        if upstreams:
            self._subscriptions.turned = set()
        self._open: set[int] = set()
        self._answered = 0
        """Bytes of nodes that the frame at hand was answered."""
        self._effects: list[Deliver] = []
        self.failing = False
        """The last write was lost."""

    @property
    def subscriptions(self) -> int:
        """Souls and keys followed, once for each connection."""
        return self._subscriptions.total

    def take(self) -> list[Deliver]:
        """Everything to be sent since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def _new_id(self) -> str:
        return wire.make_id(self._random.bytes(12))

    def _send(self, connection: int, text: str) -> None:
        if connection in self._open:
            self._effects.append(Deliver((connection,), text))

    def opened(self, connection: int, *, upstream: bool = False) -> None:
        """A connection is there: greet it as gun.js relays do, and say that our answers have an end.

        ``upstream``: this relay opened it, to one that it was told to peer with.
        """
        self._open.add(connection)
        self._subscriptions.opened(connection)
        self._send(connection, wire.write_hello(self._new_id(), self._pid, aleph=True))
        if upstream:
            self._upstreams.opened(connection)
            for soul in self._upstreams.followed:
                self._send(connection, wire.write_get(self._new_id(), soul))

    def closed(self, connection: int, now: float) -> None:
        self._open.discard(connection)
        self._inquiry.left(connection)
        self._upstreams.closed(connection)
        self._subscriptions.closed(connection)
        self._parking.left(connection)
        self._follow()

    def received(self, connection: int, text: str | bytes, now: float, now_ms: float) -> int:
        """Handle a frame; bad messages are counted and, with an id, told.

        Returns what it cost, for a rate limit: its messages, or where that is more the signatures checked, or
        what it was answered in parts of 64 KiB.
        """
        checked, self._answered = self._intake.signatures, 0
        try:
            raws = wire.read_frame(text, max_bytes=self._limits.frame_bytes)
        except RemoteError as error:
            self.counters[error.reason] += 1
            if error.reason == "frame-too-large":
                self._inquiry.left(connection)  # it would answer each question so
                self._send(connection, wire.write_alarm(self._new_id(), "Message too big!"))
            return 1
        for raw in raws:
            try:
                self._handle(connection, wire.read_message(raw), now, now_ms)
            except RemoteError as error:
                self.counters[error.reason] += 1
                message_id = (error.details or {}).get("id")
                if message_id:
                    self._send(connection, wire.write_ack(self._new_id(), message_id, err=error.message))
        self._follow()
        if connection in self._upstreams:
            self._catch_up(connection, now)
        return max(len(raws), self._intake.signatures - checked, self._answered // COST_BYTES)

    def _handle(self, connection: int, message: wire.Message, now: float, now_ms: float) -> None:
        message_id = message.id or self._new_id()
        if message.dam is not None:
            self.handled["control"] += 1
            self._control(connection, message, now, now_ms)
        elif not self._seen.first_sight(message_id, connection, now):
            self.counters["duplicate"] += 1
        elif message.put is not None:
            self.handled["put"] += 1
            writer = connection if message.at is None else 0
            acks = wire.wanted_acks(message.ok)
            self._put(writer, connection, message_id, message.put, now_ms, acks=acks)
        elif message.get is not None:
            self.handled["get"] += 1
            self._get(connection, message_id, message.get, now, now_ms)
        elif message.at is not None:
            self.handled["answer"] += 1
            self._pass_reply(connection, message_id, message, now)
        else:
            self.counters["unknown-message"] += 1

    def _control(self, connection: int, message: wire.Message, now: float, now_ms: float) -> None:
        if message.dam == "?":
            if message.pid and not message.aleph:
                self._resume(connection, message.pid, now, now_ms)
                for get in self._inquiry.joined(connection, now):
                    self._ask([connection], get, answers.find(self._store, get, now_ms), now)
            if message.at is None:
                self._send(connection, wire.write_hello(self._new_id(), self._pid, at=message.id, aleph=True))
        elif message.dam == "off" and message.get is not None:
            self._subscriptions.remove(connection, message.get.soul)
            self._parking.ended(connection, message.get.soul)

    def _resume(self, connection: int, pid: str, now: float, now_ms: float) -> None:
        """Goes on where a client with this pid was: it gets what it may have missed, and is asked for what it
        may have written meanwhile (gun.md section 6b and c)."""
        kept = self._parking.named(connection, pid)
        for asked in self._subscriptions.of(connection):
            self._parking.asked(connection, *asked)
        size = 0
        for soul, key in kept:
            if not self._subscriptions.add(connection, soul, key):
                continue
            get = wire.Get(soul, key)
            node = answers.find(self._store, get, now_ms)
            size += answers.node_bytes(node)
            if size > RESUMED_BYTES:
                continue
            for part in answers.split(node, self._limits.reply_bytes):
                self._send(connection, wire.write_put(self._new_id(), {soul: part}))
            if "#" not in soul:
                self._ask([connection], get, node, now)

    def _pass_reply(self, connection: int, message_id: str, message: wire.Message, now: float) -> None:
        """An answer to a message somebody else sent goes to that one alone."""
        assert message.at is not None
        if connection in self._upstreams:
            self._upstreams.answered(connection, message.at, stored=message.err is None)
        asker = self._seen.source(message.at, now)
        if asker is not None:
            self._send(asker, wire.write_reply(message_id, message.at, ok=message.ok, err=message.err))

    # Puts

    def _put(
        self, writer: int, source: int, message_id: str, graph: Graph, now_ms: float, *, acks: int = 0
    ) -> None:
        """``writer`` gets the acknowledgement, 0 for nobody; ``source`` does not get its own words back."""
        try:
            put = self._admit(source, graph, now_ms)
        except RefusalError as refusal:
            self.counters["refused"] += 1
            self._send(writer, wire.write_ack(self._new_id(), message_id, err=str(refusal)))
            return
        self._deliver(source, message_id, put.passed, acks)
        self._share(source, put.accepted)
        size = graph_bytes(put.passed)
        self._unwritten += size
        on_done = partial(self._committed, writer, message_id, size)
        if put.deferred:
            written: list[bool] = []  # told first: the store keeps the order
            self._store.write(put.accepted, written.append)
            on_kept = partial(self._all_committed, on_done, written)
            self._deferrals.add(source, put.due_ms, put.deferred, on_kept)
        else:
            self._store.write(put.accepted, on_done)

    def _admit(self, source: int, graph: Graph, now_ms: float) -> Sorted:
        if self._unwritten > self._limits.unwritten_bytes:
            self.failing = True
            raise RefusalError("Not stored.")
        put = self._intake.sort(graph, now_ms)
        if put.deferred and self._deferrals.full(source, graph_bytes(put.deferred)):
            raise RefusalError("Too many states in the future.")
        return put

    @staticmethod
    def _all_committed(on_done: OnDone, written: list[bool], stored: bool) -> None:
        on_done(stored and all(written))

    def _committed(self, writer: int, message_id: str, size: int, stored: bool) -> None:
        self._unwritten -= size
        self._note(size, stored)
        err = None if stored else "Not stored."
        self._send(writer, wire.write_ack(self._new_id(), message_id, err=err))
        self._wake()

    def _note(self, size: int, stored: bool) -> None:
        """Writing nothing proves nothing about the disk."""
        if not stored:
            self.counters["not-stored"] += 1
        if size or not stored:
            self.failing = not stored

    def _deliver(self, source: int, message_id: str, graph: Graph, acks: int) -> None:
        self._effects += delivery.to_subscribers(self._subscriptions, source, message_id, graph, acks)

    # Relays this one peers with

    def _share(self, source: int, changes: Graph) -> None:
        """Tell them what is new; their acknowledgements say only that they have it."""
        self._upstreams.changed(changes)
        receivers = tuple(connection for connection in self._upstreams if connection != source)
        if changes and receivers:
            message_id = self._new_id()
            souls = tuple(changes)
            for receiver in receivers:
                self._upstreams.shared(receiver, message_id, souls)
            self._effects.append(Deliver(receivers, wire.write_put(message_id, changes)))

    def _catch_up(self, connection: int, now: float) -> None:
        """Send a relay that is back, and says something, what it missed, as far as it acknowledges."""
        while (soul := self._upstreams.next_missed(connection, now)) is not None:
            for part in answers.split(self._store.read(soul), self._limits.reply_bytes):
                message_id = self._new_id()
                self._upstreams.sent(connection, message_id, soul, now)
                self._send(connection, wire.write_put(message_id, {soul: part}))

    def _follow(self) -> None:
        """Ask them for what somebody here began to follow, and end what nobody does any more."""
        turned = self._subscriptions.turned
        while turned:
            soul = turned.pop()
            wanted = self._subscriptions.followed(soul)
            if self._upstreams.follow(soul, wanted):
                message_id = self._new_id()
                text = wire.write_get(message_id, soul) if wanted else wire.write_off(message_id, soul)
                self._effects.append(Deliver(tuple(self._upstreams), text))

    # Gets

    def _get(self, connection: int, message_id: str, get: wire.Get, now: float, now_ms: float) -> None:
        to_upstream = connection in self._upstreams  # which hears of every change already
        is_new = not get.exact and not to_upstream and self._subscribe(connection, get)
        if self._answered > ANSWERED_BYTES:
            self.counters["too-much-asked"] += 1
            self._send(connection, wire.write_ack(self._new_id(), message_id, err="Too much asked at once."))
            return
        node = answers.find(self._store, get, now_ms)
        self._answered += answers.node_bytes(node)
        parts = answers.split(node, self._limits.reply_bytes)
        if not parts:
            self._send(connection, wire.write_not_found(self._new_id(), message_id))
        for number, part in enumerate(parts, 1):
            more = number < len(parts)
            text = wire.write_put(self._new_id(), {get.soul: part}, at=message_id, more=more)
            self._send(connection, text)
        if get.keys is not None or get.exact or "#" in get.soul:
            return
        others = self._inquiry.doubted if node else self._inquiry.missed
        self._ask([connection] * is_new + others(connection, get, now), get, node, now)

    def _subscribe(self, connection: int, get: wire.Get) -> bool:
        """A get is answered in any case; whether it is followed from now on, and was not before."""
        if self._subscriptions.add(connection, get.soul, get.key):
            self._parking.asked(connection, get.soul, get.key)
            return True
        if not self._subscriptions.has(connection, get.soul, get.key):
            self.counters["subscriptions-full"] += 1
        return False

    def _ask(self, connections: list[int], get: wire.Get, known: Node, now: float) -> None:
        """gun.js never re-sends what it wrote offline, but answers a get from its memory.

        The hash of what we have keeps it silent when it has nothing else (gun.md section 6b). Who subscribes
        to something is asked for it, and a few others are when nothing is known.
        """
        digest = answers.digest(get.soul, known) if connections else None
        for connection in connections:
            message_id = self._new_id()
            self._seen.first_sight(message_id, RELAY, now)
            self._send(connection, wire.write_get(message_id, get.soul, get.key, digest=digest))

    # Time

    def next_due_ms(self) -> float | None:
        """Wall time at which ``handle_timer`` has a deferred put to settle."""
        return self._deferrals.next_due_ms()

    @property
    def unsaved(self) -> bool:
        """Whether ``save`` is wanted soon: not while the disk has the last one to do."""
        return self._parking.unsaved and not self._saving

    def save(self, now_ms: float) -> None:
        """Writes which gun.js clients follow what; called again at least every few minutes."""
        self._parking.save(now_ms)
        self._saving += 1
        self._store.write({}, self._saved)

    def _saved(self, _: bool) -> None:
        self._saving -= 1
        self._wake()

    def handle_timer(self, now: float, now_ms: float) -> None:
        """Settle the puts whose state is due; a subscriber that came meanwhile gets them now."""
        for put in self._deferrals.due(now_ms):
            changes = self._intake.settle(put.graph, now_ms)
            self._deliver(RELAY, self._new_id(), changes, 0)
            self._share(RELAY, changes)
            self._store.write(changes, partial(self._settled, put, graph_bytes(changes), now_ms))

    def _settled(self, put: Deferred, size: int, now_ms: float, stored: bool) -> None:
        self._note(size, stored)
        self._deferrals.settled(put, now_ms, stored)
        self._wake()
