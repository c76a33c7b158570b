"""What a put would change: the rules, HAM, the room of a soul (gun.md sections 3 and 8). Decisions only."""

from __future__ import annotations

import msgspec

from sidecar.graph.core import ham, leaves, rules
from sidecar.graph.core.nodes import Graph, Value, cell_size
from sidecar.graph.store import NodeStore


class RefusalError(Exception):
    """A put of which nothing may be kept; its writer is told the reason."""


class Sorted(msgspec.Struct):
    """A put after the rules and HAM. ``passed`` goes to subscribers: what is accepted and what is deferred,
    since they settle it with their own clocks."""

    accepted: Graph
    deferred: Graph
    passed: Graph
    due_ms: float = 0.0
    """When all that is deferred can be settled."""


class Intake:
    """Compares with what ``store`` has; bounds in milliseconds and bytes."""

    def __init__(self, store: NodeStore, *, future_ms: int, leaf_soul_bytes: int, soul_bytes: int) -> None:
        self._store = store
        self._future_ms = future_ms
        self._leaf_soul_bytes = leaf_soul_bytes
        self._soul_bytes = soul_bytes
        self.signatures = 0
        """How many cells needed one checked."""

    def sort(self, graph: Graph, now_ms: float) -> Sorted:
        """Raises RefusalError if any cell must not be kept."""
        put = Sorted({}, {}, {})
        ended = 0
        for soul, node in graph.items():
            for key, (value, state) in node.items():
                if leaves.is_expired(soul, state, now_ms):
                    ended += 1
                    continue
                verdict = self._judge(soul, key, value, state, now_ms)
                if verdict == "drop":
                    continue
                put.passed.setdefault(soul, {})[key] = (value, state)
                target = put.accepted if verdict == "accept" else put.deferred
                target.setdefault(soul, {})[key] = (value, state)
                if verdict == "defer":
                    put.due_ms = max(put.due_ms, state)
        if ended and not put.accepted and not put.deferred:
            raise RefusalError("Too old for this soul.")
        return put

    def settle(self, graph: Graph, now_ms: float) -> Graph:
        """What a deferred put changes now that it is due. It has been judged and acknowledged: HAM alone
        decides."""
        changes: Graph = {}
        for soul, node in graph.items():
            for key, (value, state) in node.items():
                known, known_state = self._store.read_cell(soul, key) or (None, None)
                wins = ham.resolve(now_ms, state, known_state, value, known) == "accept"
                if wins and not leaves.is_expired(soul, state, now_ms):
                    changes.setdefault(soul, {})[key] = (value, state)
        return changes

    def _judge(self, soul: str, key: str, value: Value, state: float, now_ms: float) -> ham.Verdict:
        current = self._store.read_cell(soul, key)
        if current == (value, state) and type(current[0]) is type(value):
            return "drop"
        self.signatures += "~" in soul
        reason = rules.refusal(soul, key, value, state, self._store.read_cell)
        if reason is not None:
            raise RefusalError(reason)
        known, known_state = current if current is not None else (None, None)
        verdict = ham.resolve(now_ms, state, known_state, value, known)
        if verdict == "defer" and state > now_ms + self._future_ms:
            raise RefusalError("State is too far in the future.")
        if verdict != "drop":
            self._check_room(soul, key, value, known)
        return verdict

    def _check_room(self, soul: str, key: str, value: Value, known: Value) -> None:
        """A full soul takes no new leaf; what it holds is never pushed out."""
        cap = self._leaf_soul_bytes if leaves.is_leaf_soul(soul) else self._soul_bytes
        grows = cell_size(key, value) - (0 if known is None else cell_size(key, known))
        if grows > 0 and self._store.size(soul) + grows > cap:
            raise RefusalError("Soul is full.")
