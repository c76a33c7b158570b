"""Events to front ends: one numbered sequence, and a bounded buffer per reader.

``emit`` never waits. A reader that falls behind loses its oldest events and is told how many: ``{"gap": n}``
stands where they were. A reader that comes back names the last number it has seen (``since``) and gets what
is still kept; a gap in front says that it should take a new snapshot.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import NamedTuple

import msgspec
from msgspec import Raw

from sidecar.errors import UnavailableError
from sidecar.ipc.registry import Client

RING_EVENTS = 2048
"""Kept for readers that come back; a call makes a few dozen."""
RING_BYTES = 4 * 1024 * 1024
BUFFER_EVENTS = 512
"""Waiting for one reader, beside what its credit has let out."""
STREAMS_PER_CLIENT = 8


class _Item(msgspec.Struct, frozen=True):
    seq: int
    event: str
    data: Raw


class _Gap(msgspec.Struct, frozen=True):
    gap: int


class _Entry(NamedTuple):
    seq: int
    name: str
    item: Raw
    to: str | None
    """The one client it is for; None: everybody."""


class Subscription:
    """One reader: an asynchronous iterator of encoded items."""

    def __init__(self, hub: EventHub, client: Client, types: frozenset[str] | None, buffer: int) -> None:
        self._hub = hub
        self._types = types
        self._buffer = buffer
        self._waiting: deque[_Entry] = deque()
        self._gap = 0
        self._wakeup: asyncio.Future[None] | None = None
        self.client = client
        self.closed = False

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Raw:
        while True:
            if self._gap:
                gap, self._gap = self._gap, 0
                return self._hub.encode(_Gap(gap))
            if self._waiting:
                return self._waiting.popleft().item
            if self.closed:
                raise StopAsyncIteration
            self._wakeup = asyncio.get_running_loop().create_future()
            try:
                await self._wakeup
            finally:
                self._wakeup = None

    async def aclose(self) -> None:
        """Ends the reading; what waits is dropped."""
        self._waiting.clear()
        self.finish()

    def finish(self) -> None:
        """No further events; what waits is still read."""
        if not self.closed:
            self.closed = True
            self._hub.forget(self)
            self._wake()

    def skip(self, count: int) -> None:
        """``count`` events before the next one cannot be had any more."""
        self._gap += count

    def offer(self, entry: _Entry) -> None:
        """One event of the hub, wanted or not."""
        if self._types is not None and entry.name not in self._types:
            return
        if entry.to is not None and entry.to != self.client.id:
            return
        if len(self._waiting) >= self._buffer:
            self._waiting.popleft()
            self._gap += 1
        self._waiting.append(entry)
        self._wake()

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)


class EventHub:
    """Numbers events, keeps the last ones, hands each to every reader that wants it."""

    def __init__(
        self, *, ring_events: int = RING_EVENTS, ring_bytes: int = RING_BYTES, buffer: int = BUFFER_EVENTS
    ) -> None:
        self._ring: deque[_Entry] = deque()
        self._ring_events = ring_events
        self._ring_bytes_max = ring_bytes
        self._ring_bytes = 0
        self._buffer = buffer
        self._seq = 0
        self._readers: set[Subscription] = set()
        self._per_client: Counter[str] = Counter()
        self._encode: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode

    @property
    def seq(self) -> int:
        """Number of the last event; the first is 1."""
        return self._seq

    @property
    def readers(self) -> int:
        return len(self._readers)

    def emit(self, name: str, data: msgspec.Struct, *, to: str | None = None) -> None:
        """Tells every reader, or those of the client ``to`` alone; encoded once, now, so that later changes
        of ``data`` do not show."""
        self._seq += 1
        item = Raw(self._encode(_Item(self._seq, name, Raw(self._encode(data)))))
        entry = _Entry(self._seq, name, item, to)
        self._keep(entry)
        for reader in tuple(self._readers):
            reader.offer(entry)

    def subscribe(
        self, client: Client, types: Collection[str] | None = None, since: int | None = None
    ) -> Subscription:
        """Events from now on, or those after number ``since`` as far as they are kept.

        ``types`` names the events wanted; a gap also counts events of other types. A ``since`` that lies
        ahead is of an earlier run: everything kept follows a gap. Raises ``UnavailableError`` (resource).
        """
        if self._per_client[client.id] >= STREAMS_PER_CLIENT:
            raise UnavailableError(f"{STREAMS_PER_CLIENT} event streams of this client are open already")
        reader = Subscription(self, client, None if types is None else frozenset(types), self._buffer)
        self._readers.add(reader)
        self._per_client[client.id] += 1
        if since is not None:
            self._replay(reader, since)
        return reader

    def forget(self, reader: Subscription) -> None:
        """A reader has ended."""
        if reader in self._readers:
            self._readers.remove(reader)
            self._per_client[reader.client.id] -= 1
            if not self._per_client[reader.client.id]:
                del self._per_client[reader.client.id]

    def close(self) -> None:
        """Ends every reader after what it has waiting."""
        for reader in tuple(self._readers):
            reader.finish()

    def encode(self, value: object) -> Raw:
        """One item of ours as it travels."""
        return Raw(self._encode(value))

    def _keep(self, entry: _Entry) -> None:
        self._ring.append(entry)
        self._ring_bytes += len(bytes(entry.item))
        while len(self._ring) > self._ring_events or self._ring_bytes > self._ring_bytes_max:
            self._ring_bytes -= len(bytes(self._ring.popleft().item))

    def _replay(self, reader: Subscription, since: int) -> None:
        if since > self._seq:
            reader.skip(since - self._seq)
            since = 0
        oldest = self._ring[0].seq if self._ring else self._seq + 1
        if oldest > since + 1:
            reader.skip(oldest - since - 1)
        for entry in self._ring:
            if entry.seq > since:
                reader.offer(entry)
