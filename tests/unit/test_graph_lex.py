"""Queries over keys, as a relay answers them; gun's own filter is held to its vectors elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.graph.core.lex import match, selects

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
