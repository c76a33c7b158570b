"""The generated modules: current, equal in both languages, and what their users rely on."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar import schema
from sidecar.schema import CHANNELS, EVENTS, PROTOCOL, SCHEMA_SHA256, CallInitiateParams, CallType, EndReason
from tests import peers
from tests.unit.schema_files import DEFS, ENUMS, OBJECTS, ROOT, SCHEMA, SCHEMA_FILE

GENERATOR = [sys.executable, str(ROOT / "scripts" / "lib" / "generate")]
TYPESCRIPT = Path("bindings/typescript/src/generated")


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GENERATOR, *arguments], capture_output=True, text=True, timeout=110, check=False, cwd=ROOT
    )


@pytest.mark.real_peer("typescript")
def test_everything_generated_is_current() -> None:
    peers.need("typescript")
    run = generate("--check")
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.real_peer("typescript")
def test_drift_is_named(tmp_path: Path) -> None:
    """A changed byte, a missing file and a stranger in a generated folder are each named."""
    peers.need("typescript")
    for folder in (Path("sidecar/schema"), TYPESCRIPT, Path("docs")):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    with (tmp_path / TYPESCRIPT / "types.ts").open("a") as file:
        file.write("\n")
    (tmp_path / "sidecar/schema/channels.py").unlink()
    (tmp_path / TYPESCRIPT / "old.ts").touch()
    run = generate("--check", f"--root={tmp_path}")
    assert run.returncode == 1
    assert set(re.findall("not current: (\\S+)", run.stderr)) == {
        "sidecar/schema/channels.py",
        str(TYPESCRIPT / "types.ts"),
        str(TYPESCRIPT / "old.ts"),
    }


@pytest.fixture(scope="module")
def typescript_tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The constants of channels.ts as a JavaScript engine sees them."""
    compiler, node = peers.need("typescript"), peers.need("node")
    out = tmp_path_factory.mktemp("tables")
    subprocess.run(
        [compiler, "--ignoreConfig", "--target", "ES2020", "--module", "commonjs", "--types", "",
         "--ignoreDeprecations", "6.0", "--outDir", str(out), str(ROOT / TYPESCRIPT / "channels.ts")],
        check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    run = subprocess.run(
        [node, "-p", "JSON.stringify(require('./channels.js'))"],
        cwd=out, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    tables: dict[str, Any] = json.loads(run.stdout)
    return tables


@pytest.mark.real_peer("typescript")
def test_both_languages_have_the_same_channels(typescript_tables: dict[str, Any]) -> None:
    ours = {
        name: (channel.stream, channel.permission, list(channel.errors), channel.since)
        for name, channel in CHANNELS.items()
    }
    theirs = {
        name: (channel["stream"], channel["permission"], channel["errors"], channel["since"])
        for name, channel in typescript_tables["CHANNELS"].items()
    }
    assert ours == theirs
    assert list(ours) == list(theirs)


@pytest.mark.real_peer("typescript")
def test_both_languages_have_the_same_events(typescript_tables: dict[str, Any]) -> None:
    assert [(name, event.since) for name, event in EVENTS.items()] == [
        (name, event["since"]) for name, event in typescript_tables["EVENTS"].items()
    ]


@pytest.mark.real_peer("typescript")
def test_both_languages_have_the_same_enums(typescript_tables: dict[str, Any]) -> None:
    ours = {name: [value.value for value in getattr(schema, name)] for name in ENUMS}
    assert ours == {name: list(values) for name, values in typescript_tables["ENUMS"].items()}
    assert typescript_tables["ERROR_CODES"] == ours["ErrorCode"]


@pytest.mark.real_peer("typescript")
def test_both_languages_know_the_version_and_hash(typescript_tables: dict[str, Any]) -> None:
    assert typescript_tables["PROTOCOL"] == PROTOCOL == SCHEMA["x-protocol"]
    assert typescript_tables["SCHEMA_SHA256"] == SCHEMA_SHA256
    assert hashlib.sha256(SCHEMA_FILE.read_bytes()).hexdigest() == SCHEMA_SHA256


@pytest.mark.real_peer("typescript")
@pytest.mark.parametrize(
    ("name", "preload"),
    [
        ("call:mute-audio", "callMuteAudio"),
        ("rtc:send-ice", "rtcSendIce"),
        ("media:get-screen-sources", "mediaGetScreenSources"),
        ("conference:create", "conferenceCreate"),
    ],
)
def test_preload_names_follow_the_rule(typescript_tables: dict[str, Any], name: str, preload: str) -> None:
    assert typescript_tables["CHANNELS"][name]["preload"] == preload


@pytest.mark.real_peer("typescript")
def test_preload_names_are_distinct(typescript_tables: dict[str, Any]) -> None:
    assert typescript_tables["EVENTS"]["aleph:callOffer"]["preload"] == "onCallOffer"
    tables = [*typescript_tables["CHANNELS"].values(), *typescript_tables["EVENTS"].values()]
    names = [entry["preload"] for entry in tables]
    assert len(set(names)) == len(names)


def test_typescript_types_bear_the_names_of_the_schema() -> None:
    text = (ROOT / TYPESCRIPT / "types.ts").read_text()
    assert set(re.findall(r"^export (?:type|interface) (\w+)", text, re.MULTILINE)) == set(DEFS)
    assert "[k: string]: unknown" not in re.sub(
        r"(metadata|details)\?: \{\s+\[k: string\]: unknown", "", text
    )


def test_python_types_bear_the_names_of_the_schema() -> None:
    assert {name for name in DEFS if not hasattr(schema, name)} == {"Void"}
    assert sorted(DEFS.keys() - {"Void"}) == schema.types.__all__


@pytest.mark.parametrize("name", OBJECTS)
def test_structs_match_their_definition(name: str) -> None:
    struct = getattr(schema, name)
    required = OBJECTS[name].get("required", [])
    fields = msgspec.structs.fields(struct)
    assert {field.encode_name: field.required for field in fields} == {
        member: member in required for member in OBJECTS[name]["properties"]
    }
    assert all(field.name == to_snake(field.encode_name) for field in fields)
    config = struct.__struct_config__
    assert config.frozen
    assert config.omit_defaults
    assert config.forbid_unknown_fields is (OBJECTS[name].get("additionalProperties") is False)


def to_snake(name: str) -> str:
    return re.sub("([A-Z])", lambda match: "_" + match[1].lower(), name)


@pytest.mark.parametrize("name", ENUMS)
def test_enum_members_are_named_after_their_values(name: str) -> None:
    enum = getattr(schema, name)
    assert issubclass(enum, StrEnum)
    for member in enum:
        plain = re.sub("([a-z])([A-Z])", r"\1_\2", member.value)
        word = re.sub("[^A-Za-z0-9]", "_", plain).upper()
        assert member.name == (f"P{word.removesuffix('P')}" if name == "VideoResolution" else word)


def test_an_absent_member_is_not_on_the_wire() -> None:
    params = CallInitiateParams(user_id="u", type=CallType.AUDIO)
    assert msgspec.to_builtins(params) == {"userId": "u", "type": "audio"}


def test_enums_are_texts() -> None:
    assert EndReason.REMOTE_HANGUP == "remote-hangup"
    assert f"{EndReason.REMOTE_HANGUP}" == "remote-hangup"


def test_the_version_is_known_without_loading_the_types() -> None:
    """The process has 120 ms to say that it is ready."""
    code = "import sys, sidecar.schema; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"msgspec", "sidecar.schema.types", "asyncio", "json"} & set(run.stdout.split())


def test_an_unknown_name_is_an_error() -> None:
    assert not hasattr(schema, "NoSuchType")
    assert not hasattr(schema, "Annotated"), "imported by types.py, not defined there"
