"""The graph's stores: SQLite and memory tell the same; SQLite keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.graph.core.leaves import expires_ms
from sidecar.graph.store import Cells, MemoryStore, OnDone
from sidecar.storage.sqlite import SqliteStore
from tests.graph_machines import NOW_MS, SOUL

Store = SqliteStore | MemoryStore
VALUES: list[Any] = [None, True, False, 0, 1, -1.5, 1e300, "", "text", "nul\x00é😀", {"#": "soul"}]


class Held:
    """Holds what the writer thread reports until it is let go: the time between queue and COMMIT."""

    def __init__(self) -> None:
        self._calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def __call__(self, call: Callable[..., None], *args: Any) -> None:
        self._calls.append((call, args))

    def let_go(self) -> None:
        for call, args in self._calls:
            call(*args)
        self._calls.clear()


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture(params=["sqlite", "memory"])
def restart(request: pytest.FixtureRequest, tmp_path: Path, held: Held) -> Iterator[Callable[[], Store]]:
    """Opens the store; called again, closes it and opens what it left behind."""
    opened: list[SqliteStore] = []
    memory = MemoryStore()

    def start() -> Store:
        if request.param == "memory":
            return memory
        if opened:
            opened[-1].close()
            held.let_go()
        opened.append(SqliteStore(tmp_path / "a.db", expires_ms=expires_ms, call_soon=held))
        return opened[-1]

    yield start
    for store in opened:
        store.close()


@pytest.fixture
def store(restart: Callable[[], Store]) -> Store:
    return restart()


def write(store: Store, **souls: Cells) -> None:
    store.write(souls, lambda stored: None)


def test_every_value_comes_back_as_it_was(store: Store) -> None:
    cells: Cells = {f"k{number}": (value, NOW_MS + number / 2) for number, value in enumerate(VALUES)}
    write(store, s=cells)
    assert store.read("s") == cells
    assert [type(value) for value, _ in store.read("s").values()] == [type(value) for value in VALUES]
    assert store.read_cell("s", "k8") == ("text", NOW_MS + 4)
    assert store.read_cell("s", "unknown") is None
    assert store.read("unknown") == {}


def test_a_later_write_replaces_whatever_was_there(store: Store) -> None:
    write(store, s={"k": ("new", 5), "l": ("x", 5)})
    write(store, s={"k": ("old", 4)})
    assert store.read("s") == {"k": ("old", 4), "l": ("x", 5)}


def test_the_size_follows_every_write(store: Store) -> None:
    assert store.size("s") == 0
    write(store, s={"k": ("x" * 10, 5)})
    assert store.size("s") == 11
    write(store, s={"k": ("x" * 4, 6), "l": (None, 5)})
    assert store.size("s") == 5 + 17
    assert store.size("t") == 0


def test_what_ended_is_deleted_and_the_rest_stays(store: Store, restart: Callable[[], Store]) -> None:
    write(store, **{SOUL: {"a": ("x", NOW_MS), "b": ("y", NOW_MS + 1)}, "s": {"a": ("z", 1)}})
    store.expire(NOW_MS + 90_000.5)
    store = restart()
    assert store.read(SOUL) == {"b": ("y", NOW_MS + 1)}
    assert store.read("s") == {"a": ("z", 1)}
    assert store.size(SOUL) == 2


def test_the_outbox_remembers_until_told_to_forget(store: Store, restart: Callable[[], Store]) -> None:
    rows = [(SOUL, f"k{number}", "v", NOW_MS + number, NOW_MS + 90_000) for number in range(3)]
    for row in rows:
        store.add_to_outbox(row)
    store.add_to_outbox(rows[0])
    store.remove_from_outbox(SOUL, "k1")
    store.remove_from_outbox(SOUL, "unknown")
    store.set_setting("offset", "5")
    store.set_setting("offset", "6")
    store = restart()
    assert store.outbox() == [rows[0], rows[2]]
    assert (store.setting("offset"), store.setting("unknown")) == ("6", None)


def test_an_uncommitted_write_is_read_and_a_lost_one_is_gone(
    tmp_path: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "a.db", expires_ms=expires_ms, call_soon=held)
    reports: list[OnDone] = []
    monkeypatch.setattr(store._database, "submit", lambda statements, on_done: reports.append(on_done))
    results: list[bool] = []
    store.write({"s": {"k": ("first", 5)}}, results.append)
    store.write({"s": {"k": ("second", 6)}}, results.append)
    assert store.size("s") == 7
    reports[0](False)
    assert store.read("s") == {"k": ("second", 6)}
    reports[1](False)
    assert (store.read("s"), store.read_cell("s", "k"), store.size("s")) == ({}, None, 0)
    assert results == [False, False]
    store.close()


def test_memory_is_bounded_and_a_write_under_way_stays(tmp_path: Path, held: Held) -> None:
    store = SqliteStore(tmp_path / "a.db", expires_ms=expires_ms, call_soon=held, cache_bytes=20_000)
    for number in range(50):
        store.write({f"s{number}": {"k": ("x" * 100, number)}}, lambda stored: None)
    assert len(store._cache) == 50
    store.close()
    held.let_go()
    store = SqliteStore(tmp_path / "a.db", expires_ms=expires_ms, call_soon=held, cache_bytes=20_000)
    for number in range(50):
        assert store.read(f"s{number}") == {"k": ("x" * 100, number)}
        assert len(store._cache) <= 22
    assert store._cache._bytes <= 20_000
    store.close()


def test_a_node_is_the_same_in_one_row_and_in_many(restart: Callable[[], Store]) -> None:
    store = restart()
    expected: Cells = {}
    for number in range(60):
        cells: Cells = {
            f"k{number}": (VALUES[number % len(VALUES)] or "x" * 90, NOW_MS + number + 0.001),
            "last": (number, number),
        }
        expected |= cells
        write(store, s=cells)
        if number % 7 == 0:
            store = restart()
        assert store.read("s") == expected
    assert restart().read("s") == expected


def test_a_lost_change_from_one_row_to_many_loses_nothing_else(
    tmp_path: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "a.db", expires_ms=expires_ms, call_soon=held)
    store.write({"s": {"a": ("small", 1)}}, lambda stored: None)
    submit = store._database.submit
    monkeypatch.setattr(store._database, "submit", lambda statements, on_done: on_done(False))
    store._cache.get("s").writes += 1  # another write is under way meanwhile
    store.write({"s": {"b": ("x" * 3_000, 1)}}, lambda stored: None)
    monkeypatch.setattr(store._database, "submit", submit)
    store._cache.get("s").writes -= 1
    store.write({"s": {"c": ("kept", 1)}}, lambda stored: None)
    store.close()
    held.let_go()
    store = SqliteStore(tmp_path / "a.db", expires_ms=expires_ms, call_soon=held)
    assert store.read("s") == {"a": ("small", 1), "c": ("kept", 1)}
    store.write({"s": {"a": ("newer", 2)}}, lambda stored: None)
    store.close()
    store = SqliteStore(tmp_path / "a.db", expires_ms=expires_ms, call_soon=held)
    assert store.read("s") == {"a": ("newer", 2), "c": ("kept", 1)}
    store.close()


async def test_results_come_to_the_event_loop(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    store = SqliteStore(tmp_path / "a.db", expires_ms=expires_ms, call_soon=loop.call_soon_threadsafe)
    done = loop.create_future()
    store.write({}, done.set_result)
    assert await asyncio.wait_for(done, 10) is True
    store.close()
