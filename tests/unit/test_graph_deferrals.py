"""Puts of clients whose clock is ahead: bounded, over restarts, lost by no disk that fails meanwhile."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from sidecar.graph.core import deferrals as module
from sidecar.graph.core.deferrals import RETRY_MS, Deferrals
from sidecar.graph.core.leaves import expires_ms
from sidecar.graph.core.nodes import Graph
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.store import Cells, MemoryStore, OnDone
from sidecar.storage.sqlite import SqliteStore
from tests.graph_machines import NOW_MS, SOUL, Seeded, leaf, put

DUE_MS = NOW_MS + 120_000


class Results:
    """What the database reports comes in on its own thread and waits for ``wait``."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def put(self, call: Callable[..., None], *args: object) -> None:
        self._calls.put(partial(call, *args))

    def wait(self) -> None:
        """Take in the next one."""
        self._calls.get(timeout=10)()


class Held(MemoryStore):
    """Writes of nodes are done when the test says so, and only then."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[Callable[[bool], None]] = []

    def write(self, changes: Mapping[str, Cells], on_done: OnDone) -> None:
        def end(stored: bool) -> None:
            if stored:
                MemoryStore.write(self, changes, on_done)
            else:
                on_done(False)

        self.writes.append(end)


def relay(store: MemoryStore | SqliteStore, **limits: int) -> Router:
    router = Router(store, Seeded(), Limits(**limits))
    for connection in (1, 2):
        router.opened(connection)
    router.take()
    return router


def graph(soul: str = "s", value: str = "v") -> Graph:
    return {soul: {"k": (value, DUE_MS)}}


def test_a_put_two_minutes_ahead_outlives_a_restart_of_the_relay(tmp_path: Path) -> None:
    def opened() -> SqliteStore:
        return SqliteStore(tmp_path / "gun.db", expires_ms=expires_ms, call_soon=results.put)

    results = Results()
    store = opened()
    relay(store).received(1, put("p", "s", ("k", "ü"), ("l", 1), state=DUE_MS + 0.5), 0.0, NOW_MS)
    store.close()
    results = Results()
    store = opened()
    router = relay(store)
    assert router.next_due_ms() == DUE_MS + 0.5
    router.handle_timer(0.0, DUE_MS)
    assert store.read("s") == {}
    router.handle_timer(0.0, DUE_MS + 1)
    results.wait()
    store.close()
    store = opened()
    assert store.read("s") == {"k": ("ü", DUE_MS + 0.5), "l": (1, DUE_MS + 0.5)}
    assert store.deferred() == []
    store.close()


def test_a_put_is_forgotten_only_when_what_it_changed_is_on_disk() -> None:
    store = Held()
    router = relay(store)
    router.received(1, put("p", "s", ("k", "v"), state=DUE_MS), 0.0, NOW_MS)
    router.handle_timer(0.0, DUE_MS)
    assert store.deferred(), "a relay killed now finds it again"
    store.writes.pop()(True)
    assert store.deferred() == []
    assert store.read("s") == {"k": ("v", DUE_MS)}


def test_R13_a_disk_that_is_full_when_a_put_is_due_delays_it() -> None:
    store = Held()
    router = relay(store)
    router.received(1, put("p", "s", ("k", "v"), state=DUE_MS), 0.0, NOW_MS)
    store.writes.clear()
    router.handle_timer(0.0, DUE_MS)
    store.writes.pop()(False)
    assert router.failing
    assert router.next_due_ms() == DUE_MS + RETRY_MS
    router.handle_timer(0.0, DUE_MS + RETRY_MS)
    store.writes.pop()(True)
    assert not router.failing
    assert store.read("s") == {"k": ("v", DUE_MS)}
    assert (router.next_due_ms(), store.deferred()) == (None, [])


def test_what_was_acknowledged_is_kept_though_its_soul_has_filled_up_meanwhile() -> None:
    store = MemoryStore()
    router = relay(store, leaf_soul_bytes=1_000)
    first, second = leaf(1, size=600), leaf(2, size=600)
    router.received(1, put("p", SOUL, first, state=NOW_MS + 1_000), 0.0, NOW_MS)
    router.received(2, put("q", SOUL, second), 0.0, NOW_MS)
    router.handle_timer(0.0, NOW_MS + 1_000)
    assert store.read(SOUL).keys() == {first[0], second[0]}


def test_what_has_ended_before_it_is_settled_is_not_kept() -> None:
    store = MemoryStore()
    router = relay(store)
    router.received(1, put("p", SOUL, leaf(1), state=NOW_MS + 1_000), 0.0, NOW_MS)
    router.handle_timer(0.0, NOW_MS + 1_000_000)
    assert (store.read(SOUL), store.deferred()) == ({}, [])


def test_S09_one_connection_cannot_fill_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PER_CONNECTION", 3)
    monkeypatch.setattr(module, "MAX_BYTES_PER_CONNECTION", 2_000)
    monkeypatch.setattr(module, "MAX_BYTES", 5_500)
    waiting = Deferrals(MemoryStore(), 8)

    def add(writer: int, size: int) -> bool:
        if waiting.full(writer, size + 201):
            return False
        waiting.add(writer, DUE_MS, graph(value="x" * size), lambda _: None)
        return True

    assert [add(1, 10) for _ in range(4)] == [True, True, True, False]
    assert [add(2, 1_700), add(2, 200), add(3, 1_700)] == [True, False, True]
    assert not add(4, 1_700), "too many bytes in all"
    assert [add(4, 10), add(5, 10), add(6, 10), add(7, 10)] == [True, True, True, False]
    for one in waiting.due(DUE_MS):
        waiting.settled(one, DUE_MS, stored=True)
    assert [add(1, 10) for _ in range(4)] == [True, True, True, False]


def test_all_that_was_kept_is_settled_though_the_bound_is_lower_now() -> None:
    store = MemoryStore()
    for number in range(5):
        store.defer(number, DUE_MS, graph(f"s{number}"), lambda _: None)
    waiting = Deferrals(store, 2)
    assert waiting.full(1, 0)
    assert len(waiting.due(DUE_MS)) == 5
