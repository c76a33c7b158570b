"""Upstream's mirror of a user's own calls, ``~user.calls.<callId>.state`` (DESIGN D3), where it is asked for.

The word is encrypted to the user itself, but that there is a call, its id and its times stand in the open
beside the user's SEA key: so it is off by default.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from sidecar.app.services.errands import Errands
from sidecar.clock import Random
from sidecar.graph.core import sea
from sidecar.log import Logger
from sidecar.schema import CallState, CallStateChange

WORDS = {
    CallState.INITIATING: "ringing",
    CallState.RINGING: "ringing",
    CallState.CONNECTING: "ringing",
    CallState.ACTIVE: "active",
    CallState.ON_HOLD: "active",
    CallState.ENDED: "ended",
    CallState.FAILED: "ended",
}
"""The seed's three."""
CALLS_MAX = 256
"""Calls whose word is kept in mind."""
PUT_WITHIN_S = 8.0


class Graph(Protocol):
    """What the mirror uses of the graph."""

    async def put_value(
        self, soul: str, key: str, value: Any, pair: Mapping[str, str], *, timeout_s: float
    ) -> None: ...


class Hub(Protocol):
    """Where events for front ends go."""

    def emit(self, name: str, data: msgspec.Struct, *, to: str | None = None) -> None: ...


class MirroringHub:
    """Passes events on, and writes the states of calls into the space of the user's SEA ``pair``."""

    def __init__(self, hub: Hub, graph: Graph, pair: Mapping[str, str], random: Random, log: Logger) -> None:
        self._hub = hub
        self._graph = graph
        self._pair = pair
        self._random = random
        self._errands = Errands(log)
        self._words: OrderedDict[str, str] = OrderedDict()

    def emit(self, name: str, data: msgspec.Struct, *, to: str | None = None) -> None:
        """Tells front ends first."""
        self._hub.emit(name, data, to=to)
        if isinstance(data, CallStateChange):
            self._follow(data.call_id, WORDS[data.state])

    def _follow(self, call_id: str, word: str) -> None:
        """A call that ends as the first we hear of it was never ours: a stranger's that nobody took."""
        before = self._words.get(call_id)
        if word == before or (before is None and word == "ended"):
            return
        self._words[call_id] = word
        self._words.move_to_end(call_id)
        if len(self._words) > CALLS_MAX:
            self._words.popitem(last=False)
        user = f"~{self._pair['pub']}"
        if before is None:
            self._put(user, "calls", {"#": f"{user}/calls"})
            self._put(f"{user}/calls", call_id, {"#": f"{user}/calls/{call_id}"})
        box = sea.encrypt(word, self._pair["epriv"], random=self._random)
        self._put(f"{user}/calls/{call_id}", "state", box)

    def _put(self, soul: str, key: str, value: Any) -> None:
        self._errands.run(self._graph.put_value(soul, key, value, self._pair, timeout_s=PUT_WITHIN_S))


def mirrored(hub: Hub, graph: Graph, pair: Mapping[str, str] | None, *, random: Random, log: Logger) -> Hub:
    """The hub with a mirror; an identity without a SEA pair has no space for one."""
    if pair is None:
        log.warning("the identity has no SEA pair: the states of calls are not mirrored")
        return hub
    return MirroringHub(hub, graph, pair, random, log)
