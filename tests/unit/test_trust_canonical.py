"""Canonical JSON beyond the vectors: JavaScript's habits, properties, a strict reader for foreign text."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.trust.canonical import MAX_DEPTH, canonical_json, content_hash, in_order, parse

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
)
keys = st.text(max_size=6) | st.integers(0, 2**33).map(str)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (5e-05, "0.00005"),
        (1.5e300, "1.5e+300"),
        (123456789.125, "123456789.125"),
        (2**53 + 1, "9007199254740992"),
        (10**400, "null"),
        (math.nan, "null"),
        (-math.inf, "null"),
    ],
)
def test_number_text_is_ecmascript(number: float, text: str) -> None:
    assert canonical_json(number) == text


def test_keys_are_ordered_as_a_javascript_object_lists_them() -> None:
    listed = ["b", "10", "9", "-1", "01", "1.5", "4294967295", "4294967294", "\U00010000", "\ue000", ""]
    assert in_order(listed) == [
        "9", "10", "4294967294", "", "-1", "01", "1.5", "4294967295", "b", "\U00010000", "\ue000",
    ]  # fmt: skip


def test_what_json_does_not_know() -> None:
    value = {
        "gone": msgspec.UNSET,
        "hole": [1, msgspec.UNSET],
        "when": datetime(2026, 1, 1, tzinfo=UTC),
        "raw": b"\x01\x02",
        "__proto__": {"x": 1},
        "inner": {"__proto__": 1},
    }
    assert canonical_json(value) == '{"hole":[1,null],"inner":{},"raw":{"0":1,"1":2},"when":{}}'
    assert canonical_json("\ud83d" + "\ude00" + "\ud83d") == '"😀\\ud83d"'
    assert canonical_json("\x7f\u2028/é") == '"\x7f\u2028/é"'


@pytest.mark.parametrize("value", [msgspec.UNSET, {1: 2}, {"a": object()}, [1j]])
def test_what_javascript_could_not_hold_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


def test_any_depth_can_be_hashed() -> None:
    value: Any = 1
    for _ in range(20_000):
        value = [value]
    assert len(canonical_json(value)) == 40_001


@settings(max_examples=300, deadline=None)
@given(values)
def test_canonical_text_says_the_same_value(value: Any) -> None:
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(keys, scalars, max_size=8), st.randoms())
def test_insertion_order_does_not_matter(members: dict[str, Any], random: Any) -> None:
    shuffled = list(members.items())
    random.shuffle(shuffled)
    assert content_hash(dict(shuffled)) == content_hash(members)


SCRIPT = """
const sort = v => Array.isArray(v) ? v.map(sort)
  : v && typeof v === 'object' ? Object.fromEntries(Object.keys(v).sort().map(k => [k, sort(v[k])])) : v;
const lines = require('fs').readFileSync(0, 'utf8').split('\\n').filter(Boolean);
for (const line of lines) console.log(JSON.stringify(sort(JSON.parse(line))));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_agrees_with_node_on_random_values() -> None:
    found: list[Any] = []

    @settings(max_examples=400, database=None, deadline=None)
    @given(values.filter(lambda value: "__proto__" not in repr(value)))
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    lines = "\n".join(json.dumps(value) for value in found)
    told = subprocess.run(["node", "-e", SCRIPT], input=lines, capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[:-1] == [canonical_json(value) for value in found]


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"__proto__":1}',
        '{"x":{"__proto__":{}}}',
        "NaN",
        "[Infinity]",
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        '{"a":' * 2000,
        "[" * 100_000,
        '"' + "[" * 50 + "\\",
        "1" * 5000,
        "",
        "{} {}",
    ],
)
def test_text_from_outside_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_brackets_inside_strings_are_no_depth() -> None:
    text = json.dumps({"a": "[" * 100 + '\\"' + "{" * 100, "b": [[[1]]]})
    assert parse(text) == json.loads(text)
