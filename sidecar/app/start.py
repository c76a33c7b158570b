"""What a sidecar needs before it may say that it is ready: its directory, its identity's file, its socket.

Loaded before the ready line: nothing here may import asyncio, msgspec or a cryptographic library.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NamedTuple

import zmq

from sidecar.app.handshake import Handshake
from sidecar.app.identity_file import read_identity
from sidecar.app.lock import DataDirLock, acquire, make_private
from sidecar.errors import UnavailableError
from sidecar.ipc.bound import Bound, CurveKeys, bind_at, bind_ipc
from sidecar.trust.identity import Identity
from sidecar.trust.social import SocialState


class Place(NamedTuple):
    """What this process holds for as long as it lives."""

    data_dir: str
    identity_file: str
    identity: Identity | None
    """None: there is no file yet, and one is made after the ready line."""
    lock: DataDirLock
    bound: Bound
    server_key: str | None
    """Our CURVE public key; None over ipc."""

    def remove_files(self) -> None:
        """What is left to do for a process that ends at once."""
        if self.bound.directory is not None:
            _remove_socket_directory(self.bound.directory)


def prepare(shake: Handshake) -> Place:
    """Locks the data directory, checks the identity's file, binds the bridge.

    Raises ``UnavailableError`` saying what is in the way, ``LocalError`` for social facts that cannot be.
    """
    SocialState().merge(shake.config.social, "social")
    data_dir = os.path.abspath(shake.data_dir or default_data_dir())
    make_private(data_dir)
    held = acquire(data_dir)
    try:
        identity_file = os.path.abspath(shake.identity_file or os.path.join(data_dir, "identity.json"))
        identity = read_identity(identity_file)
        remove_stale_sockets(data_dir)
        bound, server_key = _bind(data_dir, shake)
    except BaseException:
        held.release()
        raise
    return Place(data_dir, identity_file, identity, held, bound, server_key)


def _bind(data_dir: str, shake: Handshake) -> tuple[Bound, str | None]:
    transport = shake.transport or ("ipc" if zmq.has("ipc") else "tcp")
    if transport == "ipc":
        return _bind_near(data_dir), None
    if shake.client_key is None:
        raise UnavailableError("this platform's ZeroMQ has no ipc transport: ask for tcp with a CURVE key")
    public, secret = (key.decode() for key in zmq.curve_keypair())
    return bind_at("tcp://127.0.0.1:*", CurveKeys(public, secret, (shake.client_key,))), public


def _bind_near(data_dir: str) -> Bound:
    """In the data directory, where a successor finds what a killed process left; else where its path fits."""
    try:
        return bind_ipc(data_dir)
    except UnavailableError:
        return bind_ipc()


def remove_stale_sockets(data_dir: str) -> None:
    """Removes the socket directories of predecessors that were killed; we hold their lock."""
    with suppress(OSError):
        for entry in os.listdir(data_dir):
            if entry.startswith("aleph-"):
                _remove_socket_directory(os.path.join(data_dir, entry))


def _remove_socket_directory(directory: str) -> None:
    with suppress(OSError):
        os.unlink(os.path.join(directory, "sidecar"))
    with suppress(OSError):
        os.rmdir(directory)


def default_data_dir() -> str:
    """Where this platform keeps the state of programs of one user."""
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        base = os.path.join(home, "Library", "Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    return os.path.join(base, "aleph-sidecar")
