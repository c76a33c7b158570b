"""What is new to one watch: leaves, each told once, or signed values, of which the newest counts.

Relays are not believed (DESIGN D3): a leaf carries its own hash, a value in the space ``~PUB`` the signature
of its owner over soul, key, value and state. Gun settles conflicts before it verifies and so lets an older
signed value overwrite a newer one (gun.md section 3); here nothing counts that is not verified.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from sidecar.graph.core import ham, leaves, sea
from sidecar.graph.core.nodes import Value, cell_size

FUTURE_MS = 60_000
"""How far ahead a state may lie: our relays refuse more, and it would shadow every later value."""
MAX_KEYS = 1_024
"""Keys of one signed soul. Only its owner can fill them."""


class News(Protocol):
    """What one watch has been told. What it refuses it counts."""

    def wants(self, key: str, value: Value, state: float, network_ms: float) -> bool:
        """Whether a cell would be news, should it prove genuine."""

    def take(self, key: str, value: str, state: float) -> bool:
        """A genuine cell that is wanted; False if there is no room for it."""


class NewLeaves:
    """A leaf never changes: its key is told once. A watch is cut at ``leaves.MAX_SOUL_BYTES``."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._seen: set[str] = set()
        self._size = 0

    def wants(self, key: str, value: Value, state: float, network_ms: float) -> bool:
        return key not in self._seen

    def take(self, key: str, value: str, state: float) -> bool:
        size = cell_size(key, value)
        if self._size + size > leaves.MAX_SOUL_BYTES:
            self._counters["soul-full"] += 1
            return False
        self._size += size
        self._seen.add(key)
        return True


class NewValues:
    """The newest verified value of each key, settled by HAM."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._known: dict[str, tuple[str, float]] = {}
        self._size = 0

    def wants(self, key: str, value: Value, state: float, network_ms: float) -> bool:
        if not isinstance(value, str):
            return True  # no signed value; to be counted as such
        current, current_state = self._known.get(key, (None, None))
        if current == value and current_state == state:
            return False
        verdict = ham.resolve(network_ms + FUTURE_MS, state, current_state, value, current)
        if verdict != "accept":
            self._counters["value-too-old" if verdict == "drop" else "value-from-the-future"] += 1
        return verdict == "accept"

    def take(self, key: str, value: str, state: float) -> bool:
        known = self._known.get(key)
        grows = cell_size(key, value) - (cell_size(key, known[0]) if known else 0)
        if self._size + grows > leaves.MAX_SOUL_BYTES or (known is None and len(self._known) >= MAX_KEYS):
            self._counters["soul-full"] += 1
            return False
        self._size += grows
        self._known[key] = (value, state)
        return True


def is_signed(soul: str) -> bool:
    """Whether the owner's signature rules this soul; its own hash rules every other one that is read."""
    return sea.soul_pub(soul) is not None


def fault(soul: str, key: str, value: Value, state: float) -> str | None:
    """Why a cell counts for nothing, as the name of a counter; None for a genuine one."""
    if is_signed(soul):
        return None if isinstance(value, str) and sea.verify_value(soul, key, value, state) else "not-signed"
    return None if leaves.is_leaf(key, value) else "not-a-leaf"


def plain(stored: str) -> Any:
    """The value inside the text of a verified signed cell; None is the owner's deletion."""
    return sea.parse(stored)[":"]
