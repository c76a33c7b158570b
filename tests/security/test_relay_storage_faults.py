"""Disk full, database locked, folder unwritable, kill -9: the relay lives and keeps its word (FAULTS R13)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import resource
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from sidecar.app import exit_codes
from sidecar.app.processes.gun_relay import DATABASE
from tests.security.relays import Client, RelayProcess, client, put, relay_process

VALUE = "x" * 8_000
TRIES = 400
"""Values that surely fill a megabyte, and then some."""
NOT_STORED = "Not stored."


class Disk:
    """A folder and a way to let it be full for a while."""

    def __init__(
        self, folder: Path, fill: Callable[[RelayProcess], None], free: Callable[[RelayProcess], None]
    ) -> None:
        self.folder = folder
        self.fill = fill
        self.free = free


@contextlib.contextmanager
def small_file_system(folder: Path, *options: str) -> Iterator[Path]:
    """A megabyte of memory mounted as a file system, which only root may do."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(["size=1m", *options]), "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(params=["small file system", "largest file"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Full by its size (ENOSPC), or by the largest size the process may give a file (EFBIG)."""
    if request.param == "small file system":
        with small_file_system(tmp_path / "disk") as folder:
            ballast = folder / "ballast"
            ballast.write_bytes(b"x" * 500_000)
            yield Disk(folder, lambda _: None, lambda _: ballast.unlink())
        return

    def limit(relay: RelayProcess, size: int) -> None:
        psutil.Process(relay.process.pid).rlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    yield Disk(
        tmp_path, lambda relay: limit(relay, 500_000), lambda relay: limit(relay, resource.RLIM_INFINITY)
    )


def now_ms() -> float:
    return time.time() * 1000


async def write(writer: Client, number: int) -> str | None:
    """The error of a put, None if it is stored."""
    error = (await writer.ask(put(f"s{number}", 5, k=f"{number}{VALUE}"))).get("err")
    return None if error is None else str(error)


async def holds(reader: Client, number: int) -> bool:
    answer = await reader.ask({"get": {"#": f"s{number}", ".": "k"}})
    return bool(answer.get("put", {}).get(f"s{number}", {}).get("k") == f"{number}{VALUE}")


async def test_R13_a_full_disk_makes_the_relay_read_only_until_there_is_space(disk: Disk) -> None:
    """What it says is kept is kept, what it says is not is not; a little may still fit after a refusal."""
    stored, refused = set[int](), set[int]()
    async with relay_process(disk.folder) as relay, client(relay.url) as one, client(relay.url) as other:
        disk.fill(relay)
        for number in range(TRIES):
            error = await write(one, number)
            assert error in (None, NOT_STORED)
            (refused if error else stored).add(number)
            assert ((await relay.health())["problems"] == ["storage: writes fail"]) is bool(error)
            if len(refused) == 20:
                break
        assert len(refused) == 20
        for number in stored | refused:
            assert await holds(other, number) is (number in stored)
        assert relay.lives
        disk.free(relay)
        for number in refused:
            assert await write(one, number) is None
        assert (await relay.health())["status"] == "ok"
    async with relay_process(disk.folder) as relay, client(relay.url) as reader:
        for number in stored | refused:
            assert await holds(reader, number)


async def test_R13_subscribers_hear_what_a_full_disk_does_not_keep(disk: Disk) -> None:
    """A call that is being set up goes on; the writer knows that it has to keep its word itself."""
    async with relay_process(disk.folder) as relay, client(relay.url) as one, client(relay.url) as other:
        disk.fill(relay)
        number = 0
        while await write(one, number) is None:
            number += 1
        await other.ask({"get": {"#": "news"}})
        assert (await one.ask(put("news", 5, k=VALUE)))["err"] == NOT_STORED
        heard = await other.until(lambda message: "put" in message and "@" not in message)
        assert heard["put"]["news"]["k"] == VALUE


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[Callable[[], None]]:
    """Somebody else, a backup say, writes to the database; call the result to let go of it."""
    connection = sqlite3.connect(folder / DATABASE, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield connection.close
    finally:
        connection.close()


async def test_R13_a_lock_for_a_moment_delays_acknowledgements_only(tmp_path: Path) -> None:
    async with relay_process(tmp_path) as relay, client(relay.url) as one, client(relay.url) as other:
        assert await write(one, 0) is None
        with locked(tmp_path) as unlock:
            waiting = await one.say(put("s1", 5, k=f"1{VALUE}"))
            assert await holds(other, 1)
            assert await holds(other, 0)
            assert not any(message.get("@") == waiting for message in one.heard)
            unlock()
            assert (await one.answer(waiting))["ok"] is True
        assert (await relay.health())["status"] == "ok"


async def test_R13_a_lock_that_stays_makes_the_relay_read_only(tmp_path: Path) -> None:
    async with relay_process(tmp_path) as relay, client(relay.url) as one, client(relay.url) as other:
        assert await write(one, 0) is None
        with locked(tmp_path):
            assert await write(one, 1) == NOT_STORED
            assert (await relay.health())["status"] == "degraded"
            assert await holds(other, 0)
            assert not await holds(other, 1)
        assert await write(one, 1) is None
        assert (await relay.health())["status"] == "ok"
        assert await holds(other, 1)


async def test_R13_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        with small_file_system(tmp_path / "disk", "ro") as folder:
            async with relay_process(folder, ready=False) as relay:
                assert await relay.exit_code() == exit_codes.ENVIRONMENT
        return
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    async with relay_process(folder, ready=False) as relay:
        assert await relay.exit_code() == exit_codes.ENVIRONMENT


async def test_R13_a_damaged_database_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"no database" * 1_000)
    async with relay_process(tmp_path, ready=False) as relay:
        assert await relay.exit_code() == exit_codes.ENVIRONMENT


KILLS = 5
ACKS_BEFORE_KILL = 150
UNACKNOWLEDGED = 64
"""Puts on their way at any moment."""


async def write_until_killed(relay: RelayProcess, first: int) -> list[int]:
    """Kills the relay in the middle of writes; the numbers of those it had acknowledged."""
    acknowledged: list[int] = []
    room = asyncio.Semaphore(UNACKNOWLEDGED)

    async def write_on(writer: Client) -> None:
        for number in itertools.count(first):
            await room.acquire()
            cells = put(f"s{number}", 5, k=value_of(number))["put"] | put("counter", number, n=number)["put"]
            await writer.say(json.dumps({"#": f"w{number}", "put": cells}))

    async with client(relay.url) as writer:
        writing = asyncio.create_task(write_on(writer))
        with contextlib.suppress(ConnectionClosed):
            while True:
                answer = await writer.until(lambda message: str(message.get("@")).startswith("w"))
                assert answer["ok"] is True
                acknowledged.append(int(answer["@"][1:]))
                room.release()
                if len(acknowledged) == ACKS_BEFORE_KILL:
                    await relay.kill()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    return acknowledged


def value_of(number: int) -> str:
    return f"{number}{VALUE[: number % 2_000]}"


async def test_R13_nothing_acknowledged_is_lost_to_kill_9_during_writes(tmp_path: Path) -> None:
    """New souls, and one key written again and again: of that one, what comes back is never older."""
    acknowledged: list[int] = []
    for round_number in range(KILLS):
        async with relay_process(tmp_path) as relay:
            acknowledged += await write_until_killed(relay, 1 + round_number * 100_000)
    assert len(acknowledged) >= KILLS * ACKS_BEFORE_KILL
    async with relay_process(tmp_path) as relay, client(relay.url) as reader:
        for number in acknowledged:
            answer = await reader.ask({"get": {"#": f"s{number}"}})
            assert answer["put"][f"s{number}"]["k"] == value_of(number)
        kept = (await reader.ask({"get": {"#": "counter"}}))["put"]["counter"]
        assert kept["n"] == kept["_"][">"]["n"] >= max(acknowledged)
