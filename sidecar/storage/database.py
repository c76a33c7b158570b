"""One SQLite file with one writer thread: writes are queued, committed in groups, reported after COMMIT.

DESIGN D10. A lone write is committed at once; while writes keep coming, each COMMIT takes those of the last
milliseconds. The thread shares the interpreter with the event loop, and each call into SQLite hands it over
and takes it back: so rows of one kind are written many by one call. WAL with synchronous NORMAL survives
kill -9, a power cut may lose the last commits; ``durable`` (FULL) does not. A failed COMMIT (disk full) is
rolled back and reported, the file stays sound; a write that SQLite cannot take costs no other of its group.
"""

from __future__ import annotations

import queue
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from sidecar.errors import UnavailableError

MAX_GROUP = 1_000
"""Writes of one COMMIT: keeps it within about 5 ms on a slow disk."""
GATHER_S = 0.003
"""How long writes are gathered that follow a COMMIT closely."""
BLOCKS = (64, 8)
"""Rows written by one call, the largest that fits first."""
PRIVATE_FILE = 0o600
"""Only its owner reads what is kept of calls, friends and keys."""
BUSY_S = 5.0
"""How long a lock held by another process (a backup) is waited for."""

OnDone = Callable[[bool], None]
Statement = tuple[str, Sequence[Sequence[Any]]]
"""SQL and one row of parameters for each time it is executed."""
Write = tuple[list[Statement], OnDone | None]
CallSoon = Callable[..., object]
"""``loop.call_soon_threadsafe``: how results come back from the thread."""


class Database:
    """Open a file, bring it up to date, write through one thread. Raises UnavailableError if it cannot.

    ``migrations`` are SQL scripts; the file's ``user_version`` says how many have run. Reads go over
    ``reader``, to be used by the thread that made this object; it sees committed data.
    """

    def __init__(
        self, path: Path, migrations: Sequence[str], call_soon: CallSoon, *, durable: bool = False
    ) -> None:
        self._call_soon = call_soon
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=PRIVATE_FILE)
            path.chmod(PRIVATE_FILE)
            self._writer = self._connect(path, durable=durable)
            self._migrate(migrations)
            self.reader = self._connect(path, durable=False)
            self.reader.execute("PRAGMA query_only = ON")
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(f"cannot open {path}: {error}") from error
        self._thread = threading.Thread(target=self._run, name=f"sqlite {path.name}", daemon=True)
        self._thread.start()

    @staticmethod
    def _connect(path: Path, *, durable: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        return connection

    def _migrate(self, migrations: Sequence[str]) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise sqlite3.DatabaseError(f"made by a newer version ({version})")
        for number, script in enumerate(migrations[version:], version + 1):
            self._writer.executescript(f"BEGIN;{script};PRAGMA user_version = {number};COMMIT;")

    def submit(self, statements: Iterable[Statement], on_done: OnDone | None = None) -> None:
        """Queue a write; ``on_done`` hears after COMMIT, or False if it was lost."""
        self._queue.put((list(statements), on_done))

    def close(self) -> None:
        """Commit what is queued and close the file. Results still come in through ``call_soon``."""
        if not self._thread.is_alive():
            return
        self._queue.put(None)
        self._thread.join()
        self.reader.close()

    def _run(self) -> None:
        closing = False
        committed_at = -GATHER_S
        while not closing:
            group = [self._queue.get()]
            if group[0] is not None and time.monotonic() - committed_at < GATHER_S:
                time.sleep(GATHER_S)
            while len(group) < MAX_GROUP and not self._queue.empty():
                group.append(self._queue.get())
            closing = None in group
            self._commit_group([write for write in group if write is not None])
            committed_at = time.monotonic()
        self._writer.close()

    def _commit_group(self, writes: list[Write]) -> None:
        try:
            stored = self._commit([statement for statements, _ in writes for statement in statements])
        except Exception:  # of one write: its value is none for SQLite, or breaks a constraint
            if len(writes) > 1:
                for write in writes:
                    self._commit_group([write])
                return
            stored = False
        listeners = [on_done for _, on_done in writes if on_done is not None]
        if listeners:
            self._call_soon(_report, listeners, stored)

    def _commit(self, statements: list[Statement]) -> bool:
        """False if the file cannot be written; raises what a statement raises that is wrong in itself."""
        if not statements:
            return True
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for sql, same in groupby(statements, itemgetter(0)):
                for call, block in _blocks(sql, [row for _, rows in same for row in rows]):
                    self._writer.executemany(call, block)
            self._writer.execute("COMMIT")
        except sqlite3.OperationalError:
            return False
        finally:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        return True


def _blocks(sql: str, rows: list[Sequence[Any]]) -> Iterator[Statement]:
    """The calls that write the rows in order: several rows in one where the SQL ends with their VALUES."""
    place = _place(sql)
    start = 0
    for size in BLOCKS if place else ():
        whole = (len(rows) - start) // size * size
        if whole:
            ends = range(start, start + whole, size)
            joined = [list(chain.from_iterable(rows[first : first + size])) for first in ends]
            yield sql + f", {place}" * (size - 1), joined
            start += whole
    if start < len(rows):
        yield sql, rows[start:]


@lru_cache(maxsize=64)
def _place(sql: str) -> str | None:
    """``(?, ?)`` of an INSERT that can take more of them."""
    found = re.search(r"\bVALUES (\(\?(?:, \?)*\))\Z", sql)
    return found[1] if found else None


def _report(listeners: list[OnDone], stored: bool) -> None:
    for listener in listeners:
        listener(stored)
