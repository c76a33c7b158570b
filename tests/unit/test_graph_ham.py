"""HAM: whatever the order of arrival, every peer keeps the same value."""

from __future__ import annotations

from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar.graph.core.ham import resolve
from sidecar.graph.core.jsjson import stringify

NOW = 1_000.0
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.integers(-20, 20),
    st.floats(-2, 2),
    st.builds(lambda soul: {"#": soul}, st.text(min_size=1, max_size=2)),
)
WRITES = st.lists(st.tuples(VALUES, st.sampled_from([1.0, 2.0, 2.001, 3.0])), min_size=1, max_size=4)


Writes = list[tuple[Any, float]]


def settle(writes: list[tuple[Any, float]]) -> tuple[Any, float]:
    value, state = None, None
    for incoming, incoming_state in writes:
        if resolve(NOW, incoming_state, state, incoming, value) == "accept":
            value, state = incoming, incoming_state
    assert state is not None
    return value, state


@given(WRITES)
def test_any_order_ends_the_same(writes: list[tuple[Any, float]]) -> None:
    ends = [settle(list(order)) for order in permutations(writes)]
    assert {repr_js(end) for end in ends} == {repr_js(ends[0])}


@given(WRITES)
def test_repeats_change_nothing(writes: list[tuple[Any, float]]) -> None:
    assert repr_js(settle(writes)) == repr_js(settle(writes + writes))


def repr_js(cell: tuple[Any, float]) -> str:
    return stringify(list(cell))


@given(VALUES, VALUES, st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_state_decides_before_the_value(new: Any, old: Any, incoming: float, current: float) -> None:
    now = max(incoming, current)
    if incoming > current:
        assert resolve(now, incoming, current, new, old) == "accept"
    elif incoming < current:
        assert resolve(now, incoming, current, new, old) == "drop"


def test_the_future_is_deferred_the_present_is_not() -> None:
    assert resolve(NOW, NOW + 0.001, None, 1, None) == "defer"
    assert resolve(NOW, NOW, None, 1, None) == "accept"
    assert resolve(NOW, NOW + 1, NOW + 2, 1, None) == "defer"


def test_the_first_value_of_a_key_is_taken_even_if_null() -> None:
    assert resolve(NOW, 0, None, None, None) == "accept"


@given(WRITES, WRITES, WRITES)
def test_any_grouping_ends_the_same(one: Writes, two: Writes, three: Writes) -> None:
    left = settle([settle(one + two), *three])
    right = settle([*one, settle(two + three)])
    assert repr_js(left) == repr_js(right)


RANKS = (str, int, False, None, True, dict)
"""Of equal states, as measured on gun.js (vectors: ham_tie): text loses to numbers, a link wins over all."""


def rank(value: Any) -> int:
    if isinstance(value, bool) or value is None:
        return RANKS.index(value)
    return RANKS.index(int if isinstance(value, float) else type(value))


@given(VALUES, VALUES)
def test_ties_are_in_one_order(one: Any, two: Any) -> None:
    forth, back = resolve(NOW, 1, 1, one, two), resolve(NOW, 1, 1, two, one)
    if repr_js((one, 1)) == repr_js((two, 1)):
        assert forth == back == "drop"
    else:
        assert {forth, back} == {"accept", "drop"}
    if rank(one) != rank(two):
        assert (forth == "accept") is (rank(one) > rank(two))


def test_ties_are_settled_by_utf16_units() -> None:
    assert resolve(NOW, 1, 1, "\uffff", "\U00010000") == "accept"
    assert resolve(NOW, 1, 1, "\U00010000", "\uffff") == "drop"
