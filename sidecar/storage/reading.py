"""Looks into a database that another process may be writing, without changing anything."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sidecar.errors import UnavailableError


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write. Raises UnavailableError for a file that is not there or no database,
    also for an error that a query of the block meets."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise UnavailableError(f"cannot read {path}: {error}") from error
