"""The Gun peer as a machine: several relays at once, an outbox, watches and reads; no socket, clock or task.

Calls report what happened (``opened``, ``received``, ``closed``, ``ponged``) or what is wanted (``put``,
``watch``, ``read``, ``wake``); ``take`` drains what is to be done, in order. ``now`` is monotonic seconds,
``network_ms`` the time on the relays' clocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sidecar.clock import Random
from sidecar.errors import RemoteError
from sidecar.graph.core import wire
from sidecar.graph.core.effects import Effect, Item, Send
from sidecar.graph.core.link import Link
from sidecar.graph.core.outbox import Outbox
from sidecar.graph.core.reader import Reader
from sidecar.graph.core.renewal import Renewal

MAX_FRAME = 4 * 1024 * 1024
"""A gun.js relay answers a whole soul in one frame; souls of ours stay under 512 KiB."""


class Peer:
    """One node's presence on its relays."""

    def __init__(self, urls: Sequence[str], random: Random, restored: Iterable[Item] = ()) -> None:
        self.counters: Counter[str] = Counter()
        """What was dropped, by reason."""
        self._random = random
        self._pid = self._new_id()
        self._links = {url: Link(url, random) for url in urls}
        self._renewals = {url: Renewal(url, random) for url in urls}
        self._kept_close = False
        self._outbox = Outbox(self._new_id, len(self._links), restored)
        self._reader = Reader(self._new_id, self.counters)
        self._effects: list[Effect] = []

    @property
    def links(self) -> list[Link]:
        return list(self._links.values())

    def take(self) -> list[Effect]:
        """Everything to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def _new_id(self) -> str:
        return wire.make_id(self._random.bytes(12))

    # What is wanted

    def put(self, item: Item, now: float) -> None:
        """Send an item until a relay has it; raises UnavailableError when the outbox is full."""
        self._effects += self._outbox.add(item, now)

    def watch(self, soul: str, now: float) -> int:
        """Be told each leaf of a soul, those of the past included; of a signed soul each newer value."""
        number, effects = self._reader.add(soul, self.links, now)
        self._effects += effects
        return number

    def read(self, soul: str, timeout_s: float, now: float) -> int:
        """As watch, ending with ReadDone once every connected relay has answered."""
        number, effects = self._reader.add(soul, self.links, now, timeout_s=timeout_s)
        self._effects += effects
        return number

    def stop_watching(self, number: int) -> None:
        """End a watch or read; a number that ended already is ignored."""
        self._effects += self._reader.remove(number, self.links)

    def wake(self, now: float) -> None:
        """Somebody needs the graph now."""
        for link in self.links:
            self._effects += link.wake(now)

    def keep_close(self, close: bool, now: float) -> None:
        """Whether a call lives: its relays are watched more closely and not exchanged (DESIGN D5)."""
        self._kept_close = close
        for link in self.links:
            link.keep_close(close, now)

    def slept(self, now: float) -> None:
        """The machine or the process stood still: every relay is probed and asked for everything again."""
        for link in self.links:
            self._effects += link.probe(now)
            if link.up:
                self._effects += self._reader.opened(link)

    def ranked(self, now: float) -> list[Link]:
        """The relays, the best first."""
        return sorted(self.links, key=lambda link: link.rank(now))

    # What happened

    def opened(self, url: str, now: float) -> None:
        link = self._links[url]
        effects = link.opened(now)
        if effects:
            self._renewals[url].opened(now)
            self._effects += effects
            self._speak(link, now)

    def renewed(self, url: str, now: float) -> None:
        """The second connection that was asked for is the current one: under a new name it asks for what is
        wanted now, and the outbox is sent again."""
        link = self._links[url]
        if link.up and self._renewals[url].renewed(now):
            self._pid = self._new_id()
            self._effects += link.replaced(now)
            self._speak(link, now)

    def not_renewed(self, url: str, now: float) -> None:
        """The second connection could not be made."""
        self._renewals[url].failed(now)

    def _speak(self, link: Link, now: float) -> None:
        self._effects += self._reader.opened(link)
        self._effects += self._outbox.opened(link.url, now)

    def closed(self, url: str, cause: str, now: float) -> None:
        self._effects += self._links[url].closed(cause, now)
        self._down(url)

    def _down(self, url: str) -> None:
        self._effects += self._renewals[url].closed()
        self._outbox.closed(url)
        self._reader.closed(url)

    def ponged(self, url: str, now: float) -> None:
        self._links[url].ponged(now)

    def received(self, url: str, text: str | bytes, now: float, network_ms: float) -> None:
        """A frame from a relay; what cannot be used is counted."""
        try:
            raws = wire.read_frame(text, max_bytes=MAX_FRAME)
        except RemoteError as error:
            self.counters[error.reason] += 1
            return
        for raw in raws:
            try:
                self._handle(self._links[url], wire.read_message(raw, salvage=True), now, network_ms)
            except RemoteError as error:
                self.counters[error.reason] += 1

    def _handle(self, link: Link, message: wire.Message, now: float, network_ms: float) -> None:
        if message.dam is not None:
            self._handshake(link, message)
            return
        for soul, node in (message.put or {}).items():
            self._effects += self._reader.heard(soul, node, now, network_ms)
        if message.at is None:
            return
        if message.err is not None or message.ok is not None:
            self._effects += self._outbox.acknowledged(message.at, message.err, now)
        else:
            self._effects += self._outbox.read_back(message.at, message.put or {}, now)
        self._reader.answered(message.at, link, more=message.more, now=now)

    def _handshake(self, link: Link, message: wire.Message) -> None:
        if message.dam != "?":
            return
        link.aleph = link.aleph or message.aleph
        if message.at is None:
            self._effects.append(
                Send(link.url, wire.write_hello(self._new_id(), self._pid, at=message.id, aleph=True))
            )

    # Time

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` wants to be called."""
        deadlines = [link.next_deadline() for link in self.links]
        deadlines += [
            self._renewals[link.url].next_deadline(allowed=self._may_renew(link)) for link in self.links
        ]
        deadlines += [self._outbox.next_deadline(), self._reader.next_deadline()]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timer(self, now: float, network_ms: float) -> None:
        for link in self.links:
            was_up = link.up
            self._effects += link.handle_timer(now)
            if was_up and not link.up:
                self._down(link.url)
            renewal = self._renewals[link.url]
            self._effects += renewal.handle_timer(now, allowed=self._may_renew(link))
        self._effects += self._outbox.handle_timer(now, network_ms)
        self._effects += self._reader.handle_timer(now, self.links)

    def _may_renew(self, link: Link) -> bool:
        """Only what has no way to end subscriptions is renewed, and never during a call."""
        return link.up and not link.aleph and not self._kept_close
