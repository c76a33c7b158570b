"""What a relay lacks is asked of a few of its gun.js clients; acknowledgements are wanted of as few."""

from __future__ import annotations

import itertools
import json
from typing import Any

from sidecar.graph.core.inquiry import ASKED_AT_ONCE, ASKED_OF_NEWCOMER, MAX_PENDING, MAX_PER_SECOND, Inquiry
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.core.wire import Get
from sidecar.graph.store import MemoryStore
from tests.graph_machines import NOW_MS, Seeded, node


def inquiry(count: int) -> Inquiry:
    machine = Inquiry()
    for connection in range(1, count + 1):
        assert machine.joined(connection, 0.0) == []
    return machine


def test_three_are_asked_and_the_next_time_three_others() -> None:
    machine = inquiry(7)
    first = machine.missed(1, Get("a"), 0.0)
    second = machine.missed(1, Get("a"), 1.0)
    assert len(first) == len(second) == ASKED_AT_ONCE
    assert {*first, *second} == {2, 3, 4, 5, 6, 7}


def test_many_readers_of_one_missing_soul_cost_one_round_a_second() -> None:
    machine = inquiry(100)
    asked = [machine.missed(reader, Get("a"), 0.5) for reader in range(1, 101)]
    assert sum(map(len, asked)) == ASKED_AT_ONCE


def test_nobody_is_asked_without_end() -> None:
    machine = inquiry(3)
    asked = [machine.missed(1, Get(f"s{number}"), 0.5) for number in range(1_000)]
    assert sum(map(len, asked)) == 2 * MAX_PER_SECOND
    assert len(machine.missed(1, Get("later"), 1.0)) == 2
    assert len(machine._pending) == MAX_PENDING


def test_a_newcomer_is_asked_for_what_others_looked_for_lately() -> None:
    machine = inquiry(1)
    machine.missed(1, Get("old"), 0.0)
    for number in range(20):
        machine.missed(1, Get(f"s{number}"), 30.0)
    assert machine.joined(2, 61.0) == [Get(f"s{number}") for number in range(19, 19 - ASKED_OF_NEWCOMER, -1)]
    machine.left(2)
    assert machine.joined(2, 91.0) == []


class Net:
    """A router and gun.js clients 1 to 4; ``say`` returns what each of them is sent."""

    def __init__(self) -> None:
        self.ids = itertools.count()
        self.router = Router(MemoryStore(), Seeded(), Limits())
        for connection in (1, 2, 3, 4):
            self.join(connection)

    def join(self, connection: int, **more: Any) -> list[tuple[int, dict[str, Any]]]:
        self.router.opened(connection)
        return self.say(connection, {"dam": "?", "pid": f"pid{connection}", "@": "x", **more})

    def say(self, connection: int, message: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
        self.router.received(connection, json.dumps({"#": f"m{next(self.ids)}", **message}), 1.0, NOW_MS)
        return [(to, json.loads(effect.text)) for effect in self.router.take() for to in effect.connections]


def asked(sent: list[tuple[int, dict[str, Any]]]) -> list[tuple[int, Any]]:
    return [(to, message["get"]) for to, message in sent if "get" in message]


def test_who_wrote_unheard_is_asked_and_the_answer_reaches_the_reader() -> None:
    net = Net()
    sent = net.say(1, {"get": {"#": "note"}})
    assert sorted(to for to, _ in asked(sent)) == [1, 2, 3, 4]
    question = next(message["#"] for to, message in sent if to == 4 and "get" in message)
    answer = {"@": question, "put": {"note": node("note", ("text", "unheard"))}}
    ((to, message),) = net.say(4, answer)
    assert to == 1
    assert message["put"]["note"]["text"] == "unheard"
    assert asked(net.say(2, {"get": {"#": "note"}})) == [(2, {"#": "note"})]


def test_who_comes_later_is_asked_with_the_hash_of_what_is_known() -> None:
    net = Net()
    net.say(1, {"get": {"#": "note"}})
    net.say(2, {"put": {"note": node("note", ("text", "from two"))}})
    sent = [message for to, message in net.join(5) if "get" in message]
    assert [message["get"] for message in sent] == [{"#": "note"}]
    assert isinstance(sent[0]["##"], int)


def test_leaves_and_programs_of_ours_are_left_alone() -> None:
    net = Net()
    assert asked(net.say(1, {"get": {"#": "calls/s/x#<?90"}})) == []
    net.say(1, {"get": {"#": "note"}})
    assert asked(net.join(5, aleph=1)) == []


def test_as_many_acknowledge_as_the_writer_wants() -> None:
    net = Net()
    for reader in (2, 3, 4):
        net.say(reader, {"get": {"#": "note"}})
    for wanted, shares in ((3, [1, 1, 0]), (1, []), (99, [1, 1, 1]), ("x", []), (None, [])):
        state = NOW_MS - 100 + next(net.ids)
        sent = net.say(
            1, {"put": {"note": node("note", ("n", state), state=state)}, "ok": {"@": wanted, "/": 1}}
        )
        found = [message["ok"]["@"] for to, message in sent if to != 1 and "ok" in message]
        assert sorted(found, reverse=True) == shares
