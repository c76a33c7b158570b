"""JSON as JavaScript writes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.graph.core import jsjson

NUMBERS = {
    0: "0",
    1.0: "1",
    -1.5: "-1.5",
    0.1: "0.1",
    1e-6: "0.000001",
    1.5e-6: "0.0000015",
    1e-7: "1e-7",
    -1.25e-9: "-1.25e-9",
    1e20: "100000000000000000000",
    1.5e20: "150000000000000000000",
    1e21: "1e+21",
    -1.5e21: "-1.5e+21",
    5e-324: "5e-324",
    1.7976931348623157e308: "1.7976931348623157e+308",
    123456789.125: "123456789.125",
    1795334762131.001: "1795334762131.001",
    2**53 - 1: "9007199254740991",
    2**53 + 1: "9007199254740992",
    10**25: "1e+25",
    float("nan"): "null",
    float("inf"): "null",
}


@pytest.mark.parametrize(("value", "text"), NUMBERS.items(), ids=lambda value: str(value))
def test_number(value: float, text: str) -> None:
    assert jsjson.number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_itself(value: float) -> None:
    assert float(json.loads(jsjson.number(value))) == value


@given(st.text())
def test_a_string_reads_back_as_itself(value: str) -> None:
    assert json.loads(jsjson.string(value)) == value


def test_there_is_no_negative_zero() -> None:
    assert jsjson.number(-0.0) == "0"


def test_escapes_are_those_of_javascript() -> None:
    assert jsjson.string('\b\t\n\f\r"\\\x00\x1f') == '"\\b\\t\\n\\f\\r\\"\\\\\\u0000\\u001f"'
    assert jsjson.string("/\x7f\u2028é😀") == '"/\x7f\u2028é😀"'
    assert jsjson.string("a\ud800b\udfff") == '"a\\ud800b\\udfff"'


def test_members_keep_their_order_but_array_indices_come_first() -> None:
    assert jsjson.stringify({"b": 1, "10": 2, "a": [True, None], "2": "x", "01": 3}) == (
        '{"2":"x","10":2,"b":1,"a":[true,null],"01":3}'
    )


def test_sorted_members_follow_utf16_units() -> None:
    astral, private = "\U00010000", "\uffff"
    assert jsjson.sorted_stringify({private: 1, astral: 2}) == f'{{"{astral}":2,"{private}":1}}'


def test_an_object_without_json_form_is_a_bug_of_the_caller() -> None:
    with pytest.raises(TypeError):
        jsjson.stringify(object())


@pytest.mark.parametrize(
    "text", ["", "{bad", "NaN", "1e999", '"\\ud800"', "[" * 5_000 + "]" * 5_000, "{} {}"]
)
def test_parse_raises_value_error_and_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        jsjson.parse(text)
