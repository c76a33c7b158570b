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
from sidecar.graph.core import ham, jsjson, leaves, lex, rules, wire
from sidecar.graph.core.dedupe import Dedupe
from sidecar.graph.core.deferrals import Deferrals
from sidecar.graph.core.inquiry import Inquiry
from sidecar.graph.core.nodes import Graph, Node, Value, cell_size, content_hash
from sidecar.graph.core.parking import Parking
from sidecar.graph.core.subscriptions import MAX_PER_CONNECTION, MAX_TOTAL, Subscriptions
from sidecar.graph.core.upstream import Upstreams
from sidecar.graph.store import NodeStore

RELAY = 0
RESUMED_BYTES = 1024 * 1024
"""Sent to a client that is back and does not ask; beyond it, it is only subscribed."""
MAX_HASHED = 16 * 1024
"""Characters of a node that is hashed for a get-back: the hash is a slow loop, larger nodes go without."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection and one soul may cost."""

    frame_bytes: int = wire.MAX_FRAME
    subscriptions: int = MAX_PER_CONNECTION
    subscriptions_total: int = MAX_TOTAL
    future_ms: int = 300_000
    """How far in the future a state may lie: clocks are a few minutes wrong, and farther states would shadow
    every later write."""
    deferred: int = 1_000
    """Puts kept until their state is due."""
    unwritten_bytes: int = 64 * 1024 * 1024
    """Waiting for a disk that stalls; beyond it puts are refused."""
    leaf_soul_bytes: int = leaves.MAX_SOUL_BYTES
    soul_bytes: int = 8 * 1024 * 1024
    reply_bytes: int = 64 * 1024
    """About the size of one part of an answer; longer nodes go out in several."""


class Deliver(msgspec.Struct, frozen=True):
    """Send one frame to these connections."""

    connections: tuple[int, ...]
    text: str


class _Refusal(Exception):
    """A cell that must not be kept; the whole message is answered with the reason."""


class _Sorted(msgspec.Struct):
    """A put after HAM and the rules. ``passed`` goes to subscribers: what is accepted and what is deferred,
    since they settle it with their own clocks."""

    accepted: Graph
    deferred: Graph
    passed: Graph
    due_ms: float = 0.0


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
        self._unwritten = 0
        self._seen: Dedupe[int] = Dedupe()
        self._inquiry = Inquiry()
        self._upstreams = Upstreams(upstreams)
        if upstreams:
            self._subscriptions.turned = set()
        self._open: set[int] = set()
        self._effects: list[Deliver] = []
        self._signatures = 0
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
            self._catch_up(connection)

    def closed(self, connection: int, now: float) -> None:
        self._open.discard(connection)
        self._inquiry.left(connection)
        self._upstreams.closed(connection)
        self._subscriptions.closed(connection)
        self._parking.left(connection)
        self._follow()

    def received(self, connection: int, text: str | bytes, now: float, now_ms: float) -> int:
        """Handle a frame; bad messages are counted and, with an id, told.

        Returns what it cost, for a rate limit: its messages, or the signatures checked where those are more.
        """
        checked = self._signatures
        try:
            raws = wire.read_frame(text, max_bytes=self._limits.frame_bytes)
        except RemoteError as error:
            self.counters[error.reason] += 1
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
        return max(len(raws), self._signatures - checked)

    def _handle(self, connection: int, message: wire.Message, now: float, now_ms: float) -> None:
        message_id = message.id or self._new_id()
        if message.dam is not None:
            self.handled["control"] += 1
            self._control(connection, message, now, now_ms)
        elif not self._seen.first_sight(message_id, connection, now):
            self.counters["duplicate"] += 1
        elif message.put is not None:
            self.handled["put"] += 1
            answers = message.at is not None
            acks = wire.wanted_acks(message.ok)
            self._put(0 if answers else connection, connection, message_id, message.put, now_ms, acks=acks)
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
                    self._ask(connection, get, self._find(get, now_ms), now)
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
            node = self._find(get, now_ms)
            size += sum(cell_size(name, value) for name, (value, _) in node.items())
            if size > RESUMED_BYTES:
                continue
            for part in _split(node, self._limits.reply_bytes):
                self._send(connection, wire.write_put(self._new_id(), {soul: part}))
            if "#" not in soul:
                self._ask(connection, get, node, now)

    def _pass_reply(self, connection: int, message_id: str, message: wire.Message, now: float) -> None:
        """An answer to a message somebody else sent goes to that one alone."""
        assert message.at is not None
        if connection in self._upstreams:
            self._upstreams.answered(connection, message.at)
            self._catch_up(connection)
        asker = self._seen.source(message.at, now)
        if asker is not None:
            self._send(asker, wire.write_reply(message_id, message.at, ok=message.ok, err=message.err))

    # Puts

    def _put(
        self, writer: int, source: int, message_id: str, graph: Graph, now_ms: float, *, acks: int = 0
    ) -> None:
        """``writer`` gets the acknowledgement, 0 for nobody; ``source`` does not get its own words back."""
        try:
            put = self._sort(source, graph, now_ms)
        except _Refusal as refusal:
            self.counters["refused"] += 1
            self._send(writer, wire.write_ack(self._new_id(), message_id, err=str(refusal)))
            return
        self._deliver(source, message_id, put.passed, acks)
        self._share(source, put.accepted)
        if put.deferred:
            written: list[bool] = []  # told first: the store keeps the order
            self._store.write(put.accepted, written.append)
            self._deferrals.add(
                source,
                put.due_ms,
                put.deferred,
                lambda stored: self._committed(writer, message_id, 0, stored and all(written)),
            )
        else:
            self._keep(put.accepted, writer, message_id)

    def _keep(self, changes: Graph, writer: int, message_id: str) -> None:
        size = sum(cell_size(key, value) for node in changes.values() for key, (value, _) in node.items())
        self._unwritten += size
        self._store.write(changes, partial(self._committed, writer, message_id, size))

    def _committed(self, writer: int, message_id: str, size: int, stored: bool) -> None:
        self._unwritten -= size
        err = None if stored else "Not stored."
        self.failing = not stored
        if not stored:
            self.counters["not-stored"] += 1
        self._send(writer, wire.write_ack(self._new_id(), message_id, err=err))
        self._wake()

    def _sort(self, source: int, graph: Graph, now_ms: float) -> _Sorted:
        if self._unwritten > self._limits.unwritten_bytes:
            self.failing = True
            raise _Refusal("Not stored.")
        put = _Sorted({}, {}, {})
        ended = 0
        for soul, node in graph.items():
            for key, (value, state) in node.items():
                if leaves.is_expired(soul, state, now_ms):
                    ended += 1
                    continue
                verdict = self._judge(soul, key, value, state, now_ms)
                if verdict == "drop":
                    continue
                if verdict == "defer" and self._deferrals.full(source):
                    raise _Refusal("Too many states in the future.")
                put.passed.setdefault(soul, {})[key] = (value, state)
                target = put.accepted if verdict == "accept" else put.deferred
                target.setdefault(soul, {})[key] = (value, state)
                if verdict == "defer":
                    put.due_ms = max(put.due_ms, state)
        if ended and not put.accepted and not put.deferred:
            raise _Refusal("Too old for this soul.")
        return put

    def _judge(self, soul: str, key: str, value: Value, state: float, now_ms: float) -> ham.Verdict:
        current = self._store.read_cell(soul, key)
        if current == (value, state) and type(current[0]) is type(value):
            return "drop"
        self._signatures += "~" in soul
        reason = rules.refusal(soul, key, value, state, self._store.read_cell)
        if reason is not None:
            raise _Refusal(reason)
        known, known_state = current if current is not None else (None, None)
        verdict = ham.resolve(now_ms, state, known_state, value, known)
        if verdict == "defer" and state > now_ms + self._limits.future_ms:
            raise _Refusal("State is too far in the future.")
        if verdict != "drop":
            self._check_room(soul, key, value, known)
        return verdict

    def _check_room(self, soul: str, key: str, value: Value, known: Value) -> None:
        """A full soul takes no new leaf; what it holds is never pushed out."""
        cap = self._limits.leaf_soul_bytes if leaves.is_leaf_soul(soul) else self._limits.soul_bytes
        grows = cell_size(key, value) - (0 if known is None else cell_size(key, known))
        if grows > 0 and self._store.size(soul) + grows > cap:
            raise _Refusal("Soul is full.")

    def _deliver(self, source: int, message_id: str, graph: Graph, acks: int) -> None:
        """To each subscriber the nodes it asked for, encoded once per different selection.

        Where the writer wants ``acks`` from receivers, that many are asked for one. gun.js has each receiver
        throw a die, and the writer of a put that nobody acknowledges wait.
        """
        wanted: dict[int, list[str]] = {}
        for soul, node in graph.items():
            for connection in self._subscriptions.listeners(soul, node):
                if connection != source:
                    wanted.setdefault(connection, []).append(soul)
        groups: dict[tuple[tuple[str, ...], int | None], list[int]] = {}
        for number, (connection, souls) in enumerate(wanted.items()):
            groups.setdefault((tuple(souls), int(number < acks) if acks else None), []).append(connection)
        for (selection, share), connections in groups.items():
            text = wire.write_put(message_id, {soul: graph[soul] for soul in selection}, acks=share)
            self._effects.append(Deliver(tuple(connections), text))

    # Relays this one peers with

    def _share(self, source: int, changes: Graph) -> None:
        """Tell them what is new; their acknowledgements are nobody's."""
        self._upstreams.changed(changes)
        receivers = tuple(connection for connection in self._upstreams if connection != source)
        if changes and receivers:
            self._effects.append(Deliver(receivers, wire.write_put(self._new_id(), changes)))

    def _catch_up(self, connection: int) -> None:
        """Send a relay that is back what it missed, as far as it acknowledges."""
        while (soul := self._upstreams.next_missed(connection)) is not None:
            for part in _split(self._store.read(soul), self._limits.reply_bytes):
                message_id = self._new_id()
                self._upstreams.sent(connection, message_id, soul)
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
        node = self._find(get, now_ms)
        parts = _split(node, self._limits.reply_bytes)
        if not parts:
            self._send(connection, wire.write_not_found(self._new_id(), message_id))
        for number, part in enumerate(parts, 1):
            more = number < len(parts)
            text = wire.write_put(self._new_id(), {get.soul: part}, at=message_id, more=more)
            self._send(connection, text)
        if get.keys is not None or get.exact or "#" in get.soul:
            return
        if is_new:
            self._ask(connection, get, node, now)
        others = self._inquiry.doubted if node else self._inquiry.missed
        for other in others(connection, get, now):
            self._ask(other, get, node, now)

    def _subscribe(self, connection: int, get: wire.Get) -> bool:
        """A get is answered in any case; whether it is followed from now on, and was not before."""
        if self._subscriptions.add(connection, get.soul, get.key):
            self._parking.asked(connection, get.soul, get.key)
            return True
        if not self._subscriptions.has(connection, get.soul, get.key):
            self.counters["subscriptions-full"] += 1
        return False

    def _find(self, get: wire.Get, now_ms: float) -> Node:
        if get.key is not None:
            cell = self._store.read_cell(get.soul, get.key)
            cells = {} if cell is None else {get.key: cell}
        else:
            cells = self._store.read(get.soul)
        node = {
            key: (value, state)
            for key, (value, state) in cells.items()
            if not leaves.is_expired(get.soul, state, now_ms)
        }
        return node if get.keys is None else _select(node, get)

    def _ask(self, connection: int, get: wire.Get, known: Node, now: float) -> None:
        """gun.js never re-sends what it wrote offline, but answers a get from its memory.

        The hash of what we have keeps it silent when it has nothing else (gun.md section 6b). Who subscribes
        to something is asked for it, and a few others are when nothing is known.
        """
        message_id = self._new_id()
        self._seen.first_sight(message_id, RELAY, now)
        digest = None
        if known and sum(cell_size(key, value) for key, (value, _) in known.items()) < MAX_HASHED:
            digest = content_hash({get.soul: known})
        self._send(connection, wire.write_get(message_id, get.soul, get.key, digest=digest))

    # Time

    def next_due_ms(self) -> float | None:
        """Wall time at which ``handle_timer`` has a deferred put to settle."""
        return self._deferrals.next_due_ms()

    @property
    def unsaved(self) -> bool:
        """Whether ``save`` is wanted soon."""
        return self._parking.unsaved

    def save(self, now_ms: float) -> None:
        """Writes which gun.js clients follow what; called again at least every few minutes."""
        self._parking.save(now_ms)

    def handle_timer(self, now: float, now_ms: float) -> None:
        """Settle the puts whose state is due; a subscriber that came meanwhile gets them now."""
        for graph in self._deferrals.due(now_ms):
            self._put(RELAY, RELAY, self._new_id(), graph, now_ms)


def _select(node: Node, get: wire.Get) -> Node:
    """The keys a query asks for, in its order, until its byte limit is passed."""
    query = get.keys or {}
    names = sorted((key for key in node if lex.selects(key, query)), key=jsjson.utf16)
    if query.get("-"):
        names.reverse()
    chosen: Node = {}
    size = 0
    for key in names:
        chosen[key] = node[key]
        size += cell_size(key, node[key][0])
        if get.limit is not None and size >= get.limit:
            break
    return chosen


def _split(node: Node, part_bytes: int) -> list[Node]:
    """Parts of roughly ``part_bytes``; a long answer must not hold up the connection's other frames."""
    parts: list[Node] = []
    size = part_bytes
    for key, cell in node.items():
        if size >= part_bytes:
            parts.append({})
            size = 0
        parts[-1][key] = cell
        size += cell_size(key, cell[0])
    return parts
