"""A sleep is noticed by the clocks, whichever of them stood still."""

from __future__ import annotations

import pytest

from sidecar.graph.core.tickgap import SLACK_S, TICK_S, TickGap

WALL_MS = 1_795_340_000_000.0


def look(passed_s: float, wall_s: float) -> bool:
    gap = TickGap()
    assert not gap.noticed(100.0, WALL_MS)
    return gap.noticed(100.0 + passed_s, WALL_MS + wall_s * 1000)


@pytest.mark.parametrize(
    ("passed_s", "wall_s", "noticed"),
    [
        (TICK_S, TICK_S, False),
        (0.0, 0.0, False),
        (TICK_S + SLACK_S + 0.1, TICK_S + SLACK_S + 0.1, True),  # the process was stopped
        (3.0, 7_200.0, True),  # the machine slept
        (3.0, -7_200.0, False),  # the wall clock was set back
    ],
)
def test_only_time_that_nobody_saw_counts(passed_s: float, wall_s: float, noticed: bool) -> None:
    assert look(passed_s, wall_s) is noticed


def test_each_sleep_is_told_once() -> None:
    gap = TickGap()
    gap.noticed(0.0, WALL_MS)
    assert gap.noticed(1.0, WALL_MS + 60_000)
    assert gap.passed_s == 1.0
    assert not gap.noticed(2.0, WALL_MS + 61_000)
