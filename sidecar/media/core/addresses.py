"""Which addresses may be gathered on and which a peer may name as a candidate (FAULTS M02)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from sidecar.errors import LocalError

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOOPBACK: tuple[IpNetwork, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def parse_networks(cidrs: Iterable[str]) -> tuple[IpNetwork, ...]:
    """CIDR texts as networks; LocalError names the one that is none."""
    networks = []
    for cidr in cidrs:
        try:
            networks.append(ipaddress.ip_network(cidr, strict=False))
        except ValueError:
            raise LocalError(f"media.iceInterfaces: {cidr!r} is no CIDR") from None
    return tuple(networks)


def select_hosts(addresses: Iterable[str], networks: Sequence[IpNetwork]) -> list[str]:
    """The local addresses to gather on: those inside ``networks``; without any, all but loopback."""
    chosen = []
    for text in addresses:
        address = ipaddress.ip_address(text)
        inside = any(_contains(network, address) for network in networks)
        if inside or (not networks and not address.is_loopback):
            chosen.append(text)
    return chosen


def loopback_allowed(networks: Sequence[IpNetwork]) -> bool:
    """Whether the configuration gathers on loopback, so that a peer's loopback candidate makes sense."""
    return any(
        network.version == own.version and network.overlaps(own) for network in networks for own in _LOOPBACK
    )


def candidate_allowed(text: str, *, loopback: bool) -> bool:
    """Whether a remote candidate may point at ``text``: an address literal that packets may be sent to.

    Host names (mDNS too), zones, mapped, unspecified, multicast, link-local and reserved addresses are not:
    a peer must not make us resolve names or probe a cloud's metadata service.
    """
    if "%" in text:
        return False
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.sixtofour):
        return False
    if address.is_loopback:
        return loopback
    return not (
        address.is_unspecified or address.is_multicast or address.is_link_local or address.is_reserved
    )


def _contains(network: IpNetwork, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return network.version == address.version and address in network
