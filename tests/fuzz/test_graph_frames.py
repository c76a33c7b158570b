"""Twenty thousand bad Gun frames: only the remote-blame error comes out of the codec, nothing out of the
machines, whose state stays bounded (S18). ``--long`` runs ten times as many.

A frame that ever got through is kept under ``fixtures/graph`` and tried first.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from sidecar.errors import RemoteError
from sidecar.graph.core import leaves, wire
from sidecar.graph.core.peer import MAX_FRAME, Peer
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.store import MemoryStore, NodeStore
from sidecar.storage.sqlite import SqliteStore
from tests.fuzz.graph_frames import SEED, SPACE, Frame, frame
from tests.graph_machines import NOW_MS, SOUL, Seeded

FRAMES = 20_000
URL = "ws://relay/gun"
CRASHERS = sorted((Path(__file__).parent / "fixtures" / "graph").glob("*.bin"))
with_seed = pytest.mark.parametrize("seed", [SEED])
LIMITS = Limits(subscriptions=50, deferred=20)
A_SECOND = 200
"""Frames in one second of the machines' time; what they remember for a while must not pile up."""


@contextlib.contextmanager
def blamed(number: int, text: Frame) -> Iterator[None]:
    """Name the frame that broke something, so that it can be kept."""
    try:
        yield
    except Exception as error:
        pytest.fail(f"frame({number}, {SEED}) = {text[:200]!r}: {error!r}")


def held(machine: object, but: object = None) -> int:
    """How many things a machine keeps hold of, without its store."""
    seen: set[int] = {id(but)}
    count, waiting = 0, [machine]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        inside: list[Any] = []
        if isinstance(one, Mapping):
            inside = [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset)):
            inside = [*one]
        elif type(one).__module__.startswith("sidecar."):
            names = [*getattr(one, "__dict__", ()), *getattr(type(one), "__slots__", ())]
            inside = [getattr(one, name) for name in names if hasattr(one, name)]
        count += len(inside)
        waiting += inside
    return count


def new_router(store: NodeStore) -> Router:
    router = Router(store, Seeded(1), LIMITS)
    router.opened(1)
    router.opened(2)
    return router


def new_peer() -> Peer:
    peer = Peer([URL], Seeded(2))
    peer.handle_timer(0.0, NOW_MS)
    peer.opened(URL, 0.0)
    for soul in ("foo", "s", SOUL, SPACE, f"{SPACE}/inbox"):
        peer.watch(soul, 0.0)
    return peer


@pytest.fixture
def count(long_run: bool) -> int:
    return FRAMES * (10 if long_run else 1)


@with_seed
def test_S18_bad_frames_only_blame_the_sender(seed: int, count: int) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(count):
        text = frame(number, seed)
        with blamed(number, text), contextlib.suppress(RemoteError):
            for raw in wire.read_frame(text):
                outcomes["parsed"] += 1
                wire.read_message(raw, salvage=number % 2 == 0)
                outcomes["read"] += 1
    assert outcomes["parsed"] > count / 3  # enough stays whole, or nothing behind the parser is tried
    assert outcomes["read"] > count / 6


@with_seed
def test_S18_the_relay_outlives_bad_frames(seed: int, count: int) -> None:
    store = MemoryStore()
    router = new_router(store)
    sent, halfway = 0, 0
    for number in range(count):
        text = frame(number, seed)
        now = number / A_SECOND
        with blamed(number, text):
            router.received(1 + number % 2, text, now, NOW_MS + now * 1000)
            router.handle_timer(now, NOW_MS + now * 1000)
            for effect in router.take():
                sent += 1
                for raw in wire.read_frame(effect.text, max_bytes=MAX_FRAME):
                    wire.read_message(raw)
        if number == count // 2:
            halfway = held(router, store)
    assert sent > count / 10
    assert held(router, store) < 1.2 * halfway + 500
    router.received(1, '{"#":"after","get":{"#":"nobody"}}', 1e6, NOW_MS)
    assert any('"@":"after"' in effect.text for effect in router.take())


@with_seed
def test_S18_the_database_takes_whatever_passed(seed: int, count: int, tmp_path: Path) -> None:
    """One row that cannot be bound would lose the writes of everybody in its group."""
    reports: SimpleQueue[partial[object]] = SimpleQueue()
    store = SqliteStore(
        tmp_path / "graph.db",
        expires_ms=leaves.expires_ms,
        call_soon=lambda report, *args: reports.put(partial(report, *args)),
    )
    router = new_router(store)
    for number in range(count // 4):
        text = frame(number, seed)
        with blamed(number, text):
            router.received(1 + number % 2, text, number / A_SECOND, NOW_MS + number * 5)
            router.handle_timer(number / A_SECOND, NOW_MS + number * 5)
            router.take()
    store.close()
    while not reports.empty():
        reports.get()()
    assert not router.failing
    assert router.counters["not-stored"] == 0
    acknowledged = [effect for effect in router.take() if '"ok":true' in effect.text]
    assert len(acknowledged) > count / 100


@with_seed
def test_S18_the_peer_outlives_bad_frames(seed: int, count: int) -> None:
    peer = new_peer()
    halfway = 0
    for number in range(count):
        text = frame(number, seed)
        with blamed(number, text):
            peer.received(URL, text, number / A_SECOND, NOW_MS)
            peer.take()
        if number == count // 2:
            halfway = held(peer)
    assert held(peer) < 1.5 * halfway + 500
    peer.received(URL, '{"#":"after","dam":"?","pid":"relay"}', 1e6, NOW_MS)
    assert any('"@":"after"' in getattr(effect, "text", "") for effect in peer.take())


@pytest.mark.parametrize("path", CRASHERS, ids=lambda path: path.stem)
def test_S18_what_once_got_through(path: Path) -> None:
    data = path.read_bytes()
    for text in (data, data.decode("utf-8", "surrogateescape")):
        router, peer = new_router(MemoryStore()), new_peer()
        router.received(1, text, 0.0, NOW_MS)
        peer.received(URL, text, 0.0, NOW_MS)
        with contextlib.suppress(RemoteError):
            for raw in wire.read_frame(text):
                wire.read_message(raw)
        router.received(2, json.dumps({"#": "after", "get": {"#": "s"}}), 0.0, NOW_MS)
        assert any('"@":"after"' in effect.text for effect in router.take())
