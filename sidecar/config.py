"""Configuration: one frozen value per subsystem, resolved once at start from JSON in upstream's shape.

Unknown members are left alone (upstream's own file is merged over defaults and carries many), a member of the
wrong type or outside its range is a ``ConfigError`` that names it. ``docs/config-sample.jsonc`` lists every
option with its default. Named tuples, because ``dataclasses`` and ``msgspec`` are not loaded before the ready
line (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sidecar.errors import LocalError
from sidecar.log import LEVELS


class ConfigError(LocalError):
    """An option that cannot be used; ``details.field`` is its dotted name."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}", details={"field": field})


class IceServerConfig(NamedTuple):
    """One STUN or TURN server as an RTCIceServer names it."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None


class NetworkConfig(NamedTuple):
    """Where the graph is, and which servers help with NAT."""

    peers: tuple[str, ...] = ()
    """Gun relays, ``http(s)://`` as upstream writes them or ``ws(s)://``."""
    ice_servers: tuple[IceServerConfig, ...] = ()
    ca_file: str | None = None
    """PEM file of authorities that may vouch for wss relays, beside the system's."""


class RelayLimits(NamedTuple):
    """What the relay's connections, addresses and souls may cost."""

    frame_bytes: int = 1024 * 1024
    subscriptions: int = 10_000
    """Of one connection."""
    subscriptions_total: int = 1_000_000
    future_ms: int = 300_000
    """How far in the future a state may lie."""
    deferred: int = 10_000
    """Puts kept until their state is due."""
    unwritten_bytes: int = 64 * 1024 * 1024
    """Waiting for the disk, before puts are refused."""
    leaf_soul_bytes: int = 512 * 1024
    soul_bytes: int = 8 * 1024 * 1024
    reply_bytes: int = 64 * 1024
    """About the size of one part of an answer."""
    connections: int = 4_096
    connections_per_address: int = 64
    unsent_bytes: int = 4 * 1024 * 1024
    """Queued towards a client that does not read, before it is dropped."""
    messages_per_s: float = 2_000.0
    burst: float = 10_000.0
    messages_per_s_per_address: float = 8_000.0
    burst_per_address: float = 40_000.0
    pings_per_s: float = 10.0
    """Above it a connection is closed; a burst of ten times as many is let through."""
    handshake_s: float = 10.0


class RelayConfig(NamedTuple):
    """What ``aleph-sidecar relay`` serves."""

    host: str = "0.0.0.0"  # a relay is there for others
    port: int = 8765
    """0: any free port, named in the ready line."""
    path: str = "/gun"
    peers: tuple[str, ...] = ()
    """Relays that are connected to, and share what they hear with this one."""
    cert_file: str | None = None
    key_file: str | None = None
    """PEM; with both the port speaks TLS."""
    admin_port: int | None = None
    """Loopback port of ``/metrics``; 0: any free port, None: not served."""
    cache_mb: float = 32.0
    """Memory for nodes of the graph; a MB is 1,000,000 bytes."""
    trusted_addresses: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks whose addresses count for no limit per address: a proxy's, which stands for everybody."""
    limits: RelayLimits = RelayLimits()


class MediaConfig(NamedTuple):
    """Which process holds the media, what it may touch and what a call sends unless told otherwise."""

    process: str = "child"
    """``child`` or ``inline`` (DESIGN D11)."""
    ice_interfaces: tuple[str, ...] = ()
    """Networks in CIDR form that may be gathered on; none named means all but loopback."""
    file_folders: tuple[str, ...] = ()
    """Absolute folders that ``file:`` sources may be under."""
    camera: str = "null:"
    """What a video call starts with: ``pattern:``, ``file:<path>``, or ``null:`` for black."""
    microphone: str = "null:"
    """What a call starts with: ``tone:``, ``file:<path>``, ``pulse:<name>``, or ``null:`` for silence."""
    display: str | None = None
    """X display whose screens can be shared; None means that of the environment."""


class CallsConfig(NamedTuple):
    """Timers of calls, in seconds (FAULTS section 1)."""

    ring_timeout_s: float = 60.0
    connect_timeout_s: float = 15.0
    """From accept to the first connection; a candidate that needs TURN gets twice as long."""
    suspect_s: float = 2.5
    reconnecting_s: float = 5.0
    lost_s: float = 30.0
    strangers_ring: bool = False
    """Whether the calls of strangers ring, all of them at most 3 a minute and 10 an hour (DESIGN D8)."""
    mirror_state: bool = False
    """Whether the states of our calls are written to ``~user.calls``, encrypted to ourselves (DESIGN D3)."""


class Config(NamedTuple):
    """The whole configuration of a node."""

    network: NetworkConfig
    relay: RelayConfig
    media: MediaConfig
    calls: CallsConfig
    log_level: str
    social: Mapping[str, Any]
    """The object ``social:sync`` takes; the contact book checks it."""


def resolve(document: Any) -> Config:
    """The configuration a JSON document asks for; what it does not say takes its default.

    Raises ``ConfigError`` naming the first field that cannot be used.
    """
    root = Section(document, "")
    return Config(
        network=_network(root.section("network")),
        relay=_relay(root.section("network").section("relay")),
        media=_media(root.section("media")),
        calls=_calls(root.section("calls")),
        log_level=root.section("logging").choice("level", tuple(LEVELS), "info"),
        social=root.section("social").members,
    )


def peer_url(value: str, field: str) -> str:
    """``value`` if it is the URL of a Gun relay."""
    from urllib.parse import urlsplit  # only where a relay is named: it costs time before the ready line

    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable:
        raise ConfigError(field, "not an http, https, ws or wss URL")
    return value


class Section:
    """One object of the document, read by typed accessors; ``path`` is its dotted name."""

    __slots__ = ("members", "path")

    def __init__(self, value: Any, path: str) -> None:
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise ConfigError(path or "config", "not an object")
        self.members: Mapping[str, Any] = value
        self.path = path

    def name(self, member: str) -> str:
        return f"{self.path}.{member}" if self.path else member

    def section(self, member: str) -> Section:
        return Section(self.members.get(member), self.name(member))

    def text(self, member: str) -> str | None:
        """A non-empty string, or None when it is absent or null."""
        value = self.members.get(member)
        if value is not None and (not isinstance(value, str) or not value):
            raise ConfigError(self.name(member), "not a string with text in it")
        return value

    def choice(self, member: str, options: tuple[str, ...], default: str) -> str:
        value = self.text(member)
        if value is not None and value not in options:
            raise ConfigError(self.name(member), "not one of " + ", ".join(options))
        return value or default

    def number(self, member: str, default: float, low: float, high: float) -> float:
        value = self.members.get(member, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(self.name(member), "not a number")
        if not low <= value <= high:
            raise ConfigError(self.name(member), f"not from {low:g} to {high:g}")
        return value

    def integer(self, member: str, default: int, low: int, high: int) -> int:
        value = self.number(member, default, low, high)
        if value != int(value):
            raise ConfigError(self.name(member), "not a whole number")
        return int(value)

    def optional_integer(self, member: str, low: int, high: int) -> int | None:
        """A whole number, or None when it is absent or null."""
        return self.integer(member, low, low, high) if self.has(member) else None

    def flag(self, member: str) -> bool | None:
        """None where it is absent."""
        value = self.members.get(member)
        if value is not None and not isinstance(value, bool):
            raise ConfigError(self.name(member), "neither true nor false")
        return value

    def only(self, *members: str) -> None:
        """A misspelled limit would silently be none."""
        for member in self.members:
            if member not in members:
                raise ConfigError(self.name(str(member)), "unknown")

    def has(self, member: str) -> bool:
        return self.members.get(member) is not None

    def items(self, member: str) -> list[tuple[str, Any]]:
        """(dotted name, value) of each item of a list; a missing one is empty."""
        value = self.members.get(member)
        if value is None:
            return []
        if not isinstance(value, (list, tuple)):
            raise ConfigError(self.name(member), "not a list")
        return [(f"{self.name(member)}[{index}]", item) for index, item in enumerate(value)]

    def texts(self, member: str, check: Callable[[str, str], str]) -> tuple[str, ...]:
        """A list of strings, each passed through ``check(value, dotted name)``."""
        return tuple(check(_text(item, name), name) for name, item in self.items(member))


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(field, "not a string with text in it")
    return value


def _network(section: Section) -> NetworkConfig:
    return NetworkConfig(
        peers=section.texts("peers", peer_url),
        ice_servers=tuple(_ice_server(Section(item, name)) for name, item in section.items("iceServers")),
        ca_file=section.text("caFile"),
    )


def _ice_server(section: Section) -> IceServerConfig:
    urls = section.members.get("urls")
    one_or_more = Section({"urls": [urls] if isinstance(urls, str) else urls}, section.path)
    checked = one_or_more.texts("urls", _ice_url)
    if not checked:
        raise ConfigError(section.name("urls"), "missing")
    return IceServerConfig(checked, section.text("username"), section.text("credential"))


def _ice_url(value: str, field: str) -> str:
    if value.partition(":")[0] not in ("stun", "stuns", "turn", "turns"):
        raise ConfigError(field, "not a stun, stuns, turn or turns URL")
    return value


def _relay(section: Section) -> RelayConfig:
    default = RelayConfig()
    path = section.text("path") or default.path
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or set(path) & set(" ?#%"):
        raise ConfigError(section.name("path"), "not / and plain characters of a URL's path")
    if path in ("/healthz", "/.well-known/aleph-relay"):
        raise ConfigError(section.name("path"), "served already")
    cert_file, key_file = section.text("certFile"), section.text("keyFile")
    if (cert_file is None) != (key_file is None):
        raise ConfigError(section.name("keyFile" if key_file is None else "certFile"), "missing")
    trusted = section.texts("trustedAddresses", _cidr)
    return RelayConfig(
        host=section.text("host") or default.host,
        port=section.integer("port", default.port, 0, 65535),
        path=path,
        peers=section.texts("peers", peer_url),
        cert_file=cert_file,
        key_file=key_file,
        admin_port=section.optional_integer("adminPort", 0, 65535),
        cache_mb=section.number("cacheMb", default.cache_mb, 0.1, 1e6),
        trusted_addresses=trusted if section.has("trustedAddresses") else default.trusted_addresses,
        limits=_relay_limits(section.section("limits")),
    )


def _relay_limits(section: Section) -> RelayLimits:
    default = RelayLimits()
    section.only(*_WHOLE_LIMITS.values(), *_RATE_LIMITS.values())
    whole = {
        name: section.integer(member, getattr(default, name), _LEAST.get(name, 1), 2**40)
        for name, member in _WHOLE_LIMITS.items()
    }
    rates = {
        name: section.number(member, getattr(default, name), 0.001, 1e9)
        for name, member in _RATE_LIMITS.items()
    }
    return RelayLimits(**whole, **rates)  # type: ignore[arg-type]  # the tables name each field once


_WHOLE_LIMITS = {
    "frame_bytes": "frameBytes",
    "subscriptions": "subscriptions",
    "subscriptions_total": "subscriptionsTotal",
    "future_ms": "futureMs",
    "deferred": "deferred",
    "unwritten_bytes": "unwrittenBytes",
    "leaf_soul_bytes": "leafSoulBytes",
    "soul_bytes": "soulBytes",
    "reply_bytes": "replyBytes",
    "connections": "connections",
    "connections_per_address": "connectionsPerAddress",
    "unsent_bytes": "unsentBytes",
}
_LEAST = {"frame_bytes": 1024, "soul_bytes": 1024, "leaf_soul_bytes": 1024, "reply_bytes": 1024}
"""With less than a key card takes, nothing of ours works."""
_RATE_LIMITS = {
    "messages_per_s": "messagesPerSecond",
    "burst": "burst",
    "messages_per_s_per_address": "messagesPerSecondPerAddress",
    "burst_per_address": "burstPerAddress",
    "pings_per_s": "pingsPerSecond",
    "handshake_s": "handshakeSeconds",
}


def _media(section: Section) -> MediaConfig:
    default = MediaConfig()
    return MediaConfig(
        process=section.choice("process", ("child", "inline"), default.process),
        ice_interfaces=section.texts("iceInterfaces", _cidr),
        file_folders=section.texts("fileFolders", _absolute),
        camera=section.text("camera") or default.camera,
        microphone=section.text("microphone") or default.microphone,
        display=section.text("display"),
    )


def _cidr(value: str, field: str) -> str:
    import ipaddress  # only where somebody restricts interfaces: it is 8 ms of a 120 ms start

    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ConfigError(field, "not a network in CIDR form") from None
    return value


def _absolute(value: str, field: str) -> str:
    if not (value.startswith("/") or value[1:3] in (":\\", ":/")):
        raise ConfigError(field, "not an absolute path")
    return value


def _calls(section: Section) -> CallsConfig:
    default = CallsConfig()
    return CallsConfig(
        ring_timeout_s=section.number("ringTimeoutSeconds", default.ring_timeout_s, 15, 120),
        connect_timeout_s=section.number("connectTimeoutSeconds", default.connect_timeout_s, 1, 120),
        suspect_s=section.number("suspectSeconds", default.suspect_s, 0.5, 60),
        reconnecting_s=section.number("reconnectingSeconds", default.reconnecting_s, 0.5, 120),
        lost_s=section.number("lostSeconds", default.lost_s, 1, 600),
        strangers_ring=section.flag("strangersRing") is True,
        mirror_state=section.flag("mirrorState") is True,
    )
