"""Gun's graph: nodes of keys, each with a value and a state; what is valid (gun.md section 3).

    Graph = {soul: Node}    Node = {key: Cell}    Cell = (value, state)

Cells are plain tuples, so that a storage can hold them without knowing this package.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from sidecar.errors import RemoteError
from sidecar.graph.core import jsjson

Value = None | bool | int | float | str | dict[str, str]
Cell = tuple[Value, float]
"""A value and its state: milliseconds since the epoch, with a fraction for several writes in one."""
Node = dict[str, Cell]
Graph = dict[str, Node]

MAX_NAME = 4096
"""Characters of a soul or key; gun.js builds child souls as paths, so short ones would break deep graphs."""
MAX_STATE = 8.64e15
"""The largest time a JavaScript Date holds."""
_CELL_BYTES = 200
"""Measured: a name, a tuple, a number and their place in a dictionary."""

_OBJECT_MEMBERS = (
    "__defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__ __proto__ constructor hasOwnProperty"
    " isPrototypeOf propertyIsEnumerable toLocaleString toString valueOf"
)
_STRING_MEMBERS = (
    "anchor at big blink bold charAt charCodeAt codePointAt concat endsWith fixed fontcolor fontsize includes"
    " indexOf isWellFormed italics lastIndexOf link localeCompare match matchAll normalize padEnd padStart"
    " repeat replace replaceAll search slice small split startsWith strike sub substr substring sup"
    " toLocaleLowerCase toLocaleUpperCase toLowerCase toUpperCase toWellFormed trim"
    " trimEnd trimLeft trimRight trimStart"
)
PROTOTYPE_NAMES = frozenset(f"{_OBJECT_MEMBERS} {_STRING_MEMBERS}".split())
"""One put with such a soul kills a gun.js process (gun.md section 6e): never accepted, never forwarded."""


def read_graph(raw: Any) -> Graph:
    """The ``put`` of a message, checked whole; raises RemoteError naming the first thing that is wrong."""
    if not isinstance(raw, dict) or not raw:
        raise RemoteError("bad-put", "put is not an object of nodes")
    return {check_soul(soul): _read_node(soul, node) for soul, node in raw.items()}


def write_graph(graph: Graph) -> dict[str, Any]:
    """The wire form of a graph, states under ``_``."""
    return {
        soul: {
            "_": {"#": soul, ">": {key: state for key, (_, state) in node.items()}},
            **{key: value for key, (value, _) in node.items()},
        }
        for soul, node in graph.items()
    }


def salvage_graph(raw: Any) -> Graph:
    """The usable cells of a ``put`` for a reader that checks each leaf itself; never raises.

    A relay that took one bad cell would otherwise hide the whole soul. A bad state counts as 0: it says
    nothing about a content-addressed value.
    """
    graph: Graph = {}
    for soul, node in raw.items() if isinstance(raw, dict) else ():
        if isinstance(node, dict) and isinstance(soul, str):
            meta = node.get("_")
            states = meta.get(">") if isinstance(meta, dict) else None
            graph[soul] = dict(_salvage_cells(node, states if isinstance(states, dict) else {}))
    return graph


def _salvage_cells(node: dict[str, Any], states: dict[str, Any]) -> Iterator[tuple[str, Cell]]:
    for key, value in node.items():
        if (value is None or isinstance(value, (str, bool, int, float))) and 0 < len(key) <= MAX_NAME:
            state = states.get(key)
            if not isinstance(state, (int, float)) or not 0 <= state <= MAX_STATE:
                state = 0
            yield key, (value, state)


def check_soul(soul: Any) -> str:
    """A soul fit to be kept and passed on."""
    if not isinstance(soul, str) or not 0 < len(soul) <= MAX_NAME:
        raise RemoteError("bad-soul", "a soul is a string of 1 to 4096 characters")
    if soul in PROTOTYPE_NAMES:
        raise RemoteError("prototype-soul", "souls named like a JavaScript prototype member are refused")
    return soul


def check_key(key: Any) -> str:
    """A key fit to be kept; ``_`` holds the meta data, ``__proto__`` would change a JavaScript object."""
    if not isinstance(key, str) or not 0 < len(key) <= MAX_NAME or key in ("_", "__proto__"):
        raise RemoteError("bad-key", "a key is a string of 1 to 4096 characters, not _ or __proto__")
    return key


def _read_node(soul: str, raw: Any) -> Node:
    meta = raw.get("_") if isinstance(raw, dict) else None
    states = meta.get(">") if isinstance(meta, dict) and meta.get("#") == soul else None
    if not isinstance(states, dict):
        raise RemoteError("bad-node", "a node carries its soul and states")
    return {
        check_key(key): (read_value(value), _read_state(states.get(key)))
        for key, value in raw.items()
        if key != "_"
    }


def read_value(raw: Any) -> Value:
    """null, boolean, finite number, string, or a link ``{"#": soul}`` with nothing else in it."""
    if raw is None or isinstance(raw, (str, bool)):
        return raw
    if isinstance(raw, int):
        return raw if abs(raw) <= jsjson.MAX_SAFE_INTEGER else _finite(raw)
    if isinstance(raw, float):
        return _finite(raw)
    if isinstance(raw, dict) and len(raw) == 1 and "#" in raw:
        return {"#": check_soul(raw["#"])}
    raise RemoteError("bad-value", "a value is null, a boolean, a number, a string or a link")


def _read_state(raw: Any) -> float:
    """Strings and booleans pass as states in gun.js and shadow every later write: numbers only."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not 0 <= raw <= MAX_STATE:
        raise RemoteError("bad-state", "a state is a number of milliseconds")
    return int(raw) if raw == int(raw) else raw


def _finite(raw: float) -> float:
    try:
        value = float(raw)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise RemoteError("bad-value", "a number is finite")
    return value


def is_link(value: Any) -> str | None:
    """The soul a value points to."""
    return value["#"] if isinstance(value, dict) else None


def content_hash(graph: Graph) -> int:
    """Gun's ``##``: equal graphs have equal hashes, so an answer that would repeat it can be left out."""
    return jsjson.java_hash(jsjson.sorted_stringify(write_graph(graph)))


def cell_size(key: str, value: Value) -> int:
    """Roughly the bytes a cell occupies; the unit of every cap per soul."""
    return len(key) + (len(value) if isinstance(value, str) else 16)


def graph_bytes(graph: Graph) -> int:
    """Roughly the bytes a graph occupies in memory: small cells cost more than what is in them."""
    return sum(
        _CELL_BYTES + cell_size(key, value) for node in graph.values() for key, (value, _) in node.items()
    )
