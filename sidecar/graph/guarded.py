"""A served connection that is counted from its first byte and may not be flooded with control frames."""

from __future__ import annotations

import asyncio
from collections import Counter

from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, State

from sidecar.graph.admission import PING_BURST_S, Address, Admission, Bucket, ServerLimits

CLOSE_WITHIN_S = 1.0


class GuardedConnection(ServerConnection):
    """websockets answers pings by itself, whatever the rate of messages: here they have their own."""

    admission: Admission
    limits: ServerLimits
    counters: Counter[str]
    sockets: set[GuardedConnection]
    address: Address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.sockets.add(self)
        now = self.loop.time()
        peer = transport.get_extra_info("peername")
        self.address = self.admission.arrived(str(peer[0]) if peer else "", now)
        self._pings = Bucket(self.limits.pings_per_s, self.limits.pings_per_s * PING_BURST_S, now)
        if self.admission.too_many(self.address):
            self.counters["crowded-address"] += 1
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.admission.left(self.address)
        self.sockets.discard(self)
        super().connection_lost(exc)

    def process_event(self, event: Event) -> None:
        control = isinstance(event, Frame) and event.opcode in (Opcode.PING, Opcode.PONG)
        if control and self._pings.take(1, self.loop.time()) > 0:
            self._end_flood()
            return
        super().process_event(event)

    def _end_flood(self) -> None:
        """Say why, read on without looking so that it can be read, then cut."""
        if self.protocol.state is not State.OPEN:
            return
        self.counters["ping-flood"] += 1
        self.protocol.fail(CloseCode.POLICY_VIOLATION, "too many pings")
        self.send_data()
        self.loop.call_later(CLOSE_WITHIN_S, self._cut)

    def _cut(self) -> None:
        if self in self.sockets:  # a transport that was lost meanwhile may not be aborted
            self.transport.abort()


def guarded(
    admission: Admission, limits: ServerLimits, counters: Counter[str], sockets: set[GuardedConnection]
) -> type[GuardedConnection]:
    """The class of one relay's connections, which websockets makes itself; ``sockets`` holds those open."""
    members = {"admission": admission, "limits": limits, "counters": counters, "sockets": sockets}
    return type("RelayConnection", (GuardedConnection,), members)
