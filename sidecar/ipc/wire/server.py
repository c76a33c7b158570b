"""The serving end: channels of all clients, keyed by (connection identity, message id).

A channel is open from its request to its last answer. Rules, all decided in this module:

- A request that cannot be served is answered with a code at once and opens nothing.
- ``OK``, ``ERR`` and heartbeats need no credit; ``STREAM`` and ``STREAM_DONE`` do.
- Anything that arrives for an open channel shows that its client lives; for a closed one it means nothing.
- Two heartbeat intervals of silence, ``_zpc_cancel`` or the end of the connection close a channel; the last
  event about it is then ``Closed``, and what the application still sends on it goes nowhere.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

import msgspec
from msgspec import Raw

from sidecar.errors import Code, SidecarError
from sidecar.ipc.wire import messages
from sidecar.ipc.wire.credit import Allowance
from sidecar.ipc.wire.directory import Directory
from sidecar.ipc.wire.limits import Limits
from sidecar.ipc.wire.liveness import INTERVAL_S, Liveness, Sweep, Verdict
from sidecar.ipc.wire.messages import Malformed, Message, MessageIds

MAX_TEXT = 1000
"""Characters of an error's message."""

_NO_CHANNEL = messages.encode("")
_decode_list = msgspec.msgpack.Decoder(list[int]).decode


class Why(Enum):
    """What closed a channel before its last answer."""

    CANCELLED = "cancelled"
    LOST = "lost"
    GONE = "gone"


class Peer:
    """One connection and its open channels."""

    __slots__ = ("channels", "identity")

    def __init__(self, identity: bytes) -> None:
        self.identity = identity
        self.channels: dict[bytes, Channel] = {}


class Channel(msgspec.Struct, eq=False):
    """One open call or stream."""

    peer: Peer
    id: bytes
    liveness: Liveness
    allowance: Allowance
    open: bool = True


class Call(msgspec.Struct, frozen=True):
    """Somebody asks; answer with ``ok``, ``error``, or ``item`` ... ``done``."""

    channel: Channel
    method: str
    args: Raw


class Outgoing(msgspec.Struct, frozen=True):
    """One message to send."""

    identity: bytes
    payload: bytes
    channel_id: bytes
    """Empty for a heartbeat, which need not wait for a client that does not read."""


class Writable(msgspec.Struct, frozen=True):
    """A stream may go on."""

    channel: Channel


class Closed(msgspec.Struct, frozen=True):
    """Stop working for this channel."""

    channel: Channel
    why: Why


Event = Call | Writable | Closed


class ServerWire:
    """Feed ``receive`` and ``handle_timer``; act on what they return; then send all of ``take_outgoing``."""

    def __init__(
        self,
        directory: Directory,
        ids: MessageIds,
        *,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        heartbeat_s: float = INTERVAL_S,
    ) -> None:
        self.counters: Counter[str] = Counter()
        """What was dropped, by reason."""
        self._directory = directory
        self._ids = ids
        self._limits = limits
        self._heartbeat_s = heartbeat_s
        self._sweep = Sweep(heartbeat_s)
        self._peers: dict[bytes, Peer] = {}
        self._open = 0
        self.outgoing: list[Outgoing] = []
        """Waits for ``take_outgoing``."""

    # -- connections

    def connect(self, identity: bytes) -> bool:
        """A first message came from ``identity``; False: one client too many, its requests are refused."""
        if identity not in self._peers:
            if len(self._peers) >= self._limits.clients:
                return False
            self._peers[identity] = Peer(identity)
        return True

    def disconnect(self, identity: bytes) -> list[Event]:
        """The connection is gone; so are its channels."""
        peer = self._peers.pop(identity, None)
        return (
            []
            if peer is None
            else [self._lose(channel, Why.GONE) for channel in list(peer.channels.values())]
        )

    # -- input

    def receive(self, identity: bytes, payload: bytes, now: float) -> Event | None:
        """One message of one client."""
        try:
            message = messages.parse(payload)
            channel_id = message.response_to
            if channel_id:
                return self._on_open_channel(identity, channel_id, message, len(payload), now)
            return self._on_request(identity, message, len(payload), now)
        except Malformed as error:
            self.counters[error.reason] += 1
            self._refuse_unreadable(identity, payload)
            return None

    def refuse(self, identity: bytes, payload: bytes, problem: SidecarError) -> None:
        """Answers a request with an error without running it; anything but a request is left alone."""
        try:
            message = messages.parse(payload)
            if message.message_id and not message.response_to:
                self._refuse(identity, message.message_id, problem.code, problem.message)
        except Malformed as error:
            self.counters[error.reason] += 1

    def _on_request(self, identity: bytes, message: Message, size: int, now: float) -> Event | None:
        channel_id = message.message_id
        if not channel_id:
            raise Malformed("no-message-id")
        peer = self._peers.get(identity)
        limits = self._limits
        if (
            peer is None
            or size > limits.request_bytes
            or len(peer.channels) >= limits.channels_per_client
            or self._open >= limits.channels
        ):
            problem = self._objection(peer, channel_id, size)
            if problem is not None:
                self._refuse(identity, channel_id, *problem)
                return None
        if message.name in self._directory.builtins:
            self._answer_builtin(identity, channel_id, message)
            return None
        if peer is None or channel_id in peer.channels:
            self.counters["repeated-message-id"] += 1
            return None
        if not self._open:
            self._sweep.wake(now)
        self._open += 1
        channel = Channel(peer, channel_id, Liveness(self._heartbeat_s, now, now), Allowance())
        peer.channels[channel_id] = channel
        return Call(channel, message.name, message.args)

    def _objection(self, peer: Peer | None, channel_id: bytes, size: int) -> tuple[Code, str] | None:
        limits = self._limits
        if size > limits.request_bytes:
            return Code.TOO_LARGE, f"the request has {size} bytes, at most {limits.request_bytes} are taken"
        if peer is None:
            return Code.RESOURCE, f"there are {limits.clients} clients already"
        if len(peer.channels) >= limits.channels_per_client and channel_id not in peer.channels:
            return Code.RESOURCE, f"{limits.channels_per_client} calls of this client are open already"
        if self._open >= limits.channels:
            return Code.RESOURCE, f"{limits.channels} calls are open already"
        return None

    def _answer_builtin(self, identity: bytes, channel_id: bytes, message: Message) -> None:
        try:
            result = self._directory.answer(message.name, message.args)
        except SidecarError as error:
            self._refuse(identity, channel_id, error.code, error.message)
        else:
            self._send(identity, channel_id, messages.OK, (result,))

    def _on_open_channel(
        self, identity: bytes, channel_id: bytes, message: Message, size: int, now: float
    ) -> Event | None:
        if size > self._limits.request_bytes:
            raise Malformed("oversized-event")
        peer = self._peers.get(identity)
        channel = peer.channels.get(channel_id) if peer is not None else None
        if channel is None:
            return None
        channel.liveness.heard(now)
        if message.name == messages.MORE:
            return self._grant(channel, message.args)
        if message.name == messages.CANCEL:
            return self._lose(channel, Why.CANCELLED)
        if message.name != messages.HEARTBEAT:
            self.counters["unknown-event"] += 1
        return None

    def _grant(self, channel: Channel, args: Raw) -> Event | None:
        try:
            granted = _decode_list(args)
        except (msgspec.DecodeError, RecursionError):
            granted = []
        if len(granted) != 1 or not channel.allowance.add(granted[0]):
            self.counters["bad-credit"] += 1
            return None
        return Writable(channel)

    # -- output

    def ok(self, channel: Channel, result: object) -> None:
        """The answer to a call; ``result`` may be ``Raw``."""
        if self._finish(channel):
            self._send(channel.peer.identity, channel.id, messages.OK, (result,))

    def error(self, channel: Channel, code: str, message: str, details: str = "") -> None:
        """The answer to a call or the end of a stream; ``details`` is JSON or empty."""
        if self._finish(channel):
            self._send(channel.peer.identity, channel.id, messages.ERR, (code, message[:MAX_TEXT], details))

    def item(self, channel: Channel, item: object) -> None:
        """The next item of a stream; the channel must have credit."""
        if channel.open:
            channel.allowance.spend()
            self._send(channel.peer.identity, channel.id, messages.STREAM, item)

    def done(self, channel: Channel) -> None:
        """The end of a stream; the channel must have credit."""
        if channel.open:
            channel.allowance.spend()
            self._finish(channel)
            self._send(channel.peer.identity, channel.id, messages.STREAM_DONE, None)

    def take_outgoing(self) -> list[Outgoing]:
        """What is to be sent, in order; each message is handed out once."""
        outgoing = self.outgoing
        if outgoing:
            self.outgoing = []
        return outgoing

    def apology(self, channel_id: bytes) -> bytes:
        """What goes out in place of an answer that may not wait: the client reads too slowly."""
        return messages.serialise(
            self._ids(), messages.ERR, (Code.RESOURCE, "answers wait unread by this client", ""), channel_id
        )

    def probe(self) -> bytes:
        """A heartbeat of no channel: every client ignores it, and sending it shows whether one is there."""
        return messages.serialise(self._ids(), messages.HEARTBEAT, (0,), _NO_CHANNEL)

    # -- time

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` is due; None while no channel is open."""
        return self._sweep.next_deadline()

    def handle_timer(self, now: float) -> list[Event]:
        """Heartbeats of all channels, and the channels whose client fell silent."""
        late = self._sweep.begin(now)
        if late is None:
            return []
        lost: list[Event] = []
        for peer in self._peers.values():
            for channel in list(peer.channels.values()):
                if late:
                    channel.liveness.excuse(late)
                verdict = channel.liveness.check(now)
                if verdict is Verdict.BEAT:
                    beat = messages.serialise(self._ids(), messages.HEARTBEAT, (0,), channel.id)
                    self.outgoing.append(Outgoing(peer.identity, beat, b""))
                elif verdict is Verdict.LOST:
                    lost.append(self._lose(channel, Why.LOST))
        return lost

    # -- inside

    def _finish(self, channel: Channel) -> bool:
        if not channel.open:
            return False
        channel.open = False
        channel.peer.channels.pop(channel.id, None)
        self._open -= 1
        if not self._open:
            self._sweep.rest()
        return True

    def _lose(self, channel: Channel, why: Why) -> Closed:
        self._finish(channel)
        self.counters[f"channel-{why.value}"] += 1
        return Closed(channel, why)

    def _send(self, identity: bytes, channel_id: bytes, name: str, args: object) -> None:
        payload = messages.serialise(self._ids(), name, args, channel_id)
        self.outgoing.append(Outgoing(identity, payload, channel_id))

    def _refuse(self, identity: bytes, channel_id: bytes, code: Code, message: str) -> None:
        self.counters[f"refused-{code.value}"] += 1
        self._send(identity, channel_id, messages.ERR, (code, message[:MAX_TEXT], ""))

    def _refuse_unreadable(self, identity: bytes, payload: bytes) -> None:
        channel_id = messages.salvage_id(payload)
        if channel_id:
            self._refuse(identity, channel_id, Code.INVALID_PARAMS, "the message is not [header, name, args]")
