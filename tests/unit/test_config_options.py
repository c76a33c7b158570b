"""The configuration: defaults, upstream's shape, and errors that name the field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sidecar import config
from sidecar.app.relay_node import RelayOptions, relay_config
from sidecar.config import ConfigError, IceServerConfig, Section, resolve
from sidecar.graph.admission import ServerLimits
from sidecar.graph.core.router import Limits

SAMPLE = Path(__file__).resolve().parents[2] / "docs" / "config-sample.jsonc"


def sample() -> dict[str, Any]:
    """The sample file without its comments: they stand alone on their lines."""
    text = "\n".join(line for line in SAMPLE.read_text().splitlines() if not line.strip().startswith("//"))
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


def members(document: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in document.items():
        dotted = f"{path}.{name}" if path else name
        if isinstance(value, Mapping) and dotted != "social":
            yield from members(value, dotted)
        else:
            yield dotted


def test_the_sample_file_states_every_default() -> None:
    assert resolve(sample()) == resolve({})


def test_the_sample_file_lists_exactly_the_options_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()

    class Watched(Mapping[str, Any]):
        def __init__(self, inner: Mapping[str, Any], path: str) -> None:
            self.inner, self.path = inner, path

        def __getitem__(self, name: str) -> Any:
            dotted = f"{self.path}.{name}" if self.path else name
            value = self.inner[name]
            if isinstance(value, Mapping) and dotted != "social":
                return Watched(value, dotted)
            read.add(dotted)
            return value

        def __iter__(self) -> Iterator[str]:
            return iter(self.inner)

        def __len__(self) -> int:
            return len(self.inner)

        def get(self, name: str, default: Any = None) -> Any:
            dotted = f"{self.path}.{name}" if self.path else name
            if name not in self.inner:
                read.add(dotted)
                return default
            return self[name]

    resolve(Watched(sample(), ""))
    assert read == set(members(sample()))


def test_each_option_of_the_sample_is_explained() -> None:
    comments = re.findall(r"//", SAMPLE.read_text())
    assert len(comments) > 10


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "config"),
        ({"network": []}, "network"),
        ({"network": {"peers": "ws://a"}}, "network.peers"),
        ({"network": {"peers": [1]}}, "network.peers[0]"),
        ({"network": {"peers": ["http://a", "ftp://a"]}}, "network.peers[1]"),
        ({"network": {"peers": ["http://"]}}, "network.peers[0]"),
        ({"network": {"iceServers": [{}]}}, "network.iceServers[0].urls"),
        ({"network": {"iceServers": [{"urls": ["http://a"]}]}}, "network.iceServers[0].urls[0]"),
        ({"network": {"iceServers": [{"urls": "stun:a", "username": 1}]}}, "network.iceServers[0].username"),
        ({"network": {"relay": {"port": "8765"}}}, "network.relay.port"),
        ({"network": {"relay": {"port": 70000}}}, "network.relay.port"),
        ({"network": {"relay": {"port": 1.5}}}, "network.relay.port"),
        ({"network": {"relay": {"port": True}}}, "network.relay.port"),
        ({"network": {"relay": {"path": "gun"}}}, "network.relay.path"),
        ({"network": {"relay": {"path": "/a b"}}}, "network.relay.path"),
        ({"network": {"relay": {"path": "/gun?x"}}}, "network.relay.path"),
        ({"network": {"relay": {"path": "/healthz"}}}, "network.relay.path"),
        ({"network": {"relay": {"peers": ["http://[::1/gun"]}}}, "network.relay.peers[0]"),
        ({"network": {"relay": {"limits": {"frameBytes": 1}}}}, "network.relay.limits.frameBytes"),
        ({"network": {"relay": {"limits": {"frameByte": 5000}}}}, "network.relay.limits.frameByte"),
        ({"network": {"caFile": ""}}, "network.caFile"),
        ({"network": {"relay": {"peers": ["ftp://a"]}}}, "network.relay.peers[0]"),
        ({"network": {"relay": {"certFile": "a"}}}, "network.relay.keyFile"),
        ({"network": {"relay": {"keyFile": "a"}}}, "network.relay.certFile"),
        ({"network": {"relay": {"adminPort": -1}}}, "network.relay.adminPort"),
        ({"network": {"relay": {"trustedAddresses": ["10.0.0.0/99"]}}}, "network.relay.trustedAddresses[0]"),
        ({"network": {"relay": {"limits": {"connections": 0}}}}, "network.relay.limits.connections"),
        ({"network": {"relay": {"limits": {"burst": "many"}}}}, "network.relay.limits.burst"),
        ({"media": {"process": "thread"}}, "media.process"),
        ({"media": {"iceInterfaces": ["10.0.0.0/99"]}}, "media.iceInterfaces[0]"),
        ({"media": {"fileFolders": ["relative"]}}, "media.fileFolders[0]"),
        ({"media": {"camera": 3}}, "media.camera"),
        ({"calls": {"ringTimeoutSeconds": 14}}, "calls.ringTimeoutSeconds"),
        ({"calls": {"ringTimeoutSeconds": float("nan")}}, "calls.ringTimeoutSeconds"),
        ({"calls": {"strangersRing": "yes"}}, "calls.strangersRing"),
        ({"logging": {"level": "loud"}}, "logging.level"),
        ({"social": []}, "social"),
    ],
)
def test_what_cannot_be_used_is_named(document: Any, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(document)
    assert caught.value.details == {"field": field}
    assert field in str(caught.value)


def test_members_of_upstream_that_are_not_ours_are_left_alone() -> None:
    upstream = {
        "network": {
            "peers": ["http://localhost:8765/gun"],
            "bootstrapUrl": "https://x",
            "heartbeatIntervalMs": 1,
        },
        "turn": {"enabled": True, "authMechanism": "long-term"},
        "ai": {"provider": "x"},
        "logging": {"level": "debug", "file": None},
    }
    resolved = resolve(upstream)
    assert resolved.network.peers == ("http://localhost:8765/gun",)
    assert resolved.log_level == "debug"


def test_values_arrive_where_they_belong() -> None:
    resolved = resolve(
        {
            "network": {"iceServers": [{"urls": ["stun:a:1", "turn:b"], "username": "u", "credential": "c"}]},
            "media": {
                "process": "inline",
                "iceInterfaces": ["127.0.0.0/8"],
                "fileFolders": ["/srv", "C:\\x"],
            },
            "calls": {"ringTimeoutSeconds": 15, "strangersRing": True},
            "social": {"friends": []},
        }
    )
    assert resolved.network.ice_servers == (IceServerConfig(("stun:a:1", "turn:b"), "u", "c"),)
    assert resolved.media.process == "inline"
    assert resolved.media.file_folders == ("/srv", "C:\\x")
    assert resolved.calls.ring_timeout_s == 15
    assert resolved.calls.strangers_ring
    assert resolved.social == {"friends": []}


def test_null_means_the_default() -> None:
    assert resolve({"network": None, "media": {"camera": None}, "social": None}) == resolve(None)


def test_every_value_is_frozen() -> None:
    with pytest.raises(AttributeError):
        resolve({}).media.process = "inline"  # type: ignore[misc]  # the point of the test


def test_a_section_names_its_members() -> None:
    assert Section({}, "").name("a") == "a"
    assert Section({}, "a.b").name("c") == "a.b.c"
    assert config.peer_url("wss://relay.example/gun", "x") == "wss://relay.example/gun"


def test_the_limits_of_a_relay_are_those_of_its_parts() -> None:
    """``config`` is below the graph, so it spells the defaults again."""
    parts = {
        name: getattr(part, name) for part in (Limits(), ServerLimits()) for name in part.__struct_fields__
    }
    assert resolve({}).relay.limits._asdict() == parts


def test_a_relays_limits_and_addresses_arrive() -> None:
    asked: dict[str, Any] = {
        "limits": {"connectionsPerAddress": 3, "burst": 7.5},
        "trustedAddresses": [],
        "adminPort": 0,
    }
    asked["cacheMb"] = 1.5
    relay = resolve({"network": {"relay": asked}}).relay
    assert (relay.limits.connections_per_address, relay.limits.burst) == (3, 7.5)
    assert relay.trusted_addresses == ()
    assert relay.admin_port == 0
    config = relay_config(RelayOptions(relay, "/data"), "/data")
    assert config.server_limits.connections_per_address == 3
    assert config.limits == Limits()
    assert config.cache_bytes == 1_500_000
