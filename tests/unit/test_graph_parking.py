"""The subscriptions of gun.js clients over a reconnect and a restart of the relay."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.graph.core import parking as module
from sidecar.graph.core.leaves import expires_ms
from sidecar.graph.core.parking import Parking
from sidecar.graph.store import MemoryStore, NodeStore
from sidecar.storage.sqlite import SqliteStore

NOW_MS = 1_800_000_000_000.0
HOUR_MS = 3_600_000


def connected(store: NodeStore, *pids: str, **bounds: int) -> Parking:
    parking = Parking(store, **bounds)
    for number, pid in enumerate(pids, 1):
        parking.named(number, pid)
    return parking


@pytest.fixture(params=["memory", "sqlite"])
def restarted(request, tmp_path: Path):
    """Gives the store again as a restarted relay finds it."""
    kept = MemoryStore()
    opened: list[SqliteStore] = []

    def again() -> NodeStore:
        if request.param == "memory":
            return kept
        for store in opened:
            store.close()
        opened.append(SqliteStore(tmp_path / "gun.db", expires_ms=expires_ms, call_soon=_now))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


def _now(call, *args) -> None:
    call(*args)


def test_a_pid_gets_back_what_it_asked_for_after_a_restart(restarted) -> None:
    parking = connected(restarted(), "pid")
    parking.asked(1, "s", None)
    parking.asked(1, "t", "k")
    parking.asked(1, "u", None)
    parking.ended(1, "u")
    assert parking.unsaved
    parking.save(NOW_MS)
    assert not parking.unsaved

    later = Parking(restarted())
    assert later.named(7, "pid") == [("s", None), ("t", "k")]
    assert later.named(8, "another") == []


def test_a_reconnect_before_anything_was_saved_gets_it_too() -> None:
    parking = connected(MemoryStore(), "pid")
    parking.asked(1, "s", None)
    parking.left(1)
    assert parking.named(2, "pid") == [("s", None)]
    assert parking.named(3, "pid") == [("s", None)], "copied, never moved"


def test_what_ended_is_not_kept(restarted) -> None:
    parking = connected(restarted(), "pid")
    parking.asked(1, "s", None)
    parking.save(NOW_MS)
    parking.ended(1, "s")
    parking.save(NOW_MS)
    assert Parking(restarted()).named(1, "pid") == []


def test_a_pid_that_was_away_for_a_day_is_forgotten(restarted) -> None:
    parking = connected(restarted(), "gone", "here")
    parking.asked(1, "s", None)
    parking.asked(2, "s", None)
    parking.save(NOW_MS)
    parking.left(1)
    parking.save(NOW_MS)
    for hour in range(1, 26):
        parking.save(NOW_MS + hour * HOUR_MS + 1)
    later = Parking(restarted())
    assert later.named(1, "gone") == []
    assert later.named(2, "here") == [("s", None)]


def test_S19_pids_and_what_is_kept_of_each_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_PER_PID", 10)
    store = MemoryStore()
    parking = connected(store, *(f"pid{number}" for number in range(5)), max_pids=3)
    for number in range(1, 6):
        for soul in range(50):
            parking.asked(number, f"s{soul}", None)
    parking.save(NOW_MS)
    assert len(store.followers()) == 3
    assert all(len(store.follows(pid)) == 10 for pid, _ in store.followers())
    assert parking.named(9, "x" * 65) == []


def test_who_asks_for_nothing_or_has_no_pid_leaves_nothing() -> None:
    store = MemoryStore()
    parking = connected(store, "idle")
    parking.asked(9, "s", None)
    parking.ended(9, "s")
    parking.left(9)
    parking.left(1)
    parking.save(NOW_MS)
    parking.save(NOW_MS)
    assert store.followers() == []
    assert not parking._kept


def test_S19_what_is_asked_and_ended_before_it_is_saved_leaves_nothing() -> None:
    store = MemoryStore()
    parking = connected(store, "restless")
    for number in range(100):
        parking.asked(1, f"s{number}", None)
        parking.ended(1, f"s{number}")
    assert not parking._unsaved_souls
    parking.save(NOW_MS)
    assert store.followers() == []
