"""The calling machine, alone and joined to the serving one by a bag of messages; virtual time."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from sidecar.ipc.wire.client import ClientWire, Done, Failed, Item, Lost, Request, Result
from sidecar.ipc.wire.directory import Directory
from sidecar.ipc.wire.messages import MessageIds
from sidecar.ipc.wire.server import Call, Closed, ServerWire, Why


def answer(request: Request, name: str, args: Any) -> bytes:
    return msgpack.packb(
        [{"message_id": "s", "v": 3, "response_to": msgpack.unpackb(request.id)}, name, args]
    )


def sent(wire: ClientWire) -> list[tuple[str, Any]]:
    return [tuple(msgpack.unpackb(payload)[1:]) for payload in wire.take_outgoing()]


@pytest.fixture
def wire() -> ClientWire:
    return ClientWire(MessageIds("c"))


def test_a_call_that_succeeds(wire: ClientWire) -> None:
    request = wire.open("call:get", ({"a": 1},), 0.0)
    assert sent(wire) == [("call:get", [{"a": 1}])]
    event = wire.receive(answer(request, "OK", [7]), 0.0)
    assert isinstance(event, Result)
    assert (event.request, msgpack.unpackb(event.value)) == (request, 7)
    assert wire.next_deadline() is None
    assert wire.receive(answer(request, "OK", [7]), 0.0) is None, "only once"


@pytest.mark.parametrize("third", ['{"code":"x"}', "", None])
def test_a_call_that_fails(wire: ClientWire, third: str | None) -> None:
    request = wire.open("call:get", (None,), 0.0)
    event = wire.receive(answer(request, "ERR", ["call.not-found", "gone", third]), 0.0)
    assert event == Failed(request, "call.not-found", "gone", third or "")


def test_a_stream_is_granted_credit_only_after_its_first_item(wire: ClientWire) -> None:
    request = wire.open("events", (None,), 0.0, window=10)
    sent(wire)
    assert isinstance(wire.receive(answer(request, "STREAM", 0), 0.0), Item)
    assert sent(wire) == []
    wire.taken(request)
    assert sent(wire) == [("_zpc_more", [10])]
    assert wire.receive(answer(request, "STREAM_DONE", None), 0.0) == Done(request)


def test_items_beyond_the_credit_end_the_stream(wire: ClientWire) -> None:
    request = wire.open("events", (None,), 0.0)
    assert isinstance(wire.receive(answer(request, "STREAM", 0), 0.0), Item)
    assert wire.receive(answer(request, "STREAM", 1), 0.0) == Lost(request)
    assert wire.counters["item-without-credit"] == 1


def test_cancel_is_sent_once_and_answers_after_it_are_dropped(wire: ClientWire) -> None:
    request = wire.open("call:get", (None,), 0.0)
    sent(wire)
    wire.cancel(request)
    wire.cancel(request)
    wire.taken(request)
    assert sent(wire) == [("_zpc_cancel", [])]
    assert wire.receive(answer(request, "OK", [7]), 0.0) is None


def test_heartbeats_while_open_and_lost_after_two_missed(wire: ClientWire) -> None:
    request = wire.open("call:get", (None,), 0.0)
    sent(wire)
    now, events = 0.0, []
    while not events:
        now += 1.0
        events = wire.handle_timer(now)
    assert events == [Lost(request)]
    assert 10.0 < now <= 12.0
    assert sent(wire) == [("_zpc_hb", [0])] * 2


@pytest.mark.parametrize("args", [[], [1, 2], 5, None])
def test_a_malformed_answer_is_counted(wire: ClientWire, args: Any) -> None:
    request = wire.open("call:get", (None,), 0.0)
    assert wire.receive(answer(request, "OK", args), 0.0) is None
    assert wire.receive(answer(request, "ERR", args), 0.0) is None
    assert wire.receive(b"\xc1", 0.0) is None
    assert wire.counters["malformed-message"] == 3


def test_unknown_events_and_foreign_answers_are_ignored(wire: ClientWire) -> None:
    request = wire.open("call:get", (None,), 0.0)
    assert wire.receive(answer(request, "_zpc_hb", [0]), 0.0) is None
    assert wire.receive(answer(request, "_zpc_other", [0]), 0.0) is None
    assert wire.receive(msgpack.packb([{"message_id": "s", "response_to": "x"}, "OK", [1]]), 0.0) is None
    assert isinstance(wire.receive(answer(request, "OK", [1]), 0.0), Result)


class Pair:
    """Both machines and what is on the way between them."""

    def __init__(self) -> None:
        self.server = ServerWire(Directory("pair", {}), MessageIds("s"))
        self.server.connect(b"A")
        self.client = ClientWire(MessageIds("c"))
        self.now = 0.0
        self.calls: list[Call] = []
        self.closed: list[Closed] = []
        self.answers: list[Any] = []

    def exchange(self) -> None:
        moved = True
        while moved:
            moved = False
            for payload in self.client.take_outgoing():
                moved = True
                event = self.server.receive(b"A", payload, self.now)
                if isinstance(event, Call):
                    self.calls.append(event)
                elif isinstance(event, Closed):
                    self.closed.append(event)
            for outgoing in self.server.take_outgoing():
                moved = True
                answered = self.client.receive(outgoing.payload, self.now)
                if answered is not None:
                    self.answers.append(answered)

    def tick(self, seconds: float, *, connected: bool = True) -> None:
        for _ in range(int(seconds)):
            self.now += 1.0
            self.closed += self.server.handle_timer(self.now)
            self.answers += self.client.handle_timer(self.now)
            if connected:
                self.exchange()
            else:
                self.client.take_outgoing()
                self.server.take_outgoing()


def test_a_stream_of_any_length_arrives_in_order_and_in_bounded_memory() -> None:
    pair = Pair()
    request = pair.client.open("events", (None,), 0.0, window=16)
    pair.exchange()
    channel, waiting, got, n = pair.calls[0].channel, 0, [], 0
    while len(got) < 1000:
        pair.exchange()
        while channel.allowance.left and n < 1000:
            pair.server.item(channel, n)
            n += 1
        pair.exchange()
        waiting = len(pair.answers)
        assert waiting <= 16
        got.append(msgpack.unpackb(pair.answers.pop(0).value))
        pair.client.taken(request)
    assert got == list(range(1000))


def test_an_idle_stream_lives_on_heartbeats_alone() -> None:
    pair = Pair()
    pair.client.open("events", (None,), 0.0)
    pair.exchange()
    pair.tick(3600)
    assert pair.closed == []
    assert pair.answers == []


def test_I04_ten_seconds_apart_end_both_sides_cleanly() -> None:
    pair = Pair()
    request = pair.client.open("events", (None,), 0.0)
    pair.exchange()
    pair.tick(12, connected=False)
    assert [closed.why for closed in pair.closed] == [Why.LOST]
    assert pair.answers == [Lost(request)]
    pair.tick(20)
    assert pair.server.next_deadline() is None
    assert pair.client.next_deadline() is None


def test_I04_a_shorter_break_is_survived() -> None:
    pair = Pair()
    pair.client.open("events", (None,), 0.0)
    pair.exchange()
    pair.tick(7)
    pair.tick(7, connected=False)
    pair.tick(60)
    assert pair.closed == []
    assert pair.answers == []
