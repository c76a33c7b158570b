"""One example per channel and event, judged by three: JSON Schema, msgspec on the generated types, and tsc.

Each example is also damaged in ways that all must refuse, so that none of the three is asleep.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from sidecar.schema import CHANNELS, EVENTS, EventItem
from tests import peers
from tests.unit.schema_files import (
    CHANNEL_NODES,
    DEFS,
    EVENT_NODES,
    EXAMPLES,
    OBJECTS,
    ROOT,
    channel_example,
    event_example,
    example_file,
    type_name,
)

Case = tuple[str, dict[str, Any], Any, Any]
"""A name for the test, the schema's node, the type of the generated module, the example."""


def cases() -> Iterator[Case]:
    for name, node in CHANNEL_NODES.items():
        example = channel_example(name)
        yield f"{name} params", node["params"], CHANNELS[name].params, example["params"]
        result = EventItem if name == "events" else CHANNELS[name].result
        yield f"{name} result", node["result"], result, example["result"]
    for name, node in EVENT_NODES.items():
        yield name, node["data"], EVENTS[name].data, event_example(name)["data"]


CASES = list(cases())
OBJECT_CASES = [case for case in CASES if isinstance(case[3], dict)]


def definition(node: dict[str, Any]) -> dict[str, Any]:
    name = "EventItem" if type_name(node) == "EventsItem" else type_name(node)
    return OBJECTS[name]


def by_schema(node: dict[str, Any], value: Any) -> bool:
    return jsonschema_rs.is_valid({**node, "$defs": DEFS}, value)


def by_msgspec(kind: Any, value: Any) -> bool:
    try:
        msgspec.convert(value, type=kind)
    except msgspec.ValidationError:
        return False
    return True


def both(case: Case, value: Any) -> tuple[bool, bool]:
    return by_schema(case[1], value), by_msgspec(case[2], value)


def named(case: Case) -> str:
    return case[0]


def test_there_is_one_example_each_and_no_other() -> None:
    assert {file.name for file in (EXAMPLES / "channels").iterdir()} == {
        example_file(name) for name in CHANNELS
    }
    assert {file.name for file in (EXAMPLES / "events").iterdir()} == {example_file(name) for name in EVENTS}
    for name in CHANNELS:
        assert set(channel_example(name)) == {"params", "result"}
    for name in EVENTS:
        assert set(event_example(name)) == {"data"}


# Optional members that make no sense together, or before or after that moment of a call.
SHORT_EXAMPLES = {
    "call:initiate result", "call:accept result", "call:get result", "call:hold result", "call:resume result",
    "conference:create result", "conference:join result", "conference:peek params", "rtc:send-offer params",
    "rtc:send-ice params", "media:update-settings params", "aleph:rtcOffer", "aleph:rtcIceCandidate",
}  # fmt: skip


def test_the_examples_show_every_member() -> None:
    short = {case[0] for case in OBJECT_CASES if set(definition(case[1])["properties"]) - set(case[3])}
    assert short == SHORT_EXAMPLES


@pytest.mark.parametrize("case", CASES, ids=named)
def test_examples_are_valid(case: Case) -> None:
    assert both(case, case[3]) == (True, True)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_examples_survive_the_generated_types(case: Case) -> None:
    """What is decoded and encoded again is the same: no member is lost, renamed or added."""
    value = msgspec.convert(case[3], type=case[2])
    assert msgspec.to_builtins(value) == case[3]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=case[2]) == value


@pytest.mark.parametrize("case", OBJECT_CASES, ids=named)
def test_a_missing_member_is_refused(case: Case) -> None:
    for member in definition(case[1]).get("required", []):
        damaged = {name: value for name, value in case[3].items() if name != member}
        assert both(case, damaged) == (False, False), member


@pytest.mark.parametrize("case", OBJECT_CASES, ids=named)
def test_a_member_of_another_type_is_refused(case: Case) -> None:
    for member in case[3]:
        if member != "data":  # of any type by design
            assert both(case, {**case[3], member: [["no"]]}) == (False, False), member
            assert both(case, {**case[3], member: {"no": []}}) == (False, False) or member == "metadata", (
                member
            )


@pytest.mark.parametrize("case", OBJECT_CASES, ids=named)
def test_a_number_or_text_out_of_bounds_is_refused(case: Case) -> None:
    for member, node in definition(case[1])["properties"].items():
        bounds = DEFS[type_name(node)] if "$ref" in node else node
        for value in out_of_bounds(bounds):
            assert both(case, {**case[3], member: value}) == (False, False), (member, value)


def out_of_bounds(node: dict[str, Any]) -> Iterator[Any]:
    if "minimum" in node:
        yield node["minimum"] - 1
    if "maximum" in node:
        yield node["maximum"] + 1
    if node.get("minLength"):
        yield ""
    if "maxLength" in node:
        yield "x" * (node["maxLength"] + 1)
    if "enum" in node:
        yield "nonsense"


@pytest.mark.parametrize("case", OBJECT_CASES, ids=named)
def test_an_unknown_member_is_refused_in_params_only(case: Case) -> None:
    welcome = not case[0].endswith(" params")
    assert both(case, {**case[3], "surprise": 1}) == (welcome, welcome)


def test_the_unknown_member_is_named() -> None:
    with pytest.raises(msgspec.ValidationError, match="`surprise`"):
        msgspec.convert({"callId": "call_x", "surprise": 1}, type=CHANNELS["call:end"].params)


def test_an_optional_member_may_be_null_in_params() -> None:
    """Stricter by the schema; msgspec takes it as absent, for callers whose language has no undefined."""
    params = channel_example("call:initiate")["params"] | {"roomId": None}
    assert not by_schema(CHANNEL_NODES["call:initiate"]["params"], params)
    assert msgspec.to_builtins(msgspec.convert(params, type=CHANNELS["call:initiate"].params)) == {
        name: value for name, value in params.items() if name != "roomId"
    }


def typescript_literal(value: Any, node: dict[str, Any]) -> str:
    """The example as a TypeScript expression: bytes are base64 in the file, and nil is undefined."""
    if value is None:
        return "undefined"
    if not isinstance(value, dict):
        return json.dumps(value)
    kinds = definition(node)["properties"]
    members = [
        f"{json.dumps(name)}: new Uint8Array({list(base64.b64decode(item))})"
        if kinds.get(name, {}).get("format") == "binary"
        else f"{json.dumps(name)}: {json.dumps(item)}"
        for name, item in value.items()
    ]
    return "{" + ", ".join(members) + "}"


def typescript_cases() -> Iterator[str]:
    for index, (name, node, _, value) in enumerate(CASES):
        key, _, side = name.partition(" ")
        kind = f'AlephNetIPCMap["{key}"]["{side}"]' if side else f'AlephNetEvents["{key}"]'
        yield f"export const case{index}: {kind} = {typescript_literal(value, node)};"
        if not isinstance(value, dict):
            continue
        wrong = [{**value, "surprise": 1}]
        wrong += [
            {k: v for k, v in value.items() if k != member} for member in definition(node).get("required", [])
        ]
        for number, damaged in enumerate(wrong):
            literal = typescript_literal(damaged, node)
            yield f"// @ts-expect-error\nexport const case{index}_{number}: {kind} = {literal};"


@pytest.mark.real_peer("typescript")
def test_examples_are_valid_typescript(tmp_path: Path) -> None:
    """The damaged ones must be errors: ``@ts-expect-error`` is itself an error where there is none."""
    compiler = peers.need("typescript")
    generated = ROOT / "bindings" / "typescript" / "src" / "generated" / "index.js"
    names = 'import type { AlephNetEvents, AlephNetIPCMap } from "{}";'
    source = names.replace("{}", Path(os.path.relpath(generated, tmp_path)).as_posix())
    (tmp_path / "examples.ts").write_text("\n".join([source, *typescript_cases()]) + "\n")
    options = {
        "strict": True, "noEmit": True, "exactOptionalPropertyTypes": True, "noUncheckedIndexedAccess": True,
        "target": "ES2020", "lib": ["ES2020"], "types": [], "module": "ESNext", "moduleResolution": "bundler",
    }  # fmt: skip
    (tmp_path / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": options, "files": ["examples.ts"]})
    )
    run = subprocess.run(
        [compiler, "-p", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout == ""
    assert run.returncode == 0, run.stderr
