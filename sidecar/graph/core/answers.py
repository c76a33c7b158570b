"""What a get is answered: the cells it asks for that have not ended, in parts (gun.md section 5)."""

from __future__ import annotations

from sidecar.graph.core import jsjson, leaves, lex
from sidecar.graph.core.nodes import Node, cell_size, content_hash
from sidecar.graph.core.wire import Get
from sidecar.graph.store import NodeStore

MAX_HASHED = 16 * 1024
"""Characters of a node that is hashed for a get-back: the hash is a slow loop, larger nodes go without."""


def find(store: NodeStore, get: Get, now_ms: float) -> Node:
    """The cells a get asks for, in the order of its query."""
    if get.key is not None:
        cell = store.read_cell(get.soul, get.key)
        cells = {} if cell is None else {get.key: cell}
    else:
        cells = store.read(get.soul)
    node = {
        key: (value, state)
        for key, (value, state) in cells.items()
        if not leaves.is_expired(get.soul, state, now_ms)
    }
    return node if get.keys is None else _select(node, get)


def _select(node: Node, get: Get) -> Node:
    """The keys a query asks for, in its order, until its byte limit is passed."""
    query = get.keys or {}
    names = sorted((key for key in node if lex.selects(key, query)), key=jsjson.utf16)
    if query.get("-"):
        names.reverse()
    chosen: Node = {}
    size = 0
    for key in names:
        chosen[key] = node[key]
        size += cell_size(key, node[key][0])
        if get.limit is not None and size >= get.limit:
            break
    return chosen


def split(node: Node, part_bytes: int) -> list[Node]:
    """Parts of roughly ``part_bytes``; a long answer must not hold up the connection's other frames."""
    parts: list[Node] = []
    size = part_bytes
    for key, cell in node.items():
        if size >= part_bytes:
            parts.append({})
            size = 0
        parts[-1][key] = cell
        size += cell_size(key, cell[0])
    return parts


def node_bytes(node: Node) -> int:
    """Bytes of keys and values."""
    return sum(cell_size(key, value) for key, (value, _) in node.items())


def digest(soul: str, node: Node) -> int | None:
    """``##`` of what is known, which keeps one silent that has nothing else (gun.md section 6b)."""
    return content_hash({soul: node}) if node and node_bytes(node) < MAX_HASHED else None
