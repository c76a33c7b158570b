"""The serving machine in virtual time: every kind of message in every state of a channel."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from sidecar.errors import UnavailableError
from sidecar.ipc.wire.credit import MAX_CREDIT
from sidecar.ipc.wire.directory import Directory, Method
from sidecar.ipc.wire.limits import Limits
from sidecar.ipc.wire.messages import MessageIds
from sidecar.ipc.wire.server import Call, Channel, Closed, ServerWire, Why, Writable

LIMITS = Limits(request_bytes=2000, clients=2, channels_per_client=3, channels=5)


class Bench:
    """A machine, its clock, and clients named by one letter."""

    def __init__(self) -> None:
        methods = {"call:get": Method("call:get", "Gets."), "void": Method("void", takes_params=False)}
        self.wire = ServerWire(Directory("unit", methods), MessageIds("s"), limits=LIMITS)
        self.now = 0.0
        self.wire.connect(b"A")

    def send(self, name: str, args: Any, *, message_id: Any = "m", to: Any = None, who: bytes = b"A") -> Any:
        header = {"message_id": message_id, "v": 3}
        if to is not None:
            header["response_to"] = to
        return self.wire.receive(who, msgpack.packb([header, name, args]), self.now)

    def call(self, message_id: Any = "c", who: bytes = b"A") -> Channel:
        event = self.send("call:get", [None], message_id=message_id, who=who)
        assert isinstance(event, Call)
        return event.channel

    def sent(self) -> list[tuple[bytes, Any, str, Any]]:
        """(client, channel, name, args) of everything that goes out."""
        out = []
        for outgoing in self.wire.take_outgoing():
            header, name, args = msgpack.unpackb(outgoing.payload)
            assert header["v"] == 3
            out.append((outgoing.identity, header["response_to"], name, args))
        return out

    def tick(self, seconds: float, step: float = 1.0) -> list[Any]:
        events: list[Any] = []
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + step, end)
            events += self.wire.handle_timer(self.now)
        return events


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_call_and_its_answer(bench: Bench) -> None:
    event = bench.send("call:get", [{"a": 1}], message_id=b"c")
    assert isinstance(event, Call)
    assert (event.method, msgpack.unpackb(event.args)) == ("call:get", [{"a": 1}])
    bench.wire.ok(event.channel, {"b": 2})
    assert bench.sent() == [(b"A", b"c", "OK", [{"b": 2}])]
    assert bench.wire.next_deadline() is None


def test_an_error_has_three_parts(bench: Bench) -> None:
    bench.wire.error(bench.call(), "call.not-found", "no such call" * 200, '{"a":1}')
    ((_, _, name, args),) = bench.sent()
    assert name == "ERR"
    assert args[0] == "call.not-found"
    assert len(args[1]) == 1000
    assert args[2] == '{"a":1}'


def test_a_stream_stops_without_credit_and_goes_on_with_it(bench: Bench) -> None:
    channel = bench.call()
    bench.wire.item(channel, 0)
    assert channel.allowance.left == 0
    with pytest.raises(AssertionError):
        bench.wire.item(channel, 1)
    assert bench.send("_zpc_more", [2], to="c") == Writable(channel)
    bench.wire.item(channel, 1)
    bench.wire.done(channel)
    assert [entry[2:] for entry in bench.sent()] == [("STREAM", 0), ("STREAM", 1), ("STREAM_DONE", None)]
    assert not channel.open


def test_what_is_sent_on_a_closed_channel_goes_nowhere(bench: Bench) -> None:
    channel = bench.call()
    bench.wire.ok(channel, 1)
    bench.sent()
    bench.wire.ok(channel, 2)
    bench.wire.error(channel, "internal", "late")
    bench.wire.item(channel, 3)
    bench.wire.done(channel)
    assert bench.sent() == []


def test_channels_are_kept_per_connection_and_id(bench: Bench) -> None:
    bench.wire.connect(b"B")
    first, second = bench.call(), bench.call(who=b"B")
    assert first is not second
    bench.wire.ok(second, "b")
    bench.wire.ok(first, "a")
    assert bench.sent() == [(b"B", "c", "OK", ["b"]), (b"A", "c", "OK", ["a"])]


def test_ids_of_different_types_are_different_channels(bench: Bench) -> None:
    assert bench.call("c") is not bench.call(b"c")


def test_a_repeated_id_is_dropped_while_its_channel_is_open(bench: Bench) -> None:
    bench.call()
    assert bench.send("call:get", [None], message_id="c") is None
    assert bench.sent() == []
    assert bench.wire.counters["repeated-message-id"] == 1


def test_cancel_closes_at_once(bench: Bench) -> None:
    channel = bench.call()
    assert bench.send("_zpc_cancel", [], to="c") == Closed(channel, Why.CANCELLED)
    assert bench.send("_zpc_cancel", [], to="c") is None
    assert bench.sent() == []


def test_the_end_of_a_connection_closes_its_channels_only(bench: Bench) -> None:
    bench.wire.connect(b"B")
    first, second, other = bench.call("1"), bench.call("2"), bench.call(who=b"B")
    assert bench.wire.disconnect(b"A") == [Closed(first, Why.GONE), Closed(second, Why.GONE)]
    assert bench.wire.disconnect(b"A") == []
    assert other.open


@pytest.mark.parametrize("name", ["_zpc_more", "_zpc_hb", "_zpc_cancel", "STREAM", "anything"])
def test_late_events_of_a_closed_channel_are_ignored(bench: Bench, name: str) -> None:
    bench.wire.ok(bench.call(), 1)
    bench.sent()
    assert bench.send(name, [1], to="c") is None
    assert bench.sent() == []
    assert not bench.wire.counters


@pytest.mark.parametrize("args", [[], [1, 2], ["1"], [-1], None, {"n": 1}, [[1]], [True], [2**64 - 1]])
def test_I01_a_wrong_grant_is_counted(bench: Bench, args: Any) -> None:
    channel = bench.call()
    event = bench.send("_zpc_more", args, to="c")
    if event is None:
        assert bench.wire.counters["bad-credit"] == 1
        assert channel.allowance.left == 1
    else:
        assert args == [2**64 - 1]
        assert channel.allowance.left == MAX_CREDIT


def test_I01_a_stray_event_on_an_open_channel_is_counted(bench: Bench) -> None:
    channel = bench.call()
    assert bench.send("STREAM", 5, to="c") is None
    assert bench.wire.counters["unknown-event"] == 1
    assert channel.open


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\xc1", None),
        (b"", None),
        (msgpack.packb([{"message_id": "m"}, 7, []]), "invalid-params"),
        (msgpack.packb([{"message_id": "m"}, "x", [5]])[:-1], "invalid-params"),
        (msgpack.packb([{"v": 3}, "x", []]), None),
        (msgpack.packb([{"message_id": "m" * 500}, "x", []]), None),
    ],
)
def test_I01_malformed_is_counted_and_answered_if_it_can_be(
    bench: Bench, payload: bytes, code: str | None
) -> None:
    assert bench.wire.receive(b"A", payload, 0.0) is None
    assert [(entry[1], entry[3][0]) for entry in bench.sent()] == ([("m", code)] if code else [])
    assert bench.wire.counters.total() == (2 if code else 1)
    bench.call()


def test_I01_a_request_over_the_limit_gets_a_code_and_the_connection_lives(bench: Bench) -> None:
    assert bench.send("call:get", ["x" * 2000]) is None
    ((_, channel_id, name, args),) = bench.sent()
    assert (channel_id, name, args[0]) == ("m", "ERR", "too-large")
    bench.call()


def test_I01_an_event_over_the_limit_is_counted(bench: Bench) -> None:
    channel = bench.call()
    assert bench.send("_zpc_hb", ["x" * 2000], to="c") is None
    assert bench.wire.counters["oversized-event"] == 1
    assert channel.open
    assert bench.sent() == []


def test_channels_of_one_client_are_bounded(bench: Bench) -> None:
    channels = [bench.call(str(n)) for n in range(LIMITS.channels_per_client)]
    assert bench.send("call:get", [None]) is None
    assert bench.sent()[0][3][0] == "resource"
    bench.wire.ok(channels[0], 1)
    bench.call()


def test_channels_of_all_clients_are_bounded(bench: Bench) -> None:
    bench.wire.connect(b"B")
    for n in range(3):
        bench.call(str(n))
    for n in range(2):
        bench.call(str(n), who=b"B")
    assert bench.send("call:get", [None], who=b"B") is None
    assert bench.sent()[0][3][0] == "resource"


def test_clients_are_bounded(bench: Bench) -> None:
    assert bench.wire.connect(b"B")
    assert bench.wire.connect(b"B")
    assert not bench.wire.connect(b"C")
    assert bench.send("call:get", [None], who=b"C") is None
    assert bench.sent()[0][:3] == (b"C", "m", "ERR")
    bench.wire.disconnect(b"B")
    assert bench.wire.connect(b"C")


def test_refuse_answers_requests_only(bench: Bench) -> None:
    problem = UnavailableError("too slow")
    bench.wire.refuse(b"A", msgpack.packb([{"message_id": "m"}, "call:get", [None]]), problem)
    bench.wire.refuse(b"A", msgpack.packb([{"message_id": "m", "response_to": "c"}, "_zpc_hb", [0]]), problem)
    bench.wire.refuse(b"A", b"\xc1", problem)
    assert [entry[3] for entry in bench.sent()] == [["resource", "too slow", ""]]


def test_heartbeats_go_out_every_five_seconds_while_the_client_lives(bench: Bench) -> None:
    channel = bench.call()
    for _ in range(4):
        assert bench.tick(5.5) == []
        assert bench.sent() == [(b"A", "c", "_zpc_hb", [0])]
        assert bench.send("_zpc_hb", [0], to="c") is None
    assert channel.open


def test_heartbeats_may_be_dropped_but_answers_may_not(bench: Bench) -> None:
    channel = bench.call()
    bench.tick(6)
    bench.wire.ok(channel, 1)
    assert [bool(outgoing.channel_id) for outgoing in bench.wire.take_outgoing()] == [False, True]


def test_I04_two_missed_heartbeats_lose_the_channel_and_nothing_runs_on(bench: Bench) -> None:
    channel = bench.call()
    assert bench.tick(11.9) == [Closed(channel, Why.LOST)]
    assert bench.wire.next_deadline() is None
    assert bench.send("_zpc_hb", [0], to="c") is None, "a late heartbeat revives nothing"
    bench.call("again")


def test_I04_a_stalled_process_of_ours_does_not_lose_its_clients(bench: Bench) -> None:
    channel = bench.call()
    bench.tick(4)
    assert bench.tick(30, step=30) == []
    assert channel.open
    assert bench.tick(12) == [Closed(channel, Why.LOST)]


def test_one_client_lost_leaves_the_other(bench: Bench) -> None:
    bench.wire.connect(b"B")
    silent, alive = bench.call(), bench.call(who=b"B")
    events = []
    for _ in range(4):
        events += bench.tick(3)
        bench.send("_zpc_hb", [0], to="c", who=b"B")
    assert events == [Closed(silent, Why.LOST)]
    assert alive.open


@pytest.mark.parametrize(
    ("name", "args", "answer"),
    [
        ("_zerorpc_ping", [], ["pong", "unit"]),
        ("_zerorpc_name", [], "unit"),
        ("_zerorpc_list", [], ["call:get", "void"]),
        ("_zerorpc_help", ["call:get"], "Gets."),
        ("_zerorpc_help", ["void"], None),
        ("_zerorpc_args", ["call:get"], [["params"], None, None, [None]]),
        ("_zerorpc_args", ["void"], [[], None, None, None]),
        (
            "_zerorpc_inspect",
            [],
            {
                "name": "unit",
                "methods": {
                    "call:get": {"args": [{"name": "params", "default": None}], "doc": "Gets."},
                    "void": {"args": [], "doc": None},
                },
            },
        ),
    ],
)
def test_builtins(bench: Bench, name: str, args: list[Any], answer: Any) -> None:
    assert bench.send(name, args) is None
    assert bench.sent() == [(b"A", "m", "OK", [answer])]


@pytest.mark.parametrize(
    ("args", "code"), [([], "invalid-params"), ([5], "invalid-params"), (["nix"], "not-implemented")]
)
def test_a_builtin_with_a_wrong_argument(bench: Bench, args: list[Any], code: str) -> None:
    assert bench.send("_zerorpc_help", args) is None
    assert bench.sent()[0][3][0] == code


def test_the_apology_is_an_error_on_the_channel(bench: Bench) -> None:
    header, name, args = msgpack.unpackb(bench.wire.apology(msgpack.packb("c")))
    assert (header["response_to"], name, args[0]) == ("c", "ERR", "resource")
