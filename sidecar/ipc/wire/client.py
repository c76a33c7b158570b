"""The calling end: one connection to a server, many open calls and streams.

Grants follow what the application has taken, so the first comes after the first item: stock servers drop an
earlier one, and the stream then stalls. Heartbeats go both ways from the start.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import msgspec
from msgspec import Raw

from sidecar.ipc.wire import messages
from sidecar.ipc.wire.credit import WINDOW, Window
from sidecar.ipc.wire.liveness import INTERVAL_S, Liveness, Sweep, Verdict
from sidecar.ipc.wire.messages import Malformed, Message, MessageIds


class Request:
    """One call or stream this end has opened."""

    __slots__ = ("id", "liveness", "window")

    def __init__(self, request_id: bytes, liveness: Liveness, window: Window) -> None:
        self.id = request_id
        self.liveness = liveness
        self.window = window


class Result(NamedTuple):
    """The call succeeded."""

    request: Request
    value: Raw


class Failed(NamedTuple):
    """The server answered with an error; ours puts a code into ``name`` and JSON into ``details``."""

    request: Request
    name: str
    message: str
    details: str


class Item(NamedTuple):
    """One item of a stream; report it with ``taken`` once the application has it."""

    request: Request
    value: Raw


class Done(NamedTuple):
    """The stream ended."""

    request: Request


class Lost(NamedTuple):
    """The server was silent for two heartbeat intervals, or broke the protocol."""

    request: Request


Event = Result | Failed | Item | Done | Lost

_decode_one = msgspec.msgpack.Decoder(tuple[Raw]).decode
_decode_error = msgspec.msgpack.Decoder(tuple[str, str, str | None]).decode


class ClientWire:
    """Feed ``receive`` and ``handle_timer``; act on what they return; then send all of ``take_outgoing``."""

    def __init__(self, ids: MessageIds, *, heartbeat_s: float = INTERVAL_S) -> None:
        self.counters: Counter[str] = Counter()
        self._ids = ids
        self._heartbeat_s = heartbeat_s
        self._sweep = Sweep(heartbeat_s)
        self._requests: dict[bytes, Request] = {}
        self._outgoing: list[bytes] = []

    def open(self, method: str, args: tuple[object, ...], now: float, window: int = WINDOW) -> Request:
        """Starts a call or a stream: which of the two, the first answer tells."""
        message_id = self._ids()
        request = Request(messages.encode(message_id), Liveness(self._heartbeat_s, now, now), Window(window))
        self._requests[request.id] = request
        self._sweep.wake(now)
        self._outgoing.append(messages.serialise(message_id, method, args))
        return request

    def taken(self, request: Request) -> None:
        """The application has one more item; grants credit when it is due."""
        grant = request.window.taken()
        if grant and request.id in self._requests:
            self._send(request, messages.MORE, (grant,))

    def cancel(self, request: Request) -> None:
        """The application lost interest; answers that are under way are dropped."""
        if self._forget(request):
            self._send(request, messages.CANCEL, ())

    def receive(self, payload: bytes, now: float) -> Event | None:
        """One message of the server."""
        try:
            message = messages.parse(payload)
            request = self._requests.get(message.response_to)
            if request is None:
                return None
            request.liveness.heard(now)
            return self._on_event(request, message)
        except (Malformed, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.counters["malformed-message"] += 1
            return None

    def _on_event(self, request: Request, message: Message) -> Event | None:
        if message.name == messages.OK:
            (value,) = _decode_one(message.args)
            self._forget(request)
            return Result(request, value)
        if message.name == messages.ERR:
            name, text, details = _decode_error(message.args)
            self._forget(request)
            return Failed(request, name, text, details or "")
        if message.name == messages.STREAM:
            if request.window.received():
                return Item(request, message.args)
            self.counters["item-without-credit"] += 1
            self._forget(request)
            return Lost(request)
        if message.name == messages.STREAM_DONE:
            self._forget(request)
            return Done(request)
        return None

    def take_outgoing(self) -> list[bytes]:
        """Messages to send, in order; each is handed out once."""
        outgoing = self._outgoing
        if outgoing:
            self._outgoing = []
        return outgoing

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` is due; None while nothing is open."""
        return self._sweep.next_deadline()

    def handle_timer(self, now: float) -> list[Event]:
        """Heartbeats, and the requests whose server fell silent."""
        late = self._sweep.begin(now)
        if late is None:
            return []
        lost: list[Event] = []
        for request in list(self._requests.values()):
            if late:
                request.liveness.excuse(late)
            verdict = request.liveness.check(now)
            if verdict is Verdict.LOST:
                self._forget(request)
                lost.append(Lost(request))
            elif verdict is Verdict.BEAT:
                self._send(request, messages.HEARTBEAT, (0,))
        return lost

    def _forget(self, request: Request) -> bool:
        if self._requests.pop(request.id, None) is None:
            return False
        if not self._requests:
            self._sweep.rest()
        return True

    def _send(self, request: Request, name: str, args: object) -> None:
        self._outgoing.append(messages.serialise(self._ids(), name, args, request.id))
