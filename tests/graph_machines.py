"""What the tests of the graph's machines share: seeded randomness, and a leaf."""

from __future__ import annotations

import json
import random
from typing import Any

from sidecar.graph.core import effects, leaves
from sidecar.graph.core.effects import Item

SOUL = "calls/s/abc#<?90"
NOW_MS = 1_795_340_000_000.0


class Seeded:
    """``clock.Random`` that is the same in each run."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def bytes(self, n: int) -> bytes:
        return self._random.randbytes(n)


def leaf(number: int, *, size: int = 10) -> tuple[str, str]:
    value = f"{number:0{size}}"
    return leaves.make_key(number.to_bytes(16), value), value


def item(number: int, *, soul: str = SOUL, state: float = NOW_MS) -> Item:
    key, value = leaf(number)
    return Item(soul, key, value, state, leaves.expires_ms(soul, state) or 9e15)


def node(soul: str, *cells: tuple[str, Any], state: float = NOW_MS) -> dict[str, Any]:
    """The wire form of a node whose cells all have one state."""
    return {"_": {"#": soul, ">": {key: state for key, _ in cells}}, **dict(cells)}


def put(message_id: str, soul: str, *cells: tuple[str, Any], state: float = NOW_MS, **more: Any) -> str:
    return json.dumps({"#": message_id, "put": {soul: node(soul, *cells, state=state)}, **more})


def sent(happened: list[effects.Effect], url: str | None = None) -> list[dict[str, Any]]:
    """The messages among the effects, parsed."""
    return [
        json.loads(effect.text)
        for effect in happened
        if isinstance(effect, effects.Send) and url in (None, effect.url)
    ]
