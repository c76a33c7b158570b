"""The small parts of process life: lock, streams, lifeline, the two stages of the end, clock."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sidecar.app import lock, stdio, system_clock
from sidecar.app.lifeline import Lifeline
from sidecar.app.shutdown import DEADLINES_S, EXIT_BUG, EXIT_CLEAN, Shutdown
from sidecar.errors import UnavailableError

# --- the lock -------------------------------------------------------------------------------------------


def test_I08_a_second_lock_on_a_directory_names_the_first_owner(tmp_path: Path) -> None:
    held = lock.acquire(str(tmp_path))
    with pytest.raises(lock.AlreadyRunning, match=f"process {os.getpid()}") as caught:
        lock.acquire(str(tmp_path))
    assert caught.value.details == {"pid": os.getpid()}
    held.release()
    held.release()
    lock.acquire(str(tmp_path)).release()


def test_I08_the_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    code = "import sys; from sidecar.app import lock; lock.acquire(sys.argv[1]); print('held', flush=True)"
    owner = subprocess.Popen(
        [sys.executable, "-c", code + "; input()", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    assert owner.stdout.readline() == b"held\n"
    with pytest.raises(lock.AlreadyRunning, match=str(owner.pid)):
        lock.acquire(str(tmp_path))
    owner.kill()
    owner.communicate()
    lock.acquire(str(tmp_path)).release()


def test_a_directory_that_cannot_be_made_or_locked_is_an_environment_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="data directory"):
        lock.make_private(str(tmp_path / "file" / "data"))
    with pytest.raises(UnavailableError, match="lock file"):
        lock.acquire(str(tmp_path / "missing"))


def test_the_directory_is_private(tmp_path: Path) -> None:
    lock.make_private(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


# --- the streams ----------------------------------------------------------------------------------------


def test_I07_lines_to_a_reader_that_stops_are_dropped_and_counted() -> None:
    read, write = os.pipe()
    writer = stdio.LineWriter(write)
    line = b'{"msg":"' + b"x" * 1000 + b'"}\n'
    for _ in range(200):
        writer(line)
    received = os.read(read, 1 << 20)
    writer(line)
    last = json.loads(os.read(read, 1 << 20))
    assert received.count(b"\n") + last["dropped"] == 200
    os.close(read)
    os.close(write)


def test_I07_lines_to_a_reader_that_is_gone_are_forgotten() -> None:
    read, write = os.pipe()
    writer = stdio.LineWriter(write)
    os.close(read)
    for _ in range(3):
        writer(b"{}\n")
    os.close(write)
    writer(b"{}\n")


def test_I07_threads_may_write_at_the_same_time() -> None:
    """The lifeline's thread says the end begins while the loop is logging; it must live to ask for it."""
    out = os.open(os.devnull, os.O_WRONLY)
    writer = stdio.LineWriter(out)
    failures: list[BaseException] = []

    def write_many() -> None:
        try:
            for _ in range(5_000):
                writer(b"{}\n")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(out)
    assert failures == []


LOST = """
import asyncio
from sidecar import log
from sidecar.app import stdio

async def fails():
    raise ValueError("a=ice-pwd:secret")

async def main():
    stdio.log_lost_errors(asyncio.get_running_loop(), log.get("media"))
    asyncio.get_running_loop().create_task(fails())
    await asyncio.sleep(0)

stdio.start_logs("info")
asyncio.run(main())
"""


def test_P03_what_fails_in_a_task_that_nobody_awaits_is_a_line_like_all_others() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, check=True)
    [line] = map(json.loads, done.stderr.splitlines())
    assert (line["level"], line["logger"], line["msg"]) == ("warning", "media", "a task failed")
    assert "ValueError: [redacted]" in line["traceback"]


def test_I07_a_ready_line_nobody_reads_is_reported() -> None:
    read, write = os.pipe()
    os.close(read)
    assert stdio.write_once(write, b"x\n") is False
    read, write = os.pipe()
    assert stdio.write_once(write, b"x\n") is True
    assert os.read(read, 10) == b"x\n"
    assert os.read(read, 10) == b"", "the ready line is the only one"
    os.close(read)


# --- the lifeline ---------------------------------------------------------------------------------------


def gone(stdin: int | None, parent_pid: int | None) -> tuple[threading.Event, list[str]]:
    noticed, causes = threading.Event(), list[str]()

    def on_gone(cause: str) -> None:
        causes.append(cause)
        noticed.set()

    Lifeline(stdin, parent_pid, on_gone).start()
    return noticed, causes


def test_I07_the_end_of_stdin_is_noticed_and_what_comes_before_it_is_not() -> None:
    read, write = os.pipe()
    noticed, causes = gone(read, None)
    os.write(write, b"chatter\n")
    assert not noticed.is_set()
    os.close(write)
    assert noticed.wait(5)
    assert causes == ["stdin-eof"]
    os.close(read)


@pytest.mark.parametrize("descriptors", [True, False], ids=["pidfd", "polling"])
def test_I09_the_end_of_the_parent_is_noticed(descriptors: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not descriptors:
        monkeypatch.delattr(os, "pidfd_open")
    read, write = os.pipe()
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    noticed, causes = gone(read, parent.pid)
    assert not noticed.is_set()
    parent.kill()
    parent.communicate()
    assert noticed.wait(5)
    assert causes == ["parent-gone"]
    os.close(write)
    os.close(read)


# --- the end --------------------------------------------------------------------------------------------


async def test_I09_the_first_cause_counts_and_a_second_signal_ends_at_once() -> None:
    forced, exits = list[str](), list[int]()
    shutdown = Shutdown(lambda: forced.append("forced"), exits.append)
    shutdown.request("request")
    shutdown.request("stdin-eof")
    assert await asyncio.wait_for(shutdown.wanted(), 5) == "request"
    assert exits == []
    shutdown.request("signal")
    assert (forced, exits) == (["forced"], [EXIT_CLEAN])


async def test_I09_a_loop_that_is_stuck_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEADLINES_S, "stdin-eof", 0.01)
    ended = threading.Event()
    exits: list[int] = []

    def exit_now(code: int) -> None:
        exits.append(code)
        ended.set()

    shutdown = Shutdown(lambda: None, exit_now)
    threading.Thread(target=shutdown.request, args=("stdin-eof",)).start()
    assert ended.wait(5), "the loop of this test has not run since"
    assert exits == [EXIT_BUG]


# --- the clock ------------------------------------------------------------------------------------------


def test_network_time_follows_the_relays_and_ignores_steps_of_the_wall_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = system_clock.SystemClock()
    assert abs(clock.network_ms() - clock.wall_ms()) < 1000
    clock.follow(lambda: 600_000)
    before = clock.network_ms()
    assert abs(before - clock.wall_ms() - 600_000) < 1000
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    assert abs(clock.network_ms() - before) < 1000
    assert clock.wall_ms() == 0


def test_random_bytes_have_the_length_asked_for() -> None:
    assert len(system_clock.SystemRandom().bytes(32)) == 32
    assert system_clock.SystemRandom().bytes(16) != system_clock.SystemRandom().bytes(16)
