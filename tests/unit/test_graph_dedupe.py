"""Message ids: remembered while they are seen, bounded whatever comes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.graph.core.dedupe import Dedupe

SIGHTS = st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 3)), max_size=40)


@given(SIGHTS)
def test_an_id_is_new_exactly_when_its_last_sight_is_too_old(sights: list[tuple[str, float]]) -> None:
    seen: Dedupe[int] = Dedupe(ttl_s=2.0)
    last: dict[str, float] = {}
    now = 0.0
    for number, (name, passed) in enumerate(sights):
        now += passed
        expected = name not in last or now >= last[name] + 2.0
        assert seen.first_sight(name, number, now) is expected
        last[name] = now


@given(st.lists(st.text(max_size=4), max_size=60), st.integers(1, 8))
def test_there_are_never_more_than_the_cap(names: list[str], cap: int) -> None:
    seen: Dedupe[int] = Dedupe(cap=cap)
    for name in names:
        seen.first_sight(name, 1, 0.0)
        assert len(seen) <= cap
        assert not seen.first_sight(name, 1, 0.0)


@given(st.lists(st.sampled_from("abcdefgh"), max_size=40), st.integers(1, 8))
def test_at_the_cap_the_id_unseen_for_longest_goes(names: list[str], cap: int) -> None:
    """A repeat counts as a sight: an id in use stays, whatever floods past it."""
    seen: Dedupe[int] = Dedupe(ttl_s=1e9, cap=cap)
    latest: list[str] = []
    for number, name in enumerate(names):
        assert seen.first_sight(name, number, float(number)) is (name not in latest)
        latest = [*(other for other in latest if other != name), name][-cap:]
    assert [name for name in "abcdefgh" if seen.source(name, 1e3) is not None] == sorted(latest)


def test_the_first_sender_is_asked_back() -> None:
    seen: Dedupe[int] = Dedupe(ttl_s=2.0)
    seen.first_sight("a", 1, 0.0)
    seen.first_sight("a", 2, 1.0)
    assert seen.source("a", 2.5) == 1
    assert seen.source("a", 3.0) is None
    assert seen.source("unknown", 0.0) is None


def test_memory_is_given_back_with_time() -> None:
    seen: Dedupe[int] = Dedupe(ttl_s=2.0)
    for number in range(100):
        seen.first_sight(str(number), 1, 0.0)
    seen.first_sight("later", 1, 2.0)
    assert len(seen) == 1
