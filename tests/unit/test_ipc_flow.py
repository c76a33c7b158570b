"""Credit, heartbeats and the outbox, each alone and in virtual time."""

from __future__ import annotations

import pytest

from sidecar.ipc.wire.credit import MAX_CREDIT, Allowance, Window
from sidecar.ipc.wire.limits import Limits
from sidecar.ipc.wire.liveness import Liveness, Sweep, Verdict
from sidecar.ipc.wire.outbox import Admission, Outbox, Total


def test_a_sender_starts_with_one() -> None:
    allowance = Allowance()
    allowance.spend()
    assert allowance.left == 0
    with pytest.raises(AssertionError):
        allowance.spend()


@pytest.mark.parametrize("granted", [-1, True, 1.5, "7", None, [7]])
def test_I01_a_grant_that_is_none_changes_nothing(granted: object) -> None:
    allowance = Allowance()
    assert not allowance.add(granted)
    assert allowance.left == 1


def test_I01_a_huge_grant_is_cut() -> None:
    allowance = Allowance()
    assert allowance.add(2**63)
    assert allowance.add(2**63)
    assert allowance.left == MAX_CREDIT


def test_grants_follow_what_was_taken_and_never_exceed_the_window() -> None:
    window, allowance, waiting, grants = Window(8), Allowance(), 0, []
    for _ in range(100):
        while allowance.left:
            allowance.spend()
            assert window.received()
            waiting += 1
        assert 0 < waiting <= 8
        waiting -= 1
        grant = window.taken()
        if grant:
            allowance.add(grant)
            grants.append(grant)
    assert min(grants) >= 4, "half a window at a time, not item by item"


def test_the_smallest_window_still_moves() -> None:
    window = Window(1)
    for _ in range(5):
        assert window.received()
        assert not window.received()
        assert window.taken() == 1


def test_a_reader_that_takes_nothing_is_sent_no_more_than_its_window() -> None:
    window = Window(4)
    assert window.received()
    allowed = window.taken()
    assert allowed == 4
    assert [window.received() for _ in range(allowed + 1)] == [True] * 4 + [False]


def test_silence_of_two_intervals_is_the_end() -> None:
    life = Liveness(5.0, 0.0, 0.0)
    assert life.check(4.9) is Verdict.QUIET
    assert life.check(5.0) is Verdict.BEAT
    assert life.check(5.1) is Verdict.QUIET
    assert life.check(10.0) is Verdict.BEAT
    assert life.check(10.1) is Verdict.LOST


def test_anything_heard_starts_the_silence_anew() -> None:
    life = Liveness(5.0, 0.0, 0.0)
    life.heard(9.0)
    assert life.check(18.9) is Verdict.BEAT
    assert life.check(19.1) is Verdict.LOST


def test_I04_time_in_which_we_did_not_run_is_not_silence() -> None:
    life = Liveness(5.0, 0.0, 0.0)
    life.excuse(30.0)
    assert life.check(31.0) is Verdict.BEAT
    assert life.check(40.1) is Verdict.LOST


def test_the_sweep_rests_without_channels_and_says_how_late_it_is() -> None:
    sweep = Sweep(5.0)
    assert sweep.next_deadline() is None
    assert sweep.begin(100.0) is None
    sweep.wake(100.0)
    assert sweep.next_deadline() == 101.0
    assert sweep.begin(100.5) is None
    assert sweep.begin(101.1) == 0.0
    assert sweep.begin(112.1) == pytest.approx(10.0)
    sweep.rest()
    assert sweep.next_deadline() is None


LIMITS = Limits(outbox_bytes=100, outbox_total_bytes=150, outbox_refuse=3, outbox_drop=5, stalled_s=30.0)


def test_what_waits_is_counted_and_leaves_in_order() -> None:
    total = Total()
    outbox = Outbox(LIMITS, total)
    outbox.push(b"a" * 10, 1.0)
    outbox.push(b"b" * 20, 2.0)
    assert (len(outbox), outbox.bytes, total.bytes, outbox.blocked_since) == (2, 30, 30, 1.0)
    assert outbox.head()[:1] == b"a"
    outbox.pop(5.0)
    assert (outbox.head()[:1], outbox.blocked_since) == (b"b", 5.0)
    outbox.pop(6.0)
    assert (len(outbox), total.bytes, outbox.blocked_since) == (0, 0, None)


def test_I02_what_may_wait_is_bounded_per_client_and_in_total() -> None:
    total = Total()
    one, other = Outbox(LIMITS, total), Outbox(LIMITS, total)
    assert one.fits(100)
    assert not one.fits(101)
    one.push(b"x" * 90, 0.0)
    assert not one.fits(11)
    assert other.fits(60)
    assert not other.fits(61)
    one.clear()
    assert other.fits(100)


def test_I02_requests_of_a_client_that_does_not_read_are_refused_then_dropped() -> None:
    outbox = Outbox(LIMITS, Total())
    seen = []
    for _ in range(6):
        seen.append(outbox.admission())
        outbox.push(b"x", 0.0)
    assert seen == [Admission.SERVE] * 3 + [Admission.REFUSE] * 2 + [Admission.DROP]


def test_I02_bytes_alone_also_refuse() -> None:
    outbox = Outbox(LIMITS, Total())
    outbox.push(b"x" * 100, 0.0)
    assert outbox.admission() is Admission.REFUSE


def test_I02_a_client_that_takes_nothing_for_long_is_stalled() -> None:
    outbox = Outbox(LIMITS, Total())
    assert not outbox.stalled(1000.0)
    outbox.push(b"x", 0.0)
    outbox.push(b"x", 0.0)
    assert not outbox.stalled(30.0)
    outbox.pop(20.0)
    assert not outbox.stalled(50.0)
    assert outbox.stalled(50.1)
