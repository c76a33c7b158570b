"""Ended calls on disk: they survive the process, newest first, and their number is bounded."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import msgspec
import pytest

from sidecar.app.services import call_store
from sidecar.app.services import history as module
from sidecar.app.services.call_store import DATABASE, open_store
from sidecar.app.services.history import History
from sidecar.calls.record import of_session
from sidecar.calls.states import Side, State
from sidecar.errors import UnavailableError
from sidecar.log import Logger
from sidecar.schema import CallRecord, CallStats, EndReason
from tests.calls_lab import CALL, at


def record(call_id: str, ended_ms: int) -> CallRecord:
    session = at(Side.CALLEE, State.ACTIVE).session(CALL)
    made = of_session(session, Side.CALLEE, EndReason.REMOTE_HANGUP, ended_ms)
    return type(made)(**{
        **{name: getattr(made, name) for name in made.__struct_fields__},
        "call_id": call_id,
    })  # fmt: skip


def now(function, *args) -> None:
    function(*args)


class Opened(History):
    """A history with its file, which goes with it."""

    def __init__(self, tmp_path, call_soon) -> None:
        self.file = open_store(tmp_path, call_soon)
        super().__init__(self.file, Logger("calls"))

    def close(self) -> None:
        self.file.close()


def opened(tmp_path, call_soon=now) -> Opened:
    return Opened(tmp_path, call_soon)


def ids(history: History, *args) -> list[str]:
    return [made.call_id for made in history.newest(*args)]


def test_records_survive_the_process_whole_and_newest_first(tmp_path):
    history = opened(tmp_path)
    for number in (1, 3, 2):
        history.add(record(f"call_{number}", number))
    history.close()

    history = opened(tmp_path)
    assert history.newest(10) == [record("call_3", 3), record("call_2", 2), record("call_1", 1)]
    assert ids(history, 1) == ["call_3"]
    assert ids(history, 10, 3) == ["call_2", "call_1"]
    history.close()


def test_a_repeated_id_is_one_call(tmp_path):
    history = opened(tmp_path)
    history.add(record("call_1", 1))
    history.add(record("call_1", 9))
    history.close()
    history = opened(tmp_path)
    assert [made.ended_at for made in history.newest(10)] == [9]
    history.close()


def test_the_oldest_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RECORDS_MAX", 3)
    history = opened(tmp_path)
    for number in range(6):
        history.add(record(f"call_{number}", number))
    history.close()
    history = opened(tmp_path)
    assert ids(history, 10) == ["call_5", "call_4", "call_3"]
    history.close()


def test_a_file_that_is_no_database_is_the_environments_fault(tmp_path):
    (tmp_path / DATABASE).write_text("not a database, and long enough to be looked at as one" * 10)
    with pytest.raises(UnavailableError):
        opened(tmp_path)


def test_a_record_that_cannot_be_written_is_told(tmp_path):
    results: list[bool] = []
    history = opened(tmp_path, lambda function, listeners, stored: results.append(stored))
    other = sqlite3.connect(tmp_path / DATABASE)
    other.execute("DROP TABLE calls")
    other.commit()
    other.close()
    history.add(record("call_1", 1))
    history.close()
    assert results == [False]


def test_a_record_can_be_read_before_it_is_on_disk(tmp_path):
    results: list[Callable[[], None]] = []
    history = opened(tmp_path, lambda function, *args: results.append(lambda: function(*args)))
    history.add(record("call_1", 1))
    history.add(record("call_2", 2))
    measured = msgspec.structs.replace(record("call_2", 2), stats=CallStats(participants=[]))
    history.measured(measured)
    assert history.newest(10) == [measured, record("call_1", 1)]
    assert ids(history, 1) == ["call_2"]
    assert ids(history, 10, 2) == ["call_1"]
    history.close()
    for done in results:
        done()

    history = opened(tmp_path)
    assert history.newest(10) == [measured, record("call_1", 1)]
    history.close()


def test_measurements_can_be_read_before_they_are_on_disk(tmp_path):
    results: list[Callable[[], None]] = []
    history = opened(tmp_path)
    history.add(record("call_1", 1))
    history.close()

    history = opened(tmp_path, lambda function, *args: results.append(lambda: function(*args)))
    measured = msgspec.structs.replace(record("call_1", 1), stats=CallStats(participants=[]))
    history.measured(measured)
    assert history.newest(10) == [measured]
    history.close()


def test_measurements_belong_to_one_end_of_a_call(tmp_path):
    history = opened(tmp_path)
    history.add(record("call_1", 1))
    history.measured(msgspec.structs.replace(record("call_1", 5), stats=CallStats(participants=[])))
    history.close()
    history = opened(tmp_path)
    assert history.newest(10) == [record("call_1", 1)]
    history.close()


def test_a_record_that_cannot_be_read_hides_no_other(tmp_path):
    history = opened(tmp_path)
    history.add(record("call_1", 1))
    history.add(record("call_2", 2))
    history.close()
    with sqlite3.connect(tmp_path / DATABASE) as file:
        file.execute("UPDATE calls SET record = '{' WHERE call_id = 'call_2'")
    file.close()
    history = opened(tmp_path)
    assert ids(history, 10) == ["call_1"]
    history.close()


def test_a_peer_who_uses_an_id_again_does_not_replace_the_record_of_another_call(tmp_path):
    history = opened(tmp_path)
    old = record("call_1", 10)
    again = msgspec.structs.replace(old, created_at=old.created_at + 5_000, ended_at=20)
    history.add(old)
    history.add(again)
    history.close()
    assert opened(tmp_path).newest(10) == [again, old]


def test_records_of_an_older_version_are_kept(tmp_path):
    old = record("call_1", 10)
    with sqlite3.connect(tmp_path / DATABASE) as database:
        for script in call_store._MIGRATIONS[:2]:
            database.executescript(script)
        database.execute("INSERT INTO calls VALUES (?, ?, ?)", ("call_1", 10, msgspec.json.encode(old)))
        database.execute("PRAGMA user_version = 2")
    assert opened(tmp_path).newest(10) == [old]
