"""sidecar/schema/channels.py, the tables of channels and events, and version.py beside it."""

from __future__ import annotations

from python_types import format_python
from schema import HEADER, Node, Schema, ref_name


def generate(schema: Schema) -> str:
    channels = "".join(f"{name!r}: {_channel(schema, name, node)}," for name, node in schema.channels.items())
    events = "".join(
        f"{name!r}: Event(name={name!r}, data=t.{ref_name(node['data'])}, since={node['x-since']!r}),"
        for name, node in schema.events.items()
    )
    return format_python(
        f'"""{HEADER}"""\n\n'
        "from __future__ import annotations\n\n"
        "from collections.abc import Mapping\n"
        "from typing import Final\n\n"
        "from sidecar.schema import types as t\n"
        "from sidecar.schema.spec import Channel, Event\n\n"
        f"CHANNELS: Final[Mapping[str, Channel]] = {{{channels}}}\n\n"
        f"EVENTS: Final[Mapping[str, Event]] = {{{events}}}\n"
    )


def version(schema: Schema) -> str:
    """What the ready line tells, apart from the structs: they take too long to load before it."""
    return format_python(
        f'"""{HEADER}"""\n\n'
        "from typing import Final\n\n"
        f"PROTOCOL: Final = {schema.protocol}\n"
        f"SCHEMA_SHA256: Final = {schema.sha256!r}\n"
    )


def _channel(schema: Schema, name: str, node: Node) -> str:
    permission = f"permission={node['x-permission']!r}, " if "x-permission" in node else ""
    stream = "stream=True, " if node.get("x-stream") else ""
    return (
        f"Channel(name={name!r}, params={_type(node['params'])}, result={_type(node['result'])}, {stream}"
        f"errors={tuple(schema.errors(node))!r}, {permission}since={node['x-since']!r})"
    )


def _type(node: Node) -> str:
    if node.get("type") == "array":
        return f"list[{_type(node['items'])}]"
    name = ref_name(node)
    return "None" if name == "Void" else f"t.{name}"
