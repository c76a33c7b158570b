"""D5 in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.media.core.liveness import TICK_S, LivenessMachine
from sidecar.media.messages import Liveness


def machine() -> LivenessMachine:
    made = LivenessMachine(suspect_s=2.5, reconnecting_s=5.0, lost_s=30.0)
    made.start(100.0)
    return made


def run(made: LivenessMachine, start: float, end: float) -> list[tuple[float, Liveness]]:
    """Ticks from ``start`` to ``end``; the changes with their times."""
    changes = []
    for step in range(1, round((end - start) / TICK_S) + 1):
        now = start + step * TICK_S
        change = made.handle_tick(now)
        if change is not None:
            changes.append((round(now, 1), change))
    return changes


def test_silence_is_suspect_then_reconnecting_then_lost() -> None:
    made = machine()
    assert run(made, 100, 140) == [
        (pytest.approx(102.5, abs=0.11), Liveness.SUSPECT),
        (pytest.approx(105.0, abs=0.11), Liveness.RECONNECTING),
        (pytest.approx(130.0, abs=0.11), Liveness.LOST),
    ]


@pytest.mark.parametrize("silence", [3.0, 7.0, 29.0])
def test_anything_heard_brings_it_back(silence: float) -> None:
    made = machine()
    run(made, 100, 100 + silence)
    made.heard(100 + silence)
    assert run(made, 100 + silence, 101 + silence) == [
        (pytest.approx(100 + silence + TICK_S, abs=0.11), Liveness.ALIVE)
    ]


def test_lost_is_final() -> None:
    made = machine()
    run(made, 100, 131)
    made.heard(131)
    assert run(made, 131, 140) == []
    assert made.state is Liveness.LOST


def test_heard_in_time_says_nothing() -> None:
    made = machine()
    for second in range(100, 130):
        assert run(made, second, second + 1) == []
        made.heard(second + 1)


def test_a_closed_transport_is_suspect_at_once_and_cannot_be_heard() -> None:
    made = machine()
    made.heard(101)
    run(made, 100, 101)
    made.path_closed(101)
    made.heard(101.05)
    changes = run(made, 101, 140)
    assert [state for _, state in changes] == [Liveness.SUSPECT, Liveness.RECONNECTING, Liveness.LOST]
    assert changes[0][0] == pytest.approx(101.1)
    assert changes[2][0] == pytest.approx(101 + 27.5, abs=0.2)


def test_C19_time_that_the_loop_did_not_run_is_subtracted() -> None:
    made = machine()
    assert run(made, 100, 101) == []
    assert made.handle_tick(101 + 7200) is None
    made.heard(101 + 7200)
    assert run(made, 101 + 7200, 103 + 7200) == []
    changes = run(made, 103 + 7200, 140 + 7200)
    assert [state for _, state in changes] == [Liveness.SUSPECT, Liveness.RECONNECTING, Liveness.LOST]


def test_nothing_is_judged_before_the_path_was_connected() -> None:
    made = LivenessMachine(suspect_s=1, reconnecting_s=2, lost_s=3)
    assert made.handle_tick(1000) is None
    assert made.state is Liveness.ALIVE


def test_packets_of_the_past_do_not_count_twice() -> None:
    made = machine()
    run(made, 100, 103)
    made.heard(99)
    assert made.state is Liveness.SUSPECT
    assert run(made, 103, 104) == []


@given(st.lists(st.tuples(st.floats(0.05, 12), st.booleans()), max_size=60))
def test_any_history_ends_lost_only_after_thirty_seconds_of_running_silence(
    steps: list[tuple[float, bool]],
) -> None:
    made = machine()
    now = heard = 100.0
    running = 0.0
    for gap, something in steps:
        now += gap
        running += gap if gap <= 0.25 else 0.0
        if something:
            made.heard(now)
            heard, running = now, 0.0
        made.handle_tick(now)
        if made.state is Liveness.LOST:
            break
    assert heard >= 100.0
    assert (made.state is Liveness.LOST) <= (running >= 29.0)
