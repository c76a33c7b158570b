"""Queries over keys, as a relay answers them; gun's own filter is held to its vectors elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.graph.core.lex import match, selects
from sidecar.graph.core.nodes import cell_size
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.store import MemoryStore
from tests.graph_machines import NOW_MS, Seeded, put

NAMES = st.text(st.sampled_from("ab\uffff\U00010000"), max_size=4)


@given(NAMES, NAMES, NAMES)
def test_ranges_hold_both_ends_in_utf16_order(name: str, low: str, high: str) -> None:
    units = [text.encode("utf-16-be") for text in (low, name, high)]
    assert selects(name, {">": low, "<": high}) is (units[0] <= units[1] <= units[2])


@given(NAMES, NAMES)
def test_a_prefix_selects_what_begins_with_it(name: str, prefix: str) -> None:
    assert selects(name, {"*": prefix}) is name.startswith(prefix)


@given(NAMES, NAMES)
def test_an_exact_name_selects_itself_only(name: str, other: str) -> None:
    assert selects(name, {"=": other}) is (name == other)


@given(NAMES)
def test_no_condition_selects_all(name: str) -> None:
    assert selects(name, {})
    assert selects(name, {"-": 1})


def test_all_conditions_must_hold() -> None:
    assert selects("blue", {"*": "b", ">": "bl"})
    assert not selects("banana", {"*": "b", ">": "bl"})


@given(
    st.text(max_size=4),
    st.dictionaries(st.sampled_from("=*><-"), st.one_of(st.text(max_size=3), st.integers())),
)
def test_guns_filter_takes_anything(name: str, query: dict[str, Any]) -> None:
    assert match(name, query) in (True, False)


@pytest.mark.parametrize("text", [None, 1, {}, b"x"])
def test_guns_filter_matches_text_only(text: Any) -> None:
    assert match(text, "x") is False


BOUNDS = st.one_of(st.none(), NAMES)


def units(text: str) -> list[int]:
    data = text.encode("utf-16-be", "surrogatepass")
    return [data[at] * 256 + data[at + 1] for at in range(0, len(data), 2)]


@given(NAMES, BOUNDS, BOUNDS, BOUNDS, BOUNDS)
def test_any_conditions_together(
    name: str, exact: str | None, prefix: str | None, low: str | None, high: str | None
) -> None:
    """Said again from the units of the text, one condition after the other."""
    query = {"=": exact, "*": prefix, ">": low, "<": high}
    expected = True
    if exact is not None:
        expected = units(name) == units(exact)
    if prefix is not None:
        expected = expected and units(name)[: len(units(prefix))] == units(prefix)
    if low is not None:
        expected = expected and units(low) <= units(name)
    if high is not None:
        expected = expected and units(name) <= units(high)
    assert selects(name, {sign: bound for sign, bound in query.items() if bound is not None}) is expected


@given(st.lists(NAMES.filter(bool), unique=True, max_size=8), NAMES, st.booleans(), st.integers(0, 200))
def test_an_answer_is_in_order_and_ends_at_its_limit(
    names: list[str], prefix: str, backwards: bool, limit: int
) -> None:
    """``-`` turns the order round, ``%`` ends the answer with the key that reaches so many bytes."""
    router = Router(MemoryStore(), Seeded(1), Limits())
    router.opened(1)
    query = {"*": prefix} | ({"-": 1} if backwards else {})
    if names:
        router.received(1, put("p", "s", *((name, "value") for name in names)), 0.0, NOW_MS)
    router.take()
    get = {"#": "g", "get": {"#": "s", ".": query} | ({"%": limit} if limit else {})}
    router.received(1, json.dumps(get), 0.0, NOW_MS)
    (answer,) = [json.loads(effect.text) for effect in router.take() if '"@":"g"' in effect.text]
    given_keys = [key for key in answer.get("put", {}).get("s", {}) if key != "_"]
    expected = sorted((name for name in names if name.startswith(prefix)), key=units, reverse=backwards)
    total = 0
    for at, name in enumerate(expected):
        total += cell_size(name, "value")
        if limit and total >= limit:
            expected = expected[: at + 1]
            break
    assert given_keys == expected


@pytest.mark.parametrize("bound", [5, True, 1.5, False, "", None, [], {}], ids=repr)
@pytest.mark.parametrize("sign", ["=", "*", ">", "<", "-", "?"])
def test_conditions_that_are_no_text_break_nothing(sign: str, bound: Any) -> None:
    """Queries come from anybody, and so do the policies of certificates."""
    assert selects("name", {sign: bound}) in (True, False)
    assert match("name", {sign: bound}) in (True, False)
    assert match("name", bound) is False
