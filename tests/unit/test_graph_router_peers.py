"""Relays that peer with each other, wired in memory: chains, rings, a relay that is away."""

from __future__ import annotations

import json
from collections import Counter, deque
from typing import Any

import pytest

from sidecar.graph.core import nodes
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.core.upstream import MAX_MISSED
from sidecar.graph.store import MemoryStore
from tests.graph_machines import NOW_MS, SOUL, Seeded, leaf, put

MAX_FRAMES = 5_000
"""A test that needs more has found a loop."""


class Relays:
    """Routers by name and the links between them; a client is a connection whose frames are kept."""

    def __init__(self, peers: dict[str, str]) -> None:
        """``peers`` names for each relay those that it was told to peer with, a letter each."""
        self.routers = {
            name: Router(MemoryStore(), Seeded(ord(name)), Limits(), upstreams=len(theirs))
            for name, theirs in peers.items()
        }
        self.heard: dict[int, list[dict[str, Any]]] = {}
        self.frames: Counter[str] = Counter()
        self.now = 0.0
        self._ends: dict[tuple[str, int], tuple[str, int]] = {}
        self._wires: dict[tuple[str, str], tuple[int, int]] = {}
        self._numbers = iter(range(1, 10_000))
        for name, theirs in peers.items():
            for other in theirs:
                self.link(name, other)

    def link(self, name: str, other: str) -> None:
        """``name`` connects to ``other``."""
        here, there = next(self._numbers), next(self._numbers)
        self._ends |= {(name, here): (other, there), (other, there): (name, here)}
        self._wires[name, other] = here, there
        self.routers[other].opened(there)
        self.routers[name].opened(here, upstream=True)
        self.run()

    def cut(self, name: str, other: str) -> None:
        here, there = self._wires.pop((name, other))
        del self._ends[name, here], self._ends[other, there]
        self.routers[name].closed(here, self.now)
        self.routers[other].closed(there, self.now)
        self.run()

    def client(self, name: str) -> int:
        number = next(self._numbers)
        self.heard[number] = []
        self.routers[name].opened(number)
        self.run()
        return number

    def say(self, name: str, client: int, text: str | dict[str, Any]) -> None:
        frame = text if isinstance(text, str) else json.dumps(text)
        self.routers[name].received(client, frame, self.now, NOW_MS)
        self.run()

    def get(self, name: str, client: int, soul: str) -> None:
        self.say(name, client, {"#": f"get{next(self._numbers)}", "get": {"#": soul}})

    def run(self) -> None:
        """Carry frames until nobody has anything to say."""
        frames: deque[tuple[str, int, str]] = deque()
        for _ in range(MAX_FRAMES):
            for name, router in self.routers.items():
                for effect in router.take():
                    frames += [(name, connection, effect.text) for connection in effect.connections]
            if not frames:
                return
            name, connection, text = frames.popleft()
            if (name, connection) in self._ends:
                other, there = self._ends[name, connection]
                self.frames["put" if '"put"' in text else "other"] += 1
                self.routers[other].received(there, text, self.now, NOW_MS)
            elif connection in self.heard:
                self.heard[connection].append(json.loads(text))
        pytest.fail("the relays do not come to rest")

    def values(self, client: int, soul: str, key: str = "k") -> list[Any]:
        return [message["put"][soul][key] for message in self.heard[client] if soul in message.get("put", {})]

    def kept(self, name: str, soul: str) -> dict[str, Any]:
        return {key: value for key, (value, _) in self.routers[name]._store.read(soul).items()}


RINGS = {
    "one way": {"A": "B", "B": ""},
    "both ways": {"A": "B", "B": "A"},
    "chain": {"A": "B", "B": "C", "C": ""},
    "ring": {"A": "B", "B": "C", "C": "A"},
    "full": {"A": "BC", "B": "AC", "C": "AB"},
}


@pytest.mark.parametrize("peers", RINGS.values(), ids=RINGS)
def test_a_change_reaches_every_subscriber_once_and_comes_to_rest(peers: dict[str, str]) -> None:
    relays = Relays(peers)
    last = max(peers)
    writer, near, far = relays.client("A"), relays.client("A"), relays.client(last)
    relays.get("A", near, "s")
    relays.get(last, far, "s")
    relays.frames.clear()
    relays.say("A", writer, put("p", "s", ("k", "v")))
    assert relays.values(near, "s") == ["v"]
    assert relays.values(far, "s") == ["v"]
    assert relays.frames["put"] <= sum(map(len, peers.values())) * 2
    relays.frames.clear()
    relays.say("A", writer, put("again", "s", ("k", "v")))
    assert relays.frames["put"] == 0, "what is unchanged is not passed on"


@pytest.mark.parametrize("peers", RINGS.values(), ids=RINGS)
def test_what_was_written_before_anybody_asked_is_found_upstream(peers: dict[str, str]) -> None:
    relays = Relays(peers)
    last = max(peers)
    writer, reader = relays.client(last), relays.client("A")
    relays.say(last, writer, put("p", "s", ("k", "v")))
    relays.get("A", reader, "s")
    assert relays.values(reader, "s") == ["v"]


def test_what_is_followed_here_is_followed_there_until_the_last_one_ends_it() -> None:
    relays = Relays({"A": "B", "B": ""})
    one, two, writer = relays.client("A"), relays.client("A"), relays.client("B")
    relays.get("A", one, "s")
    relays.get("A", two, "s")
    assert relays.routers["B"].subscriptions == 1
    relays.say("B", writer, put("p", "s", ("k", 1), state=5))
    relays.say("A", one, {"#": "off1", "dam": "off", "get": {"#": "s"}})
    assert relays.routers["B"].subscriptions == 1
    relays.routers["A"].closed(two, 0.0)
    relays.run()
    assert relays.routers["B"].subscriptions == 0
    relays.say("B", writer, put("q", "s", ("k", 2), state=6))
    assert (relays.values(one, "s"), relays.values(two, "s")) == ([1], [1])


def test_a_relay_that_was_away_gets_what_changed_and_is_asked_again() -> None:
    relays = Relays({"A": "B", "B": ""})
    here, there = relays.client("A"), relays.client("B")
    relays.get("A", here, "theirs")
    relays.get("B", there, "ours")
    relays.cut("A", "B")
    for number in range(100):
        relays.say("A", here, put(f"p{number}", f"s{number}", ("k", number)))
    relays.say("A", here, put("old", "ours", ("k", "old"), state=5))
    relays.say("A", here, put("new", "ours", ("k", "new"), state=6))
    relays.say("B", there, put("q", "theirs", ("k", "while away")))
    relays.link("A", "B")
    assert relays.values(there, "ours") == ["new"]
    assert relays.values(here, "theirs") == ["while away"]
    assert [relays.kept("B", f"s{number}") for number in range(100)] == [{"k": n} for n in range(100)]


def test_S19_what_is_remembered_for_a_relay_that_stays_away_is_bounded() -> None:
    relays = Relays({"A": "B", "B": ""})
    relays.cut("A", "B")
    upstreams = relays.routers["A"]._upstreams
    upstreams.changed([f"s{number}" for number in range(MAX_MISSED + 500)])
    assert len(upstreams._missed) == MAX_MISSED


def test_one_that_somebody_else_connected_to_gets_only_what_it_asked_for() -> None:
    relays = Relays({"A": "B", "B": ""})
    writer = relays.client("B")
    relays.say("B", writer, put("p", "s", ("k", "v")))
    assert relays.kept("A", "s") == {}


@pytest.mark.parametrize("soul", sorted(nodes.PROTOTYPE_NAMES))
def test_S18_prototype_souls_from_a_peer_go_nowhere(soul: str) -> None:
    relays = Relays({"A": "B", "B": ""})
    here, _ = relays._wires["A", "B"]
    reader = relays.client("A")
    relays.heard[reader].clear()
    for number, message in enumerate(
        (
            put("p", soul, ("k", 1)),
            put("q", "s", ("k", {"#": soul})),
            {"#": "g", "get": {"#": soul}},
            put("r", soul, ("k", 1), **{"@": "x"}),
        )
    ):
        relays.say("A", here, message)
        assert relays.routers["A"].counters["prototype-soul"] == number + 1
    relays.say("A", reader, put("s", "s", ("__proto__", 1)))
    assert relays.kept("A", "s") == relays.kept("A", soul) == relays.kept("B", soul) == {}
    assert [message["@"] for message in relays.heard[reader]] == ["s"]


def test_S06_junk_from_a_peer_changes_no_leaf_and_reaches_nobody() -> None:
    relays = Relays({"A": "B", "B": ""})
    here, _ = relays._wires["A", "B"]
    reader = relays.client("A")
    key, value = leaf(1)
    relays.get("A", reader, SOUL)
    relays.say("A", here, put("p", SOUL, (key, value)))
    for number, junk in enumerate((None, "junk")):
        relays.say("A", here, put(f"junk{number}", SOUL, (key, junk), state=NOW_MS + number))
    assert relays.values(reader, SOUL, key) == [value]
    assert relays.kept("A", SOUL) == {key: value}
