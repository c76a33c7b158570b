"""ICE per connection: on the configured networks only, for a bounded time, without needless pauses.

aioice gathers on every address but the literal 127.0.0.1, process-wide, and a silent STUN or TURN server
stalls it for exactly 5 s. Its datagram queue has no bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import ifaddr
from aioice import Candidate, Connection, TransportPolicy
from aioice.ice import CandidatePair

from sidecar.media.core.addresses import IpNetwork, select_hosts

GATHER_TIMEOUT_S = 1.0
"""Three round trips of a slow link; what has answered by then is offered."""
MAX_QUEUED_DATAGRAMS = 2048
"""About two seconds of a 1.5 Mbit/s stream while the loop is stuck; beyond it the newest fall."""

_UNCHECKED = (CandidatePair.State.WAITING, CandidatePair.State.FROZEN)


class GatherConnection(Connection):
    """An ICE connection that knows which networks it may use; ``networks`` is set before gathering."""

    networks: Sequence[IpNetwork] = ()

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: float = GATHER_TIMEOUT_S
    ) -> list[Candidate]:
        """Host addresses are ours, not the library's; a relay-only connection has none."""
        if self._transport_policy == TransportPolicy.ALL:
            addresses = select_hosts(local_addresses(), self.networks)
        return await super().get_component_candidates(component, addresses, timeout)  # type: ignore[arg-type]

    def data_received(self, data: bytes, component: int) -> None:
        """A flood or a stuck loop costs packets, not memory."""
        if self._queue.qsize() < MAX_QUEUED_DATAGRAMS:
            super().data_received(data, component)

    def _check_periodic(self) -> bool:
        """The last pair's check is not followed by a pause: on one path that pause was half of ICE's time."""
        going_on = super()._check_periodic()
        if not going_on or self._remote_candidates_expected():
            return going_on
        return any(pair.task is None and pair.state in _UNCHECKED for pair in self._check_list)

    @property
    def path(self) -> tuple[str, str] | None:
        """Local and remote candidate type of the nominated pair."""
        pair = self._nominated.get(1)
        return (pair.local_candidate.type, pair.remote_candidate.type) if pair else None


def local_addresses() -> list[str]:
    """All addresses of this machine, loopback included, without IPv6 zones."""
    addresses = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if isinstance(ip.ip, str):
                addresses.append(ip.ip)
            elif ip.ip[2] == 0:
                addresses.append(ip.ip[0])
    return addresses
