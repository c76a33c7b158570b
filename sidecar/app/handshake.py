"""The two lines that make a sidecar: the parent's on stdin, ours on stdout (DESIGN section 4).

Loaded before the ready line: nothing here may import asyncio, msgspec or a network library.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from sidecar.config import Config, ConfigError, Section, peer_url, resolve

VERSION = 1
MAX_LINE = 4 * 1024 * 1024
"""Bytes of the first line; a social copy of some thousand friends fits."""
TIMEOUT_S = 10.0
"""A parent that has not written its line by then never will."""
MAX_CLIENTS = 64
Z85 = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#")
"""The characters of a key in ZeroMQ's text form."""


class ClientEntry(NamedTuple):
    """Who may connect: ``system:hello`` with this token gets these permissions."""

    token: str
    permissions: frozenset[str]


class Handshake(NamedTuple):
    """What the parent asks for."""

    config: Config
    data_dir: str | None = None
    identity_file: str | None = None
    transport: str | None = None
    """``ipc`` or ``tcp``; None: what this platform has."""
    client_key: str | None = None
    """Z85 public key of the one CURVE client that is let in over tcp."""
    parent_pid: int | None = None
    clients: tuple[ClientEntry, ...] | None = None
    """None: no list, the one client has every permission."""
    web: bool = False
    """Browsers were to be served too, which this version does not do."""


def read_line(fd: int, *, timeout_s: float = TIMEOUT_S) -> bytes:
    """The first line of ``fd`` without its newline, and nothing after it.

    Raises ``ConfigError`` if it does not come in time, is longer than ``MAX_LINE`` or never ends.
    """
    deadline = time.monotonic() + timeout_s
    line = bytearray()
    while b"\n" not in line:
        if len(line) > MAX_LINE:
            raise ConfigError("handshake", f"longer than {MAX_LINE} bytes")
        _wait_readable(fd, deadline)
        chunk = os.read(fd, 65536)
        if not chunk:
            raise ConfigError("handshake", "stdin ended before the first line did")
        line += chunk
    return bytes(line[: line.index(b"\n")])


def _wait_readable(fd: int, deadline: float) -> None:
    if (
        sys.platform == "win32"
    ):  # select takes only sockets there; the parent's write is all there is to wait for
        return
    readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
    if not readable:
        raise ConfigError("handshake", "no line on stdin in time")


def parse(line: bytes) -> Handshake:
    """The handshake in ``line``; ``ConfigError`` names the first member that cannot be used."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise ConfigError("handshake", "not a line of JSON") from None
    root = Section(document, "")
    if root.members.get("v") != VERSION or isinstance(root.members.get("v"), bool):
        raise ConfigError("v", f"not {VERSION}")
    config = resolve(root.members.get("config"))
    peers = root.texts("peers", peer_url)
    if peers:
        config = config._replace(network=config.network._replace(peers=peers))
    transport = root.choice("transport", ("ipc", "tcp"), "") or None
    curve = root.section("curve")
    if transport == "tcp" and not curve.members:
        raise ConfigError("curve", "missing, and tcp is only served with it")
    parent_pid = root.members.get("parentPid")
    return Handshake(
        config=config,
        data_dir=root.text("dataDir"),
        identity_file=root.text("identityFile"),
        transport=transport,
        client_key=_z85_key(curve.text("clientKey"), curve.name("clientKey")) if curve.members else None,
        parent_pid=None if parent_pid is None else root.integer("parentPid", 0, 1, 2**31 - 1),
        clients=_clients(root),
        web=bool(root.section("web").items("origins")),
    )


def _z85_key(value: str | None, field: str) -> str:
    if value is None or len(value) != 40 or not set(value) <= Z85:
        raise ConfigError(field, "not a CURVE key of 40 Z85 characters")
    return value


def _clients(root: Section) -> tuple[ClientEntry, ...] | None:
    if root.members.get("clients") is None:
        return None
    items = root.items("clients")
    if len(items) > MAX_CLIENTS:
        raise ConfigError("clients", f"more than {MAX_CLIENTS}")
    return tuple(_client(Section(item, name)) for name, item in items)


def _client(section: Section) -> ClientEntry:
    token = section.text("token")
    if token is None:
        raise ConfigError(section.name("token"), "missing")
    return ClientEntry(token, frozenset(section.texts("permissions", lambda value, _: value)))


def ready_line(endpoint: str, pid: int, protocol: int, schema: str, server_key: str | None = None) -> bytes:
    """The line that says: the bridge is bound, messages to ``endpoint`` are kept.

    ``serverKey``, our CURVE public key, is there with tcp only.
    """
    line: dict[str, Any] = {
        "v": VERSION, "ready": True, "endpoint": endpoint, "pid": pid,
        "protocol": protocol, "schema": schema, "web": None,
    }  # fmt: skip
    if server_key is not None:
        line["serverKey"] = server_key
    return encode(line)


def encode(members: Mapping[str, Any]) -> bytes:
    """One line of JSON."""
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"
