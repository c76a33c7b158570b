"""HAM, Gun's conflict resolution for one key of one node (gun.md section 3)."""

from __future__ import annotations

from typing import Any, Literal

from sidecar.graph.core import jsjson

Verdict = Literal["accept", "drop", "defer"]


def resolve(
    now_ms: float, incoming_state: float, current_state: float | None, incoming: Any, current: Any
) -> Verdict:
    """Decide about a write by its state (milliseconds) against the known one, None when there is none.

    ``defer``: the state lies in the future; ask again when it is due. Equal states are settled by comparing
    the JSON texts as UTF-16 strings, so that every peer keeps the same value whatever came first.
    """
    if incoming_state > now_ms:
        return "defer"
    if current_state is None or incoming_state > current_state:
        return "accept"
    if incoming_state < current_state:
        return "drop"
    wins = jsjson.utf16(jsjson.stringify(incoming)) > jsjson.utf16(jsjson.stringify(current))
    return "accept" if wins else "drop"
