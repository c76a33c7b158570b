"""Network time from HTTP dates, which tell it to one second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.graph.core.netclock import NetworkTime


@given(st.integers(-900_000, 900_000), st.floats(1.7e12, 1.8e12), st.floats(0, 400), st.floats(0, 1))
def test_an_offset_is_found_to_within_a_second(offset: int, asked: float, trip: float, spoken: float) -> None:
    true_ms = asked + trip * spoken + offset
    time = NetworkTime()
    time.observe("a", true_ms // 1000 * 1000, asked, asked + trip)
    assert abs(time.offset_ms - offset) <= 1_000 + trip


def test_a_clock_inside_the_interval_is_right() -> None:
    time = NetworkTime()
    time.observe("a", 5_000, 5_900, 5_950)
    assert time.offset_ms == 0


def test_the_median_ignores_one_wrong_relay() -> None:
    time = NetworkTime()
    for name, error in (("a", 60_000), ("b", 60_000), ("liar", 9_000_000)):
        time.observe(name, 1_000_000 + error, 1_000_000, 1_000_000)
    assert abs(time.offset_ms - 60_000) <= 1_000


def test_the_last_runs_offset_serves_until_a_relay_spoke() -> None:
    time = NetworkTime(600_000)
    assert time.offset_ms == 600_000
    time.observe("a", 5_000, 5_500, 5_500)
    assert time.offset_ms == 0


def test_of_two_relays_one_that_lies_changes_nothing() -> None:
    """Our own clock is the third witness."""
    for honest_first in (True, False):
        time = NetworkTime()
        for error in (0, 9_000_000) if honest_first else (9_000_000, 0):
            time.observe(str(error), 1_000_000 + error, 1_000_000, 1_000_000)
        assert abs(time.offset_ms) <= 1_000
    time = NetworkTime()
    for name in ("a", "b"):
        time.observe(name, 1_600_000, 1_000_000, 1_000_000)
    assert abs(time.offset_ms - 600_000) <= 1_000
