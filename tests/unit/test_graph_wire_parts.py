"""Long answers in parts: gun.js sends them out of order, doubled from disk, without an end (gun.md 5)."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.graph.core import effects, jsjson, sea
from sidecar.graph.core.peer import Peer
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.store import MemoryStore
from tests.graph_machines import NOW_MS, SOUL, Seeded, leaf, node

URL = "ws://relay/gun"
OWNER = sea.make_pair(Seeded(1))
SPACE = f"~{OWNER['pub']}/x"
STATE = NOW_MS - 1_000
LEAVES = [leaf(number) for number in range(60)]
VALUES = [
    (f"k{number:02}", sea.sign_value(SPACE, f"k{number:02}", number, STATE, OWNER)) for number in range(25)
]


def parts(soul: str, cells: list[tuple[str, Any]], rng: random.Random) -> list[str]:
    """As gun.js answers: eight or nine sorted keys a part, ``%`` in all but the last, then all again."""
    cells = sorted(cells)
    size = rng.choice((8, 9))
    chunks = [cells[at : at + size] for at in range(0, len(cells), size)]
    messages = [
        {"#": f"p{number}", "@": "g", "put": {soul: node(soul, *chunk, state=STATE)}}
        | ({"%": f"p{number + 1}"} if number + 1 < len(chunks) else {})
        for number, chunk in enumerate(chunks)
    ]
    messages.append({"#": "disk", "@": "g", "put": {soul: node(soul, *cells, state=STATE)}})
    doubled = messages + rng.sample(messages, rng.randrange(len(messages)))
    rng.shuffle(doubled)
    return [json.dumps(message) for message in doubled]


@given(st.integers(0, 2**32), st.integers(1, 60))
@pytest.mark.parametrize(
    ("soul", "cells"), [(SOUL, LEAVES), (SPACE, VALUES)], ids=["leaves", "signed values"]
)
def test_a_watch_is_told_each_cell_once_whatever_the_order(
    soul: str, cells: list[tuple[str, Any]], seed: int, count: int
) -> None:
    peer = Peer([URL], Seeded(2))
    peer.handle_timer(0.0, NOW_MS)
    peer.opened(URL, 0.0)
    peer.watch(soul, 0.0)
    peer.take()
    for text in parts(soul, cells[:count], random.Random(seed)):
        peer.received(URL, text, 0.0, NOW_MS)
    told = [effect for effect in peer.take() if isinstance(effect, (effects.LeafFound, effects.ValueFound))]
    assert sorted(effect.key for effect in told) == sorted(key for key, _ in cells[:count])


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_a_relay_that_hears_the_parts_has_the_whole(seed: int, count: int) -> None:
    """An answer to its own question, the get-back, comes in the same way."""
    router = Router(MemoryStore(), Seeded(1), Limits())
    router.opened(1)
    for text in parts("s", [(key, value) for key, value in LEAVES[:count]], random.Random(seed)):
        router.received(1, text, 0.0, NOW_MS)
    router.take()
    router.received(1, '{"#":"whole","get":{"#":"s"}}', 0.0, NOW_MS)
    answers = [json.loads(effect.text) for effect in router.take() if '"@":"whole"' in effect.text]
    merged = {key: cell for answer in answers for key, cell in answer["put"]["s"].items() if key != "_"}
    assert merged == dict(LEAVES[:count])


@given(st.integers(1, 3_000), st.lists(st.integers(0, 600), min_size=1, max_size=30))
def test_our_own_parts_hold_each_key_once_and_say_when_they_end(part_bytes: int, sizes: list[int]) -> None:
    router = Router(MemoryStore(), Seeded(1), Limits(reply_bytes=part_bytes))
    router.opened(1)
    cells = [(f"k{number}", "v" * size) for number, size in enumerate(sizes)]
    router.received(1, json.dumps({"#": "p", "put": {"s": node("s", *cells)}}), 0.0, NOW_MS)
    router.take()
    router.received(1, '{"#":"whole","get":{"#":"s"}}', 0.0, NOW_MS)
    answers = [json.loads(effect.text) for effect in router.take() if '"@":"whole"' in effect.text]
    keys = [key for answer in answers for key in answer["put"]["s"] if key != "_"]
    assert sorted(keys) == sorted(key for key, _ in cells)
    assert [bool(answer.get("%")) for answer in answers] == [True] * (len(answers) - 1) + [False]
    for answer in answers:
        states = answer["put"]["s"]["_"][">"]
        assert {*states} == {*answer["put"]["s"]} - {"_"}
        assert jsjson.number(next(iter(states.values()))) == jsjson.number(NOW_MS)
