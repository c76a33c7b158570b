"""How much work bad input can cause, counted (S18): by size and shape before by parsing and by signatures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.errors import RemoteError
from sidecar.graph.core import jsjson, leaves, sea, sea_signing, wire
from sidecar.graph.core.peer import MAX_FRAME, Peer
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.store import MemoryStore
from tests.fuzz.graph_frames import OWNER, SPACE, WRITER, frame
from tests.graph_machines import NOW_MS, SOUL, Seeded, leaf, node, put

URL = "ws://relay/gun"
LIMITS = Limits()


class Work:
    def __init__(self) -> None:
        self.parsed = 0
        self.signatures = 0
        self.hashes = 0


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Counts the costly steps."""
    done = Work()
    parse, verified, is_leaf = jsjson.parse, sea_signing.verified, leaves.is_leaf

    def counted_parse(text: str | bytes) -> Any:
        done.parsed += 1
        return parse(text)

    def counted_verified(message: Any, signed: Any, pub: str) -> bool:
        done.signatures += 1
        return verified(message, signed, pub)

    def counted_is_leaf(key: str, value: Any) -> bool:
        done.hashes += 1
        return is_leaf(key, value)

    monkeypatch.setattr(jsjson, "parse", counted_parse)
    monkeypatch.setattr(sea_signing, "verified", counted_verified)
    monkeypatch.setattr(sea, "verified", counted_verified)
    monkeypatch.setattr(leaves, "is_leaf", counted_is_leaf)
    return done


def a_router() -> Router:
    router = Router(MemoryStore(), Seeded(1), LIMITS)
    router.opened(1)
    return router


def a_peer(*souls: str) -> Peer:
    peer = Peer([URL], Seeded(2))
    peer.handle_timer(0.0, NOW_MS)
    peer.opened(URL, 0.0)
    for soul in souls:
        peer.watch(soul, 0.0)
    peer.take()
    return peer


def signed(
    count: int, *, pair: dict[str, str] = OWNER, certificate: str | None = None
) -> list[tuple[str, str]]:
    soul = f"{SPACE}/inbox"
    return [
        (f"k{number}", sea.sign_value(soul, f"k{number}", number, NOW_MS, pair, certificate=certificate))
        for number in range(count)
    ]


def test_S18_an_oversize_frame_is_not_parsed(work: Work) -> None:
    a_router().received(1, "[" * (LIMITS.frame_bytes + 1), 0.0, NOW_MS)
    a_peer().received(URL, "[" * (MAX_FRAME + 1), 0.0, NOW_MS)
    assert work.parsed == 0


@pytest.mark.parametrize("text", ["[" * 1_000 + "]" * 1_000, '{"a":' * 50_000, json.dumps([1] * 2_001)])
def test_S18_a_frame_of_a_bad_shape_is_parsed_once(work: Work, text: str) -> None:
    a_router().received(1, text, 0.0, NOW_MS)
    assert (work.parsed, work.signatures, work.hashes) == (1, 0, 0)


def test_S18_a_put_with_one_bad_cell_costs_no_signature(work: Work) -> None:
    soul = f"{SPACE}/inbox"
    router = a_router()
    text = json.dumps({"#": "a", "put": {soul: node(soul, *signed(50), ("bad", [1]))}})
    assert router.received(1, text, 0.0, NOW_MS) == 1
    assert work.signatures == 0


def test_S18_signatures_count_against_the_rate_of_messages(work: Work) -> None:
    """A frame holds two thousand of them; one each, and one for the certificate."""
    soul = f"{SPACE}/inbox"
    router = a_router()
    cells = signed(40)
    assert router.received(1, put("a", soul, *cells), 0.0, NOW_MS) == 40
    assert work.signatures == 40
    assert router.received(1, put("b", soul, *cells), 0.0, NOW_MS) == 1  # all known
    assert work.signatures == 40
    certificate = sea.certify("*", {"*": "inbox"}, OWNER)
    router.received(1, put("c", soul, *signed(10, pair=WRITER, certificate=certificate)), 0.0, NOW_MS)
    assert work.signatures == 60


def test_S18_the_first_bad_signature_ends_a_put(work: Work) -> None:
    soul = f"{SPACE}/inbox"
    router = a_router()
    router.received(1, put("a", soul, ("bad", '{":":1,"~":""}'), *signed(50)), 0.0, NOW_MS)
    assert work.signatures == 1
    assert router.counters["refused"] == 1


def test_S19_what_nobody_asked_for_costs_a_peer_nothing(work: Work) -> None:
    peer = a_peer(SOUL)
    for number in range(2_000):
        other = f"calls/s/{number}#<?90"
        peer.received(URL, put(f"o{number}", other, leaf(number)), 0.0, NOW_MS)
    for number in range(500):
        peer.received(URL, put(f"v{number}", f"{SPACE}/{number}", ("k", '{":":1,"~":"x"}')), 0.0, NOW_MS)
    assert (work.hashes, work.signatures) == (0, 0)
    assert peer.take() == []


def test_S19_a_soul_that_is_flooded_is_cut_at_its_bound(work: Work) -> None:
    peer = a_peer(SOUL)
    size = 4_000
    told = 0
    for number in range(300):
        peer.received(URL, put(f"l{number}", SOUL, leaf(number, size=size)), 0.0, NOW_MS)
        told += len(peer.take())
    assert told == leaves.MAX_SOUL_BYTES // (size + len(leaf(0)[0]))
    assert peer.counters["soul-full"] == 300 - told
    before = work.hashes
    for number in range(told):
        peer.received(URL, put(f"r{number}", SOUL, leaf(number, size=size)), 0.0, NOW_MS)
    assert work.hashes == before  # a leaf that was told is not hashed again
    assert peer.take() == []


def test_S18_bad_frames_cost_a_peer_about_a_check_each(work: Work) -> None:
    """Fuzzed frames at a peer that watches what they write to: no step is taken more often than cells ask."""
    peer = a_peer("s", "foo", SOUL, SPACE, f"{SPACE}/inbox")
    cells = 0
    for number in range(3_000):
        text = frame(number)
        peer.received(URL, text, number / 10, NOW_MS)
        try:
            raws = wire.read_frame(text)
        except RemoteError:
            continue
        for raw in raws:
            graph = raw.get("put") if isinstance(raw, dict) else None
            nodes = graph.values() if isinstance(graph, dict) else ()
            cells += sum(len(one) for one in nodes if isinstance(one, dict))
    assert work.signatures + work.hashes <= 2 * cells
