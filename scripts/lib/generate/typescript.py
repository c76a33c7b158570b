"""bindings/typescript/src/generated/: types by json-schema-to-typescript, tables by a small emitter."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable

from schema import HEADER, ROOT, Node, Schema, ref_name

JSON2TS = ROOT / "bindings" / "typescript" / "node_modules" / ".bin" / "json2ts"
OPTIONS = ("--no-additionalProperties", "--maxItems=-1", "--bannerComment=", "--style.printWidth=110")


def types(schema: Schema) -> str:
    """Every $def under its own name; the tool is handed a union of all, which is then cut off."""
    source = {
        "$schema": schema.root["$schema"],
        "title": "Everything",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in schema.defs],
        "$defs": schema.defs,
    }
    run = subprocess.run(
        ["node", str(JSON2TS), *OPTIONS], input=json.dumps(source), capture_output=True, text=True, check=True
    )
    union, text = run.stdout.split(";\n", 1)
    if not union.startswith("export type Everything"):
        raise SystemExit(f"json-schema-to-typescript begins otherwise than expected: {union[:60]}")
    return f"// {HEADER}\n\n{text}"


def index() -> str:
    return f'// {HEADER}\n\nexport * from "./types.js";\nexport * from "./channels.js";\n'


def channels(schema: Schema) -> str:
    parts = [
        f"// {HEADER}\n",
        _imports(schema),
        f"export const PROTOCOL = {schema.protocol};\n",
        "/** SHA-256 of the schema file; `system:hello` answers with the sidecar's. */\n"
        f"export const SCHEMA_SHA256 = {_text(schema.sha256)};\n",
        "/** Every channel with what it takes and gives; of a stream, `result` is one item. */\n"
        + _block("export interface AlephNetIPCMap", _channel_types(schema)),
        "/** The channels that answer with a stream. */\n"
        f"export type AlephNetStreamMap = Pick<AlephNetIPCMap, {_streams(schema)}>;\n",
        "/** Every event with its data. */\n"
        + _block("export interface AlephNetEvents", _event_types(schema)),
        "/** What is known about a channel at run time; `preload` is its name in the preload API. */\n"
        + _block("export const CHANNELS =", _channel_values(schema), " as const;"),
        "/** What is known about an event at run time; `preload` is its name in the preload API. */\n"
        + _block("export const EVENTS =", _event_values(schema), " as const;"),
        "/** Every value of every enum, with its meaning. */\n"
        + _block("export const ENUMS =", _enum_values(schema), " as const;"),
        "/** Every code an error answer may carry. */\n"
        "export const ERROR_CODES = Object.keys(ENUMS.ErrorCode) as readonly ErrorCode[];\n",
    ]
    return "\n".join(parts)


def preload_channel(name: str) -> str:
    """Upstream's rule: `call:mute-audio` is callMuteAudio."""
    return re.sub("[:-](.)", lambda match: match[1].upper(), name)


def preload_event(name: str) -> str:
    """Upstream's rule: `aleph:callOffer` is onCallOffer."""
    word = name.removeprefix("aleph:")
    return "on" + word[0].upper() + word[1:]


def _imports(schema: Schema) -> str:
    nodes = [node[side] for node in schema.channels.values() for side in ("params", "result")]
    nodes += [node["data"] for node in schema.events.values()]
    names = {ref_name(node.get("items", node)) for node in nodes} | set(schema.enums)
    return "import type {\n" + "".join(f"  {name},\n" for name in sorted(names)) + '} from "./types.js";\n'


def _block(head: str, lines: Iterable[str], tail: str = "") -> str:
    return f"{head} {{\n" + "".join(f"  {line}\n" for line in lines) + "}" + tail + "\n"


def _doc(node: Node, *notes: str) -> str:
    return "/** " + " ".join([node["description"], *notes, f"@since {node['x-since']}"]) + " */"


def _channel_types(schema: Schema) -> Iterable[str]:
    for name, node in schema.channels.items():
        permission = [f"Needs {node['x-permission']}."] if "x-permission" in node else []
        yield _doc(node, *permission)
        yield f"{_text(name)}: {{ params: {_type(node['params'])}; result: {_type(node['result'])} }};"


def _event_types(schema: Schema) -> Iterable[str]:
    for name, node in schema.events.items():
        yield _doc(node)
        yield f"{_text(name)}: {_type(node['data'])};"


def _channel_values(schema: Schema) -> Iterable[str]:
    for name, node in schema.channels.items():
        value = {
            "stream": bool(node.get("x-stream")),
            "permission": node.get("x-permission"),
            "errors": schema.errors(node),
            "preload": preload_channel(name),
            "since": node["x-since"],
        }
        yield f"{_text(name)}: {_object(value)},"


def _event_values(schema: Schema) -> Iterable[str]:
    for name, node in schema.events.items():
        yield f"{_text(name)}: {_object({'preload': preload_event(name), 'since': node['x-since']})},"


def _enum_values(schema: Schema) -> Iterable[str]:
    for name, node in schema.enums.items():
        yield f"{name}: {{"
        yield from (f"  {_text(value)}: {_text(text)}," for value, text in node["x-enumDescriptions"].items())
        yield f"}} satisfies Record<{name}, string>,"


def _streams(schema: Schema) -> str:
    return " | ".join(_text(name) for name, node in schema.channels.items() if node.get("x-stream"))


def _type(node: Node) -> str:
    return f"{ref_name(node['items'])}[]" if node.get("type") == "array" else ref_name(node)


def _object(value: Node) -> str:
    return "{ " + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + " }"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
