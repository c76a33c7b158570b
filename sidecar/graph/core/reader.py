"""Who reads which soul: asks relays, believes none of them (DESIGN D3; FAULTS S06, S08, S19).

A watch is a plain get (which subscribes) together with ``{"=": soul}``, since a restarted gun.js answers the
plain one with new leaves only; both again after each reconnect. A read is a watch that ends when every relay
asked has answered; after the first whole answer the others have as long as their usual round trip allows, so
that a dead one is not waited for. What counts as genuine and as new is said in ``core.news``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from sidecar.errors import Code, UnavailableError
from sidecar.graph.core import news, wire
from sidecar.graph.core.effects import Effect, LeafFound, ReadDone, Send, ValueFound
from sidecar.graph.core.link import Link
from sidecar.graph.core.news import NewLeaves, News, NewValues
from sidecar.graph.core.nodes import Node

MAX_WATCHES = 4_096
QUIET_S = 0.15
"""gun.js answers a get in parts, out of order and without an end: silence for this long is the end."""


class _Watch:
    __slots__ = ("answered", "asked", "deadline", "heard_at", "loose", "news", "soul", "whole_at")

    def __init__(self, soul: str, news: News, deadline: float | None) -> None:
        self.soul = soul
        self.news = news
        self.deadline = deadline
        """When a read gives up; None for a watch."""
        self.asked: dict[str, Link] = {}
        """Gets of a read still without their last answer, by message id."""
        self.answered = False
        self.whole_at: float | None = None
        """When the first relay had answered all it was asked."""
        self.heard_at = 0.0
        self.loose = False
        """A relay without a marked end takes part."""


class Reader:
    """All watches and reads of a peer. Times are monotonic seconds."""

    def __init__(self, new_id: Callable[[], str], counters: Counter[str]) -> None:
        self._new_id = new_id
        self._counters = counters
        self._watches: dict[int, _Watch] = {}
        self._by_soul: dict[str, list[int]] = {}
        self._reads: dict[int, _Watch] = {}
        """Those among the watches that end."""
        self._asked: dict[str, _Watch] = {}
        """Which read a get belongs to, by message id: every ack is looked up here."""
        self._next = 1

    def add(
        self, soul: str, links: Iterable[Link], now: float, *, timeout_s: float | None = None
    ) -> tuple[int, list[Effect]]:
        """Start a watch, or with a timeout a read; raises UnavailableError at the bound."""
        if len(self._watches) >= MAX_WATCHES:
            raise UnavailableError("too many subscriptions", code=Code.RESOURCE)
        number, self._next = self._next, self._next + 1
        told: News = NewValues(self._counters) if news.is_signed(soul) else NewLeaves(self._counters)
        watch = self._watches[number] = _Watch(soul, told, None if timeout_s is None else now + timeout_s)
        self._by_soul.setdefault(soul, []).append(number)
        if timeout_s is not None:
            self._reads[number] = watch
        return number, [effect for link in links if link.up for effect in self._ask(watch, link)]

    def remove(self, number: int, links: Iterable[Link]) -> list[Effect]:
        """End a watch; the last one of a soul ends the subscription where the relay can."""
        watch = self._watches.pop(number, None)
        if watch is None:
            return []
        self._reads.pop(number, None)
        for message_id in watch.asked:
            del self._asked[message_id]
        others = self._by_soul[watch.soul]
        others.remove(number)
        if others:
            return []
        del self._by_soul[watch.soul]
        return [Send(link.url, wire.write_off(self._new_id(), watch.soul)) for link in links if link.up]

    def opened(self, link: Link) -> list[Effect]:
        """Ask a relay that came up for everything."""
        return [effect for watch in self._watches.values() for effect in self._ask(watch, link)]

    def closed(self, url: str) -> None:
        for watch in self._reads.values():
            for message_id in [name for name, link in watch.asked.items() if link.url == url]:
                del watch.asked[message_id], self._asked[message_id]

    def _ask(self, watch: _Watch, link: Link) -> list[Effect]:
        effects: list[Effect] = []
        for exact in (False, True):
            message_id = self._new_id()
            if watch.deadline is not None:
                watch.asked[message_id] = link
                self._asked[message_id] = watch
            effects.append(Send(link.url, wire.write_get(message_id, watch.soul, exact=exact)))
        return effects

    def heard(self, soul: str, node: Node, now: float, network_ms: float) -> list[Effect]:
        """Cells of a soul, from whatever message: keep what is genuine and new. Each is verified once."""
        effects: list[Effect] = []
        watches = [(number, self._watches[number]) for number in self._by_soul.get(soul, ())]
        for key, (value, state) in node.items() if watches else ():
            wanting = [one for one in watches if one[1].news.wants(key, value, state, network_ms)]
            reason = news.fault(soul, key, value, state) if wanting else None
            if reason is not None:
                self._counters[reason] += 1
            elif isinstance(value, str):
                taking = [number for number, watch in wanting if watch.news.take(key, value, state)]
                effects += self._tell(soul, taking, key, value, state)
        for _, watch in watches:
            watch.heard_at = now
        return effects

    @staticmethod
    def _tell(soul: str, numbers: list[int], key: str, text: str, state: float) -> Iterable[Effect]:
        if numbers and news.is_signed(soul):
            value = news.plain(text)
            return [ValueFound(number, key, value, state) for number in numbers]
        return [LeafFound(number, key, text, state) for number in numbers]

    def answered(self, message_id: str, link: Link, *, more: bool, now: float) -> None:
        """A relay answered a get; ``more`` parts follow."""
        watch = self._asked.get(message_id)
        if watch is None:
            return
        watch.answered = True
        watch.heard_at = now
        watch.loose = watch.loose or not link.aleph
        if not more:
            del watch.asked[message_id], self._asked[message_id]
        if watch.whole_at is None and link not in watch.asked.values():
            watch.whole_at = now

    def next_deadline(self) -> float | None:
        return min((self._due(watch) for watch in self._reads.values()), default=None)

    def _due(self, watch: _Watch) -> float:
        deadline = watch.deadline if watch.deadline is not None else float("inf")
        if watch.asked:
            patience = max(link.patience_s for link in watch.asked.values())
            return deadline if watch.whole_at is None else min(deadline, watch.whole_at + patience)
        if not watch.answered:
            return deadline
        return min(deadline, watch.heard_at + QUIET_S) if watch.loose else watch.heard_at

    def handle_timer(self, now: float, links: Iterable[Link]) -> list[Effect]:
        """End the reads that are complete or out of time."""
        ended = [(number, watch) for number, watch in self._reads.items() if self._due(watch) <= now]
        effects: list[Effect] = []
        for number, watch in ended:
            effects += self.remove(number, links)
            effects.append(ReadDone(number, watch.answered))
        return effects
