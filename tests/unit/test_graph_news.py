"""Signed values at a reader: verified, the newest counts whatever came first, bounded; no more passes."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from sidecar.graph.core import leaves, news, sea
from sidecar.graph.core.effects import Effect, ValueFound
from sidecar.graph.core.news import NewValues
from sidecar.graph.core.reader import Reader
from tests.graph_machines import NOW_MS, Seeded

OWNER, OTHER = sea.make_pair(Seeded(1)), sea.make_pair(Seeded(2))
SOUL = f"~{OWNER['pub']}/lease"


class Watching:
    """One watch of the signed soul."""

    def __init__(self) -> None:
        numbers, self.counters = itertools.count(1), Counter[str]()
        self.reader = Reader(lambda: f"g{next(numbers)}", self.counters)
        self.number, _ = self.reader.add(SOUL, [], 0.0)

    def hears(self, key: str, stored: Any, state: float) -> list[Effect]:
        return self.reader.heard(SOUL, {key: (stored, state)}, 0.0, NOW_MS)

    def found(self, key: str, value: Any, state: float) -> list[Effect]:
        return [ValueFound(self.number, key, value, state)]


def signed(value: Any, state: float, *, key: str = "k") -> str:
    return sea.sign_value(SOUL, key, value, state, OWNER)


@pytest.mark.parametrize("value", ["text", 5, 0.5, True, {"#": "link"}, "SEA{}", None])
def test_a_value_comes_out_as_it_was_put(value: Any) -> None:
    watching = Watching()
    assert watching.hears("k", signed(value, NOW_MS), NOW_MS) == watching.found("k", value, NOW_MS)


def test_an_older_value_after_a_newer_one_never_wins() -> None:
    watching = Watching()
    first, second = signed("first", NOW_MS - 2), signed("second", NOW_MS - 1)
    assert watching.hears("k", second, NOW_MS - 1) == watching.found("k", "second", NOW_MS - 1)
    assert watching.hears("k", first, NOW_MS - 2) == []
    assert watching.counters == {"value-too-old": 1}
    third = signed("third", NOW_MS - 0.5)
    assert watching.hears("k", third, NOW_MS - 0.5) == watching.found("k", "third", NOW_MS - 0.5)


def test_a_redelivery_is_silent() -> None:
    watching = Watching()
    watching.hears("k", signed("x", NOW_MS), NOW_MS)
    for _ in range(100):
        assert watching.hears("k", signed("x", NOW_MS), NOW_MS) == []
    assert not watching.counters


def test_two_values_of_one_state_end_alike_in_any_order() -> None:
    told = []
    for order in itertools.permutations(["a", "b", "c"]):
        watching = Watching()
        told.append([effect for value in order for effect in watching.hears("k", signed(value, 5), 5)][-1])
    assert all(last == told[0] for last in told)


def test_S06_what_its_owner_did_not_sign_is_dropped_and_counted() -> None:
    watching = Watching()
    foreign = sea.sign_value(SOUL, "k", "x", NOW_MS, OTHER)
    moved = sea.sign_value(SOUL + "2", "k", "x", NOW_MS, OWNER)
    junk = [None, 5, True, "text", '{":":1}', '{":":1,"~":5}', "[]", "SEA{", foreign, moved]
    junk += [signed("x", NOW_MS - 1), signed("x", NOW_MS, key="l")]
    for stored in junk:
        assert watching.hears("k", stored, NOW_MS) == []
    assert watching.counters == {"not-signed": len(junk)}
    assert watching.hears("k", signed("x", 1), 1) == watching.found("k", "x", 1)


def test_S09_a_state_far_in_the_future_shadows_nothing() -> None:
    watching = Watching()
    soon, far = NOW_MS + news.FUTURE_MS, NOW_MS + news.FUTURE_MS + 1
    assert watching.hears("k", signed("far", far), far) == []
    assert watching.counters == {"value-from-the-future": 1}
    assert watching.hears("k", signed("now", NOW_MS), NOW_MS)
    assert watching.hears("k", signed("soon", soon), soon)


def test_a_second_watch_is_told_what_the_first_knows() -> None:
    watching = Watching()
    watching.hears("k", signed("x", 5), 5)
    second, _ = watching.reader.add(SOUL, [], 0.0)
    assert watching.hears("k", signed("x", 5), 5) == [ValueFound(second, "k", "x", 5)]


def test_keys_and_bytes_of_a_soul_are_bounded() -> None:
    counters = Counter[str]()
    values = NewValues(counters)
    taken = sum(values.take(str(number), "x", 1) for number in range(news.MAX_KEYS + 5))
    assert (taken, counters["soul-full"]) == (news.MAX_KEYS, 5)
    assert values.take("0", "replaced", 2)
    large = NewValues(counters)
    assert large.take("k", "x" * (leaves.MAX_SOUL_BYTES - 1), 1)
    assert not large.take("l", "x", 1)
    assert large.take("k", "x", 2)
    assert large.take("l", "x", 1)
