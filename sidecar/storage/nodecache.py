"""The nodes a relay has at hand: those used last, within a bound of bytes; all others are on disk only.

A node is held whole or not at all, so a key that it lacks needs no look at the disk. A node with a write
under way stays, because the disk does not have it yet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

Cell = tuple[Any, float]
Cells = dict[str, Cell]

CACHE_BYTES = 32 * 1024 * 1024
_NODE_BYTES = 600
_CELL_BYTES = 200
"""Measured beside the characters of names and values: dictionaries, tuples and numbers."""


class Node:
    """All cells of a soul, and how it lies on disk.

    ``size`` counts keys and values, ``writes`` those under way, ``lost``: one of them failed. ``limited``:
    its cells end. ``whole_row`` and ``key_rows`` tell which kinds of row there are.
    """

    __slots__ = ("cells", "key_rows", "limited", "lost", "size", "whole_row", "writes")

    def __init__(self, cells: Cells, *, limited: bool, whole_row: bool, key_rows: bool) -> None:
        self.cells = cells
        self.limited = limited
        self.whole_row = whole_row
        self.key_rows = key_rows
        self.size = sum(_size(key, value) for key, (value, _) in cells.items())
        self.writes = 0
        self.lost = False

    @property
    def cost(self) -> int:
        return _NODE_BYTES + _CELL_BYTES * len(self.cells) + self.size


class NodeCache:
    """``load`` reads a node from the disk, an empty one if it has none."""

    def __init__(self, load: Callable[[str], Node], max_bytes: int) -> None:
        self._load = load
        self._max_bytes = max_bytes
        self._nodes: OrderedDict[str, Node] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, soul: str) -> Node:
        """A node; whoever gets it changes nothing in it."""
        node = self._nodes.get(soul)
        if node is not None:
            self._nodes.move_to_end(soul)
            return node
        node = self._nodes[soul] = self._load(soul)
        self._bytes += node.cost
        self._shrink()
        return node

    def write(self, soul: str, cells: Mapping[str, Cell]) -> Node:
        """Set cells that are on their way to the disk; ``written`` tells how it went."""
        node = self.get(soul)
        node.writes += 1
        self._bytes -= node.cost
        for key, cell in cells.items():
            known = node.cells.get(key)
            node.size += _size(key, cell[0]) - (0 if known is None else _size(key, known[0]))
            node.cells[key] = cell
        self._bytes += node.cost
        return node

    def written(self, soul: str, stored: bool) -> None:
        """A write has ended. After a lost one the node is what the disk says."""
        node = self._nodes[soul]
        node.writes -= 1
        node.lost = node.lost or not stored
        if node.lost and not node.writes:
            self._drop(soul)

    def forget_limited(self) -> None:
        """Cells that had ended were deleted on disk."""
        for soul in [soul for soul, node in self._nodes.items() if node.limited and not node.writes]:
            self._drop(soul)

    def _drop(self, soul: str) -> None:
        self._bytes -= self._nodes.pop(soul).cost

    def _shrink(self) -> None:
        """Put out what was unused for longest; the newest stays, however large."""
        for _ in range(len(self._nodes) - 1):
            if self._bytes <= self._max_bytes:
                return
            soul, node = next(iter(self._nodes.items()))
            if node.writes:
                self._nodes.move_to_end(soul)
            else:
                self._drop(soul)


def _size(key: str, value: Any) -> int:
    return len(key) + (len(value) if isinstance(value, str) else 16)
