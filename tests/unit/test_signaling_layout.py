"""Where signals lie: names, buckets, the moments at which other souls are read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.graph.core.leaves import is_leaf, is_leaf_soul, lifetime_s
from sidecar.signaling import layout
from tests.signaling_kit import ALICE, BOB, NOW_MS, SESSION, shared

SECRET = shared(ALICE, BOB)


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_souls_are_content_addressed_and_end_by_themselves() -> None:
    souls = [
        (layout.pairwise_soul(SECRET, BOB.fingerprint, NOW_MS), 172_800),
        (layout.stranger_soul(BOB.fingerprint, NOW_MS), 172_800),
        (layout.session_soul(SESSION), 172_800),
        (layout.keys_soul(BOB.fingerprint), 2_678_400),
    ]
    for soul, life_s in souls:
        assert is_leaf_soul(soul)
        assert soul.endswith(f"#<?{life_s}")
        assert lifetime_s(soul) == life_s


def test_names() -> None:
    hour = at("2026-11-22T13:59:59")
    assert layout.stranger_soul(BOB.fingerprint, hour) == (
        f"calls/inbox/{BOB.fingerprint}/2026-11-22T13#<?172800"
    )
    assert layout.session_soul(SESSION) == f"calls/s/{SESSION}#<?172800"
    assert layout.keys_soul(BOB.fingerprint) == f"calls/keys/{BOB.fingerprint}#<?2678400"
    prefix, name = layout.pairwise_soul(SECRET, BOB.fingerprint, hour).rsplit("/", 1)
    assert (prefix, len(name)) == ("calls/p", 26 + len("#<?172800"))


def test_only_the_pairwise_name_hides_who_it_is_for() -> None:
    for me in (ALICE, BOB):
        assert me.fingerprint not in layout.pairwise_soul(SECRET, BOB.fingerprint, NOW_MS)


def test_the_current_and_the_previous_bucket_are_read() -> None:
    noon = at("2026-11-22T12:30:00")
    assert layout.stranger_souls(BOB.fingerprint, noon) == (
        layout.stranger_soul(BOB.fingerprint, noon),
        layout.stranger_soul(BOB.fingerprint, noon - layout.HOUR_MS),
    )
    assert layout.pairwise_souls(SECRET, BOB.fingerprint, noon) == (
        layout.pairwise_soul(SECRET, BOB.fingerprint, noon),
        layout.pairwise_soul(SECRET, BOB.fingerprint, noon - layout.DAY_MS),
    )


def test_shortly_before_midnight_tomorrow_is_read_too() -> None:
    late = at("2026-11-22T23:59:30")
    assert len(layout.pairwise_souls(SECRET, BOB.fingerprint, late)) == 3
    assert layout.pairwise_soul(SECRET, BOB.fingerprint, late + 60_000) in layout.pairwise_souls(
        SECRET, BOB.fingerprint, late
    )


@pytest.mark.parametrize(
    ("now", "change"),
    [
        ("2026-11-22T12:30:00", "2026-11-22T12:59:00"),
        ("2026-11-22T12:59:00", "2026-11-22T13:00:00"),
        ("2026-11-22T13:00:00", "2026-11-22T13:59:00"),
        ("2026-11-22T23:59:59", "2026-11-23T00:00:00"),
    ],
)
def test_when_the_souls_to_read_change(now: str, change: str) -> None:
    assert layout.next_change_ms(at(now)) == at(change)


@settings(max_examples=200, deadline=None)
@given(st.integers(NOW_MS, NOW_MS + 3 * layout.DAY_MS), st.integers(-55_000, 55_000))
def test_a_writer_whose_clock_differs_by_less_than_a_minute_is_heard(now_ms: int, skew_ms: int) -> None:
    """The reader refreshes at each change, so what it reads is that of the last change."""
    written = layout.stranger_soul(BOB.fingerprint, now_ms + skew_ms)
    assert written in layout.stranger_souls(BOB.fingerprint, now_ms)


@settings(max_examples=200, deadline=None)
@given(st.integers(NOW_MS, NOW_MS + 3 * layout.DAY_MS), st.floats(0, 0.999))
def test_nothing_changes_between_two_changes(now_ms: int, part: float) -> None:
    later = now_ms + int((layout.next_change_ms(now_ms) - now_ms) * part)
    assert layout.stranger_souls("x", now_ms) == layout.stranger_souls("x", later)
    assert layout.pairwise_souls(SECRET, "x", now_ms) == layout.pairwise_souls(SECRET, "x", later)


def test_leaf_keys() -> None:
    key = layout.leaf_key(b"\xab" * 16, "value")
    assert is_leaf(key, "value")
    assert layout.leaf_id(key) == "ab" * 16
    for other in ("", "ab", "ab" * 16, key[1:], key + "\n", key.upper(), "zz" * 16 + key[32:]):
        assert layout.leaf_id(other) is None
