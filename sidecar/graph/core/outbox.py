"""Puts on their way out: sent to every relay, sent again until one acknowledges (FAULTS S15).

A put made while disconnected is lost in gun.js; here it waits. gun.js does not acknowledge what it already
has, so from the second try on the key is also asked for: reading the leaf back is as good as an ack. After
the first ack the other relays are still served for a while, since the reader may listen to those only.

An item is a leaf, which never changes, or a signed value, of which only the newest is worth sending.

On gun.js any client that a put is passed on to may answer it. So a refusal is believed when the relay, asked
for the key, does not have the item; then the tries there end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sidecar.errors import Code, UnavailableError
from sidecar.graph.core import news, wire
from sidecar.graph.core.effects import Effect, Expired, Item, Refused, Rejected, Send, Stored
from sidecar.graph.core.nodes import Cell, Graph, cell_size

FIRST_RESEND_S = 2.0
"""A gun.js relay acknowledges after 131 ms, at most 252 ms."""
MAX_RESEND_S = 60.0
COPY_FOR_S = 120.0
"""How long after the first ack the remaining relays are served: the life of a call's signal."""
SCAN_EVERY_S = 30.0
"""How late an expired or finished leaf may leave the memory."""
MAX_ITEMS = 2_000
MAX_BYTES = 8 * 1024 * 1024

SOUL_FULL = "Soul is full."
FINAL = frozenset(
    {
        SOUL_FULL,
        "Too old for this soul.",
        "Unverified data.",
        "Data hash not same as hash!",
        "Account not same!",
        "Certificate expired.",
        "Certificate verification fail.",
    }
)
"""What our relays and gun.js say when no further try can help. Other refusals pass, as a full disk does."""


class _Try:
    """One item at one relay."""

    __slots__ = ("attempts", "done", "due", "ids", "question", "refusal")

    def __init__(self, due: float, *, attempts: int) -> None:
        self.due = due
        self.attempts = attempts
        self.done = False
        """The relay has it, or never will."""
        self.refusal: str | None = None
        """Why it is not wanted there, as last heard."""
        self.question: str | None = None
        """The get that will tell whether the refusal is true."""
        self.ids: list[str] = []


class _Pending:
    __slots__ = ("item", "sent_before", "stored_at", "tries")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.sent_before = False
        self.stored_at: float | None = None
        self.tries: dict[str, _Try] = {}


class Outbox:
    """All items that at least one relay may still need. Times are monotonic seconds."""

    def __init__(self, new_id: Callable[[], str], relays: int, restored: Iterable[Item] = ()) -> None:
        self._new_id = new_id
        self._relays = relays
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._by_message: dict[str, tuple[tuple[str, str], str]] = {}
        self._up: dict[str, None] = {}  # an ordered set: simulations repeat exactly
        self._bytes = 0
        self._scan_at = float("inf")
        """No leaf needs attention before; kept as a bound, so that an ack costs no walk over the others."""
        for item in restored:
            self._insert(item).sent_before = True

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, item: Item, now: float) -> list[Effect]:
        """Take an item and send it where a connection is up; raises UnavailableError at the bound.

        It takes the place of the value put before under its key. The same once more changes nothing.
        """
        before = self._pending.get((item.soul, item.key))
        if before is not None and before.item.value == item.value:
            return [] if before.stored_at is None else [Stored(item.soul, item.key)]
        if (before is None and len(self._pending) >= MAX_ITEMS) or self._bytes + len(item.value) > MAX_BYTES:
            raise UnavailableError("the outbox is full", code=Code.RESOURCE)
        if before is not None:
            self._remove(before)
        pending = self._insert(item)
        self._scan_at = min(self._scan_at, now + SCAN_EVERY_S)
        return [effect for url in self._up for effect in self._send(pending, url, now)]

    def _insert(self, item: Item) -> _Pending:
        pending = self._pending[item.soul, item.key] = _Pending(item)
        self._bytes += cell_size(item.key, item.value)
        return pending

    def opened(self, url: str, now: float) -> list[Effect]:
        """A relay came up: it gets everything it has not acknowledged."""
        self._up[url] = None
        return [
            effect for pending in list(self._pending.values()) for effect in self._send(pending, url, now)
        ]

    def closed(self, url: str) -> None:
        self._up.pop(url, None)

    def acknowledged(self, message_id: str, err: str | None, now: float) -> list[Effect]:
        """An ack or an error for one of our puts; anything else is ignored."""
        name, url = self._by_message.get(message_id, (None, ""))
        pending = self._pending.get(name) if name else None
        if pending is None:
            return []
        if err is not None:
            return self._refused(pending, url, err)
        return self._settle(pending, url, now)

    def _refused(self, pending: _Pending, url: str, err: str) -> list[Effect]:
        item, attempt, final = pending.item, pending.tries[url], err in FINAL
        if attempt.done or (attempt.refusal == err and (not final or attempt.question in self._by_message)):
            return []
        attempt.refusal = err
        effects: list[Effect] = [Refused(url, item.soul, item.key, err, final)]
        if final:
            attempt.question = self._message(pending, url, attempt)
            effects.append(Send(url, wire.write_get(attempt.question, item.soul, item.key)))
        return effects

    def read_back(self, message_id: str, graph: Graph, now: float) -> list[Effect]:
        """An answer to our question for the key: if it holds the item, or a newer value of the same owner,
        the relay needs it no longer; if not, a refusal is true."""
        name, url = self._by_message.get(message_id, (None, ""))
        pending = self._pending.get(name) if name else None
        if pending is None:
            return []
        item = pending.item
        cell = graph.get(item.soul, {}).get(item.key)
        if cell is not None and (cell[0] == item.value or _replaces(item, cell)):
            return self._settle(pending, url, now)
        if message_id == pending.tries[url].question:
            return self._give_up(pending, url)
        return []

    def _give_up(self, pending: _Pending, url: str) -> list[Effect]:
        """The relay will never take it. When none will, the item is lost."""
        attempt = pending.tries[url]
        attempt.done = True
        self._forget_ids(attempt)
        tries = pending.tries.values()
        if pending.stored_at is not None or sum(one.done for one in tries) < self._relays:
            return []
        self._remove(pending)
        return [Rejected(pending.item.soul, pending.item.key, attempt.refusal or "")]

    def _settle(self, pending: _Pending, url: str, now: float) -> list[Effect]:
        attempt = pending.tries[url]
        attempt.done = True
        self._forget_ids(attempt)
        stored_before = pending.stored_at is not None
        if not stored_before:
            pending.stored_at = now
        if self._is_finished(pending, now):
            self._remove(pending)
        return [] if stored_before else [Stored(pending.item.soul, pending.item.key)]

    def next_deadline(self) -> float | None:
        return self._scan_at if self._pending else None

    def handle_timer(self, now: float, network_ms: float) -> list[Effect]:
        """Resend what is due, drop what every relay has and what has ended."""
        if now < self._scan_at:
            return []
        self._scan_at = now + SCAN_EVERY_S
        effects: list[Effect] = []
        for pending in list(self._pending.values()):
            if pending.item.expires_ms <= network_ms:
                self._remove(pending)
                if pending.stored_at is None:
                    effects.append(Expired(pending.item.soul, pending.item.key))
            elif self._is_finished(pending, now):
                self._remove(pending)
            else:
                effects += self._resend(pending, now)
        return effects

    def _resend(self, pending: _Pending, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for url, attempt in pending.tries.items():
            if url in self._up and not attempt.done:
                if attempt.due <= now:
                    effects += self._send(pending, url, now)
                self._scan_at = min(self._scan_at, attempt.due)
        return effects

    def _is_finished(self, pending: _Pending, now: float) -> bool:
        if pending.stored_at is None:
            return False
        done = sum(attempt.done for attempt in pending.tries.values())
        return done >= self._relays or now >= pending.stored_at + COPY_FOR_S

    def _remove(self, pending: _Pending) -> None:
        item = pending.item
        del self._pending[item.soul, item.key]
        self._bytes -= cell_size(item.key, item.value)
        for attempt in pending.tries.values():
            self._forget_ids(attempt)

    def _send(self, pending: _Pending, url: str, now: float) -> list[Effect]:
        item = pending.item
        attempt = pending.tries.setdefault(url, _Try(now, attempts=1 if pending.sent_before else 0))
        if attempt.done:
            return []
        graph: Graph = {item.soul: {item.key: (item.value, item.state)}}
        frames = [wire.write_put(self._message(pending, url, attempt), graph)]
        if attempt.attempts:
            frames.append(wire.write_get(self._message(pending, url, attempt), item.soul, item.key))
        attempt.due = now + min(MAX_RESEND_S, FIRST_RESEND_S * 2.0 ** min(attempt.attempts, 10))
        attempt.attempts += 1
        self._scan_at = min(self._scan_at, attempt.due)
        return [Send(url, frame) for frame in frames]

    def _message(self, pending: _Pending, url: str, attempt: _Try) -> str:
        message_id = self._new_id()
        attempt.ids.append(message_id)
        for old in attempt.ids[:-4]:  # acks of older tries are late beyond use
            self._by_message.pop(old, None)
        del attempt.ids[:-4]
        self._by_message[message_id] = ((pending.item.soul, pending.item.key), url)
        return message_id

    def _forget_ids(self, attempt: _Try) -> None:
        for message_id in attempt.ids:
            self._by_message.pop(message_id, None)
        attempt.ids.clear()


def _replaces(item: Item, cell: Cell) -> bool:
    value, state = cell
    return state >= item.state and news.fault(item.soul, item.key, value, state) is None
