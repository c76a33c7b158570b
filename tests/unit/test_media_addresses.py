"""Which local addresses are gathered, which remote ones may be named."""

from __future__ import annotations

import pytest

from sidecar.errors import LocalError
from sidecar.media.core.addresses import (
    candidate_allowed,
    loopback_allowed,
    parse_networks,
    select_hosts,
)

HOSTS = ["127.0.0.1", "::1", "192.0.2.2", "10.1.2.3", "fd00::2"]


@pytest.mark.parametrize(
    ("cidrs", "chosen"),
    [
        ([], ["192.0.2.2", "10.1.2.3", "fd00::2"]),
        (["127.0.0.0/8"], ["127.0.0.1"]),
        (["10.0.0.0/8", "::1/128"], ["::1", "10.1.2.3"]),
        (["10.1.2.3"], ["10.1.2.3"]),
        (["0.0.0.0/0"], ["127.0.0.1", "192.0.2.2", "10.1.2.3"]),
        (["198.51.100.0/24"], []),
    ],
)
def test_only_configured_networks_are_gathered_on(cidrs: list[str], chosen: list[str]) -> None:
    assert select_hosts(HOSTS, parse_networks(cidrs)) == chosen


def test_nonsense_is_named() -> None:
    with pytest.raises(LocalError, match="is no CIDR"):
        parse_networks(["10.0.0.0/99"])


@pytest.mark.parametrize(
    ("cidrs", "allowed"),
    [
        ([], False),
        (["127.0.0.0/8"], True),
        (["::1/128"], True),
        (["10.0.0.0/8"], False),
        (["0.0.0.0/0"], True),
    ],
)
def test_loopback_candidates_make_sense_only_on_loopback(cidrs: list[str], allowed: bool) -> None:
    assert loopback_allowed(parse_networks(cidrs)) is allowed


@pytest.mark.parametrize(
    "address", ["192.0.2.1", "10.0.0.1", "192.168.1.1", "100.64.0.1", "2001:db8::1", "fd00::1"]
)
def test_addresses_of_networks_are_allowed(address: str) -> None:
    assert candidate_allowed(address, loopback=False)
