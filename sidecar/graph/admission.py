"""What connections and remote addresses may take of a relay: how many, how fast. No socket in here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address, ip_network

import msgspec

SPARE_SOCKETS = 16
"""Per address and in all: TCP connections beyond the limit that are told so; further ones are cut."""
MAX_ADDRESSES = 16_384
"""Addresses remembered after their last connection; beyond it those without one are forgotten."""
PING_BURST_S = 10.0
LOOPBACK = ("127.0.0.0/8", "::1/128")


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the sockets may cost; the rest is in ``core.router.Limits``."""

    connections: int = 4_096
    connections_per_address: int = 64
    """IPv6: of one /64, which is one customer."""
    unsent_bytes: int = 4 * 1024 * 1024
    """Queued towards a client that does not read; beyond it the connection is dropped."""
    messages_per_s: float = 2_000.0
    burst: float = 10_000.0
    """Messages above the rate before reading from the connection is slowed down."""
    messages_per_s_per_address: float = 8_000.0
    burst_per_address: float = 40_000.0
    pings_per_s: float = 10.0
    """Above it, after ``PING_BURST_S`` seconds' worth, the connection is closed."""
    handshake_s: float = 10.0
    """From the TCP connection to the end of the WebSocket's handshake."""


class Bucket:
    """Things a peer may still do; an overdrawn one says how many seconds it should be left alone."""

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._rate = per_s
        self._burst = self._tokens = burst
        self._at = now

    def take(self, count: int, now: float) -> float:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - count
        self._at = now
        return max(0.0, -self._tokens / self._rate)

    def full(self, now: float) -> bool:
        return self._tokens + (now - self._at) * self._rate >= self._burst


class Address:
    """One remote address: its open TCP connections and what all of them may still say."""

    def __init__(self, limits: ServerLimits, now: float, *, limited: bool) -> None:
        self.sockets = 0
        self._limited = limited
        self._most = limits.connections_per_address
        self._messages = Bucket(limits.messages_per_s_per_address, limits.burst_per_address, now)

    def crowded(self, spare: int = 0) -> bool:
        """It has more connections than it may have, and ``spare`` ones."""
        return self._limited and self.sockets > self._most + spare

    def take(self, messages: int, now: float) -> float:
        """Seconds for which it should not be read, after it said so much more."""
        return self._messages.take(messages, now) if self._limited else 0.0

    def settled(self, now: float) -> bool:
        """Nothing would change if it were forgotten."""
        return self.sockets == 0 and self._messages.full(now)


class Admission:
    """Counts TCP connections, also those that have not said anything yet.

    ``trusted`` are networks in CIDR form whose addresses have no limit of their own: loopback, where a
    proxy's address stands for everybody's, unless told otherwise.
    """

    def __init__(self, limits: ServerLimits, trusted: Sequence[str] = LOOPBACK) -> None:
        self._limits = limits
        self._trusted = [ip_network(network, strict=False) for network in trusted]
        self._addresses: dict[str, Address] = {}
        self._sockets = 0

    def arrived(self, host: str, now: float) -> Address:
        """A TCP connection is there; ``left`` is told when it is gone, also if it is one ``too_many``."""
        self._sockets += 1
        group = self._group(host)
        if len(self._addresses) >= MAX_ADDRESSES:
            self._forget(lambda address: address.sockets == 0)
        if group is None:
            address = Address(self._limits, now, limited=False)
        else:
            address = self._addresses.setdefault(group, Address(self._limits, now, limited=True))
        address.sockets += 1
        return address

    def left(self, address: Address) -> None:
        address.sockets -= 1
        self._sockets -= 1

    def too_many(self, address: Address) -> bool:
        """The newest connection is to be cut without a word."""
        return address.crowded(SPARE_SOCKETS) or self._sockets > self._limits.connections + SPARE_SOCKETS

    def forget_settled(self, now: float) -> None:
        """Drop what is known of addresses that are gone and owe nothing; call it every minute or so."""
        self._forget(lambda address: address.settled(now))

    def _forget(self, done: Callable[[Address], bool]) -> None:
        for group, address in list(self._addresses.items()):
            if done(address):
                del self._addresses[group]

    def _group(self, host: str) -> str | None:
        """What is limited together; None for an address that nothing is counted for."""
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return host
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        if any(address in network for network in self._trusted):
            return None
        if isinstance(address, IPv6Address):
            return str(ip_network((address, 64), strict=False))
        return str(address)
