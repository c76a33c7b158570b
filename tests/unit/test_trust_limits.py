"""Token buckets and the replay window: what they allow, what bounds them."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.trust.rates import Rate, RateLimits, per_hour, per_minute
from sidecar.trust.replay import ReplayWindow


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    limits = RateLimits({"a": per_minute(6)})
    assert [limits.allow("a", "u", 0.0) for _ in range(8)] == [True] * 6 + [False] * 2
    assert not limits.allow("a", "u", 9.9)
    assert limits.allow("a", "u", 10.1)
    assert limits.allow("a", "other", 0.0)


def test_classes_and_costs_are_separate() -> None:
    limits = RateLimits({"chars": per_hour(100), "leaves": per_hour(2, burst=1)})
    assert limits.allow("chars", "", 0.0, cost=90)
    assert not limits.allow("chars", "", 0.0, cost=20)
    assert limits.allow("chars", "", 0.0, cost=10)
    assert limits.allow("leaves", "", 0.0)
    assert not limits.allow("leaves", "", 0.0)


def test_a_refund_never_exceeds_the_burst() -> None:
    limits = RateLimits({"a": Rate(2, 0)})
    limits.refund("a", "u")
    assert [limits.allow("a", "u", 0.0) for _ in range(3)] == [True, True, False]
    limits.refund("a", "u")
    assert [limits.allow("a", "u", 0.0) for _ in range(2)] == [True, False]


def test_a_clock_that_steps_back_gives_nothing() -> None:
    limits = RateLimits({"a": Rate(1, 1)})
    assert limits.allow("a", "u", 100.0)
    assert not limits.allow("a", "u", 50.0)
    assert not limits.allow("a", "u", 50.5)


def test_keys_are_bounded_and_the_busiest_are_remembered() -> None:
    limits = RateLimits({"a": Rate(2, 0.001)}, max_keys=10)
    for _ in range(2):
        assert limits.allow("a", "flooder", 0.0)
    for number in range(1000):
        limits.allow("a", f"u{number}", 1.0)
        assert len(limits) <= 10
    assert not limits.allow("a", "flooder", 2.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 600), max_size=200))
def test_never_more_than_burst_plus_rate(times: list[float]) -> None:
    limits = RateLimits({"a": Rate(5, 0.1)})
    granted = sum(limits.allow("a", "u", now) for now in sorted(times))
    assert granted <= 5 + 600 * 0.1 + 1


def test_a_nonce_burns_once() -> None:
    window = ReplayWindow()
    assert window.burn("alice", "n", 100, 0)
    assert not window.burn("alice", "n", 100, 1)
    assert window.burn("bob", "n", 100, 0)
    assert window.burn("alice", "m", 100, 0)


def test_a_full_window_refuses_one_sender_and_not_the_others() -> None:
    window = ReplayWindow(max_per_sender=3, max_senders=2)
    assert [window.burn("flooder", str(n), 100, 0) for n in range(5)] == [True] * 3 + [False] * 2
    assert window.burn("alice", "a", 100, 0)
    assert not window.burn("third", "a", 100, 0)
    assert len(window) == 4
    assert window.burn("flooder", "later", 300, 150)
    assert window.burn("third", "a", 300, 150)


def test_the_whole_window_is_bounded_too() -> None:
    window = ReplayWindow(max_nonces=5)
    burnt = [window.burn(f"sender {n % 3}", str(n), 100, 0) for n in range(9)]
    assert (burnt.count(True), len(window)) == (5, 5)
    assert window.burn("sender 0", "late", 300, 150)
    assert len(window) == 1


def test_the_window_survives_a_restart() -> None:
    window = ReplayWindow()
    window.burn("alice", "old", 50, 0)
    window.burn("alice", "new", 200, 0)
    saved = json.loads(json.dumps(window.export(100)))
    assert saved == [["alice", "new", 200]]
    restored = ReplayWindow()
    restored.restore(saved, 100)
    assert not restored.burn("alice", "new", 200, 110)
    assert restored.burn("alice", "old", 200, 110)
    restored.restore(saved, 500)
    assert len(restored) == 2
