"""I12: an event loop that is blocked is noticed, said where, counted; a process that was stopped is not."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest

from sidecar import log
from sidecar.app.health import HealthBoard
from sidecar.app.watchdog import BLOCKED_S, LOG_EVERY_S, SHOWN_S, TICK_S, Watchdog


class Lab:
    """A watchdog whose time is set by hand."""

    def __init__(self) -> None:
        self.at, self.worked_s = 100.0, 5.0
        self.dog = Watchdog(log.get("watchdog"), lambda: self.at, lambda: self.worked_s)

    def pass_by(self, seconds: float, *, working: bool = False) -> None:
        self.at += seconds
        self.worked_s += seconds if working else 0.0


@pytest.fixture
async def lab() -> Any:
    made = Lab()
    yield made
    made.dog.stop()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    log.configure(lambda line: found.append(json.loads(line)), lambda: 0, "info")
    yield found
    log.configure(lambda line: None, lambda: 0, "off")


def said(lines: list[dict[str, Any]]) -> list[str]:
    return [line["msg"] for line in lines]


async def test_I12_a_blocked_loop_is_logged_with_its_stack_counted_and_in_health(lab: Lab, lines) -> None:
    lab.dog.tick()
    for _ in range(5):
        lab.pass_by(TICK_S)
        lab.dog.look()
    assert said(lines) == ["event loop is blocked"]
    assert "test_I12_a_blocked_loop" in lines[0]["traceback"]
    lab.dog.tick()
    assert said(lines)[1:] == ["event loop was blocked"]
    assert lab.dog.count == 1

    board = HealthBoard()
    board.watch_loop(lab.dog.problem)
    assert "loop.blocked" in {problem.code for problem in board.report().problems}
    lab.pass_by(SHOWN_S + 1)
    assert "loop.blocked" not in {problem.code for problem in board.report().problems}


async def test_I12_stacks_are_logged_once_a_minute_and_counted_every_time(lab: Lab, lines) -> None:
    for _ in range(3):
        lab.dog.tick()
        for _ in range(5):
            lab.pass_by(TICK_S)
            lab.dog.look()
    lab.dog.tick()
    assert said(lines).count("event loop is blocked") == 1
    assert lab.dog.count == 3
    lab.pass_by(LOG_EVERY_S - TICK_S)
    lab.dog.look()
    lab.dog.tick()
    for _ in range(5):
        lab.pass_by(TICK_S)
        lab.dog.look()
    assert said(lines).count("event loop is blocked") == 2


async def test_I12_a_loop_that_keeps_the_thread_from_its_turn_is_counted(lab: Lab, lines) -> None:
    lab.dog.tick()
    lab.pass_by(2.0, working=True)
    lab.dog.tick()
    assert lab.dog.count == 1
    assert said(lines) == ["event loop was blocked"]


@pytest.mark.parametrize("thread_first", [True, False])
async def test_a_process_that_was_stopped_has_not_blocked_itself(lab: Lab, lines, thread_first: bool) -> None:
    lab.dog.tick()
    lab.dog.look()
    lab.pass_by(3600.0)
    for step in (lab.dog.look, lab.dog.tick) if thread_first else (lab.dog.tick, lab.dog.look):
        step()
    assert (lab.dog.count, lines) == (0, [])


async def test_a_loop_that_ticks_is_left_alone(lab: Lab, lines) -> None:
    for _ in range(50):
        lab.dog.tick()
        lab.pass_by(TICK_S + BLOCKED_S - 0.1)
        lab.dog.look()
    assert (lab.dog.count, lines, lab.dog.problem()) == (0, [], None)


async def test_I12_the_thread_sees_where_a_real_loop_is_and_ends_when_told(lines) -> None:
    dog = Watchdog(log.get("watchdog"))
    dog.start()
    held, until = threading.Event(), time.monotonic() + 20
    while not lines and time.monotonic() < until:
        held.wait(0.05)  # the loop stands still here until the thread has said so
    assert "held.wait" in lines[0]["traceback"]
    await asyncio.sleep(0)
    for _ in range(1000):
        if dog.count:
            break
        await asyncio.sleep(TICK_S / 4)
    assert dog.count == 1
    dog.stop()
    (thread,) = [one for one in threading.enumerate() if one.name == "watchdog"] or [None]
    if thread is not None:
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()
