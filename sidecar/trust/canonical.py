"""Canonical JSON: the text whose SHA-256 an AlephNet author signs (alephnet.md sections 1.2 and 1.3).

It is what ``JSON.stringify`` makes of a deep copy with sorted keys, with every habit of JavaScript: array
indices first, the rest by UTF-16 code unit, ECMAScript number text, ``__proto__`` lost in the copy.
``json.dumps(sort_keys=True)`` differs in each of these.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from sidecar.graph.core import jsjson

MAX_DEPTH = 32
"""Levels of nesting in text from outside; our own messages have four."""

_ARRAY_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")
_LAST_ARRAY_INDEX = 2**32 - 2
_LOST_KEY = "__proto__"


def canonical_json(value: Any) -> str:
    """The canonical text of a JSON value.

    Beside JSON types: ``bytes`` become an index map as a Buffer does, dates ``{}``, NaN and infinities
    ``null``, and ``msgspec.UNSET`` stands for ``undefined``. Raises TypeError for a value that JavaScript
    could not hold, ``undefined`` as a whole included. Not recursive: any depth can be hashed.
    """
    if value is msgspec.UNSET:
        raise TypeError("undefined has no canonical JSON")
    out: list[str] = []
    open_containers = [(iter([("", value)]), "")]
    while open_containers:
        members, closing = open_containers[-1]
        for prefix, item in members:
            if type(item) in _PLAIN:
                out.append(prefix + _scalar(item))
            elif isinstance(item, _CONTAINERS):
                opening, inner, end = _opened(item)
                out.append(prefix + opening)
                open_containers.append((inner, end))
                break
            else:
                out.append(prefix + _scalar(item))
        else:
            out.append(closing)
            open_containers.pop()
    return "".join(out)


def content_hash(value: Any) -> str:
    """Lower-case hex SHA-256 of the canonical text: an envelope's ``contentHash``."""
    return hashlib.sha256(canonical_json(value).encode("utf-8")).hexdigest()


def parse(text: str) -> Any:
    """Reads JSON text from outside, more strictly than JavaScript: raises ValueError also for a duplicate or
    ``__proto__`` key (two texts must not share a hash), NaN, and nesting deeper than ``MAX_DEPTH``.
    """
    if _deeper_than(text, MAX_DEPTH):
        raise ValueError("nested too deeply")
    return json.loads(text, object_pairs_hook=_unique_members, parse_constant=_refuse_constant)


def in_order(keys: list[str]) -> list[str]:
    """Keys as JavaScript lists them after sorting: array indices by number, then UTF-16 order."""
    if not "".join(keys).isascii():
        others = sorted(keys, key=jsjson.utf16)
    else:
        others = sorted(keys)
        if not others or others[0] > "9:":  # none is an array index
            return others
    indices = [key for key in others if _ARRAY_INDEX.match(key) and int(key) <= _LAST_ARRAY_INDEX]
    if not indices:
        return others
    known = set(indices)
    return sorted(indices, key=int) + [key for key in others if key not in known]


_PLAIN = frozenset({str, int, float, bool, type(None)})
_CONTAINERS = (dict, list, tuple, bytes, bytearray, date)
_Members = Iterator[tuple[str, Any]]


def _opened(item: Any) -> tuple[str, _Members, str]:
    """A container's brackets, and between them (text before it, value) of each member."""
    if isinstance(item, (list, tuple)):
        return "[", _elements(item), "]"
    if isinstance(item, (bytes, bytearray)):
        item = {str(index): octet for index, octet in enumerate(item)}
    elif isinstance(item, date):
        item = {}
    keys = [key for key in item if key != _LOST_KEY and item[key] is not msgspec.UNSET]
    return "{", _properties(item, keys), "}"


def _elements(item: Sequence[Any]) -> _Members:
    comma = ""
    for value in item:
        yield comma, None if value is msgspec.UNSET else value
        comma = ","


def _properties(item: Mapping[str, Any], keys: list[str]) -> _Members:
    comma = ""
    for key in in_order(keys):
        yield f"{comma}{jsjson.string(key)}:", item[key]
        comma = ","


def _scalar(item: Any) -> str:
    if isinstance(item, str):
        return jsjson.string(item)
    if item is None:
        return "null"
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, (int, float)):
        return jsjson.number(item)
    raise TypeError(f"no JSON form for {type(item).__name__}")


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs) or _LOST_KEY in members:
        raise ValueError("a key is repeated or reserved")
    return members


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = re.compile(r"[^\[\]{}]+")


def _deeper_than(text: str, limit: int) -> bool:
    """Counts brackets outside strings before the recursive parser sees them."""
    if text.count("{") + text.count("[") <= limit:
        return False
    depth = 0
    for bracket in _NOT_BRACKETS.sub("", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > limit:
            return True
    return False
