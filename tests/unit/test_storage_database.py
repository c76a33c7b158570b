"""One writer thread: order, groups, failures, migrations."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from sidecar.errors import UnavailableError
from sidecar.storage.database import Database

SCHEMA = ("CREATE TABLE t (n INTEGER PRIMARY KEY) WITHOUT ROWID",)
INSERT = "INSERT INTO t VALUES (?)"


def direct(call, *args: object) -> None:
    """Results straight from the writer thread."""
    call(*args)


def count(database: Database) -> int:
    (number,) = database.reader.execute("SELECT count(*) FROM t").fetchone()
    return number


def test_a_write_is_reported_after_it_can_be_read(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db", SCHEMA, direct)
    done, results = threading.Event(), []

    def on_done(stored: bool) -> None:
        results.append(stored)
        done.set()

    database.submit([(INSERT, [(1,), (2,)])], on_done)
    assert done.wait(10)
    assert results == [True]
    assert count(database) == 2
    database.close()


def test_closing_commits_what_is_queued_in_order(tmp_path: Path) -> None:
    results: list[int] = []
    database = Database(tmp_path / "a.db", SCHEMA, direct)
    for number in range(3_000):
        database.submit([(INSERT, [(number,)])], lambda stored, n=number: results.append(n))
    database.close()
    database.close()
    assert results == list(range(3_000))
    again = Database(tmp_path / "a.db", SCHEMA, direct)
    assert count(again) == 3_000
    again.close()


def test_a_write_that_fails_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db", SCHEMA, direct)
    results: list[bool] = []
    done = threading.Event()
    database.submit([(INSERT, [(1,)]), ("INSERT INTO nowhere VALUES (1)", [()])], results.append)
    database.submit([], lambda stored: done.set())
    assert done.wait(10)
    assert results[0] is False
    assert count(database) == 0
    database.submit([(INSERT, [(1,)])], results.append)
    database.close()
    assert results[1:] == [True]


def test_R13_a_full_disk_loses_the_write_and_keeps_the_file(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db", ("CREATE TABLE t (n TEXT)",), direct)
    results: list[bool] = []
    done = threading.Event()
    database._writer.execute("PRAGMA max_page_count = 4")
    database.submit([(INSERT, [("x" * 100_000,)])], results.append)
    database.submit([], lambda stored: done.set())
    assert done.wait(10)
    database.close()
    assert results == [False]
    check = sqlite3.connect(tmp_path / "a.db")
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "open.db"
    path.touch(mode=0o644)
    Database(path, SCHEMA, direct).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_migrations_run_once_and_only_the_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.db"
    Database(path, SCHEMA, direct).close()
    database = Database(path, (*SCHEMA, "ALTER TABLE t ADD COLUMN m TEXT"), direct)
    assert database.reader.execute("SELECT n, m FROM t").fetchall() == []
    assert database.reader.execute("PRAGMA user_version").fetchone() == (2,)
    database.close()


def test_a_broken_migration_leaves_the_version(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        Database(tmp_path / "a.db", (*SCHEMA, "CREATE TABLE u (n); CREATE NONSENSE"), direct)
    database = Database(tmp_path / "a.db", SCHEMA, direct)
    assert database.reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [
        ("t",)
    ]
    database.close()


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    Database(tmp_path / "a.db", (*SCHEMA, "CREATE TABLE u (n)"), direct).close()
    with pytest.raises(UnavailableError, match="newer version"):
        Database(tmp_path / "a.db", SCHEMA, direct)


def test_a_file_that_is_no_database_and_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"not a database" * 100)
    with pytest.raises(UnavailableError):
        Database(tmp_path / "junk", SCHEMA, direct)
    with pytest.raises(UnavailableError):
        Database(tmp_path / "junk" / "a.db", SCHEMA, direct)


def test_reads_cannot_write(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db", SCHEMA, direct)
    with pytest.raises(sqlite3.OperationalError):
        database.reader.execute(INSERT, (1,))
    database.close()


def test_journal_and_durability(tmp_path: Path) -> None:
    for durable, synchronous in ((False, 1), (True, 2)):
        database = Database(tmp_path / f"{durable}.db", SCHEMA, direct, durable=durable)
        assert database._writer.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        assert database._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        database.close()


def test_rows_written_many_at_a_time_are_all_there_in_order(tmp_path: Path) -> None:
    schema = ("CREATE TABLE t (n INTEGER PRIMARY KEY, v INTEGER) WITHOUT ROWID",)
    replace = "INSERT OR REPLACE INTO t (n, v) VALUES (?, ?)"
    for rows in (1, 7, 8, 63, 64, 65, 200):
        database = Database(tmp_path / f"{rows}.db", schema, direct)
        for number in range(rows):
            database.submit([(replace, [(number, 0)]), (replace, [(number, number), (number // 2, -1)])])
        database.close()
        again = Database(tmp_path / f"{rows}.db", schema, direct)
        found = dict(again.reader.execute("SELECT n, v FROM t"))
        again.close()
        expected = {number: number for number in range(rows)}
        for number in range(rows):
            expected[number] = number
            expected[number // 2] = -1
        assert found == expected


@pytest.mark.parametrize(
    "value", ["\ud800", 2**70, object(), 1], ids=["surrogate", "large", "object", "twice"]
)
def test_a_write_that_sqlite_cannot_take_costs_no_other_of_its_group(tmp_path: Path, value: object) -> None:
    database = Database(tmp_path / "a.db", SCHEMA, direct)
    results: list[tuple[str, bool]] = []
    gate = threading.Event()
    database.submit([(INSERT, [(0,)])], lambda _: gate.wait(10))  # what follows is one group
    for name, number in (("before", 1), ("bad", value), ("after", 2)):
        database.submit([(INSERT, [(number,)])], lambda stored, n=name: results.append((n, stored)))
    gate.set()
    database.close()
    assert results == [("before", True), ("bad", False), ("after", True)]
    again = Database(tmp_path / "a.db", SCHEMA, direct)
    assert count(again) == 3
    again.close()
