"""The schema file and its examples as the tests of the schema read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCHEMA_FILE = ROOT / "ipc_schema" / "aleph.schema.json"
EXAMPLES = ROOT / "ipc_schema" / "examples"

SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())
DEFS: dict[str, dict[str, Any]] = SCHEMA["$defs"]
CHANNEL_NODES: dict[str, dict[str, Any]] = SCHEMA["x-channels"]
EVENT_NODES: dict[str, dict[str, Any]] = SCHEMA["x-events"]
OBJECTS = {name: node for name, node in DEFS.items() if node.get("type") == "object"}
ENUMS = {name: node for name, node in DEFS.items() if "enum" in node}


def channel_example(name: str) -> dict[str, Any]:
    """``{params, result}`` of a channel; of a stream, ``result`` is one item."""
    return _load("channels", name)


def event_example(name: str) -> dict[str, Any]:
    """``{data}`` of an event."""
    return _load("events", name)


def _load(folder: str, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EXAMPLES / folder / example_file(name)).read_text())
    return loaded


def example_file(name: str) -> str:
    """A colon is no character for a file name on Windows."""
    return name.replace(":", ".") + ".json"


def type_name(node: dict[str, Any]) -> str:
    """The type of a side of a channel as TypeScript writes it: ``CallSession``, ``CallSession[]``."""
    if node.get("type") == "array":
        return type_name(node["items"]) + "[]"
    return str(node["$ref"]).removeprefix("#/$defs/")
