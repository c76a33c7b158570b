"""Binding the socket that front ends connect to, and who may.

Loaded before the ready line: imports ``zmq`` and nothing else that is slow. Clients may connect as soon as a
function here returns; their messages wait until ``ZmqServer.start`` takes the socket over.

- ``ipc``: a socket in a fresh directory that only our user may enter. No port, no other uid.
- ``tcp``: any local user can reach a port, so only with CURVE and a list of client keys, asked through ZAP:
  CURVE alone accepts every key. Plain tcp is for development and has to be asked for by name.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final, NamedTuple

import zmq

from sidecar.errors import LocalError, UnavailableError

SOCKET_NAME: Final = "sidecar"
MAX_PATH: Final = 100
"""Bytes, exclusive; the kernel's own limit is 104 on macOS and 108 on Linux."""
MAX_MESSAGE: Final = 4 * 1024 * 1024
"""Bytes of one frame; a client that sends more is disconnected (DESIGN section 6)."""
WAITING_IN: Final = 128
"""Messages of one client that libzmq reads ahead; above, the client's own side waits."""
WAITING_OUT: Final = 256
"""Messages libzmq keeps for a client that does not read; above, they wait in the server's bounded outbox."""
HANDSHAKE_MS: Final = 5000
TCP_HEARTBEAT_MS: Final = 5000
ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
ZAP_DOMAIN: Final = b"aleph-sidecar"

Socket = zmq.Socket[bytes]


class CurveKeys(NamedTuple):
    """CurveZMQ keys in Z85: the server's own pair, and the client keys that are let in."""

    server_public_key: str
    server_secret_key: str
    client_public_keys: tuple[str, ...]


class Bound(NamedTuple):
    """A bound socket that nobody reads yet."""

    endpoint: str
    """What a client connects to, with the port that was found for ``*``."""
    context: zmq.Context[Socket]
    router: Socket
    monitor: Socket
    """Tells the descriptor of a connection that ended, and of clients that were refused."""
    zap: Socket | None
    allowed: frozenset[bytes]
    """Client keys, 32 bytes each; empty without CURVE."""
    directory: str | None
    """Made for this socket, removed with it."""

    def close(self, linger_ms: int = 0) -> None:
        """Unbinds, gives answers under way ``linger_ms`` to leave, and removes what was made on disk."""
        if self.router.closed:
            return
        self.router.disable_monitor()
        self.monitor.close(0)
        self.router.close(linger_ms)
        if self.zap is not None:
            self.zap.close(0)
        self.context.term()
        if self.directory is not None:
            with suppress(OSError):
                os.unlink(f"{self.directory}/{SOCKET_NAME}")
            with suppress(OSError):
                os.rmdir(self.directory)


def bind_ipc(parent: str | None = None) -> Bound:
    """An ``ipc`` socket in a fresh 0700 directory under ``parent``, by default the user's runtime directory.

    Raises ``UnavailableError`` when there is no place for it, or this libzmq has no ``ipc`` (Windows wheels).
    """
    if not zmq.has("ipc"):
        raise UnavailableError("this libzmq has no ipc transport: use tcp with CURVE keys")
    directory = _fresh_directory(parent)
    return _bind(f"ipc://{directory}/{SOCKET_NAME}", None, directory)


def bind_at(endpoint: str, curve: CurveKeys | None = None, *, plain_tcp: bool = False) -> Bound:
    """A socket at ``endpoint``, such as ``tcp://127.0.0.1:*``; without keys only as ``plain_tcp``.

    Raises ``LocalError`` for what must not be served, ``UnavailableError`` for what cannot.
    """
    if not endpoint.startswith("tcp://"):
        raise LocalError("endpoint: not tcp://<address>:<port>")
    if curve is None and not plain_tcp:
        raise LocalError("endpoint: tcp needs CURVE keys, any user of this machine can reach a port")
    if curve is not None and not zmq.has("curve"):
        raise UnavailableError("this libzmq has no CURVE")
    return _bind(endpoint, curve, None)


def _bind(endpoint: str, curve: CurveKeys | None, directory: str | None) -> Bound:
    allowed = _allowed(curve) if curve is not None else frozenset()
    context: zmq.Context[Socket] = zmq.Context()
    try:
        zap = _open_zap(context) if curve is not None else None
        router = context.socket(zmq.ROUTER)
        _set_options(router)
        if endpoint.startswith("tcp"):
            router.setsockopt(zmq.HEARTBEAT_IVL, TCP_HEARTBEAT_MS)
        if curve is not None:
            _set_curve(router, curve)
        monitor = router.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        router.bind(endpoint)
        found = router.getsockopt_string(zmq.LAST_ENDPOINT)
    except zmq.ZMQError as error:
        context.destroy(0)
        if directory is not None:
            os.rmdir(directory)
        raise UnavailableError(f"cannot serve {endpoint}: {error.strerror}") from None
    return Bound(found.rstrip("\0"), context, router, monitor, zap, allowed, directory)


def _open_zap(context: zmq.Context[Socket]) -> Socket:
    """Bound before the router, or libzmq would let everybody in."""
    zap = context.socket(zmq.REP)
    zap.setsockopt(zmq.LINGER, 0)
    zap.bind(ZAP_ENDPOINT)
    return zap


def _set_options(router: Socket) -> None:
    router.setsockopt(zmq.LINGER, 0)
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)
    router.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
    router.setsockopt(zmq.RCVHWM, WAITING_IN)
    router.setsockopt(zmq.SNDHWM, WAITING_OUT)
    router.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)


def _set_curve(router: Socket, curve: CurveKeys) -> None:
    router.setsockopt(zmq.CURVE_SERVER, 1)
    router.setsockopt(zmq.CURVE_PUBLICKEY, curve.server_public_key.encode())
    router.setsockopt(zmq.CURVE_SECRETKEY, curve.server_secret_key.encode())
    router.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def _allowed(curve: CurveKeys) -> frozenset[bytes]:
    from zmq.utils import z85

    def decode(key: str) -> bytes:
        with suppress(ValueError, KeyError):
            raw = z85.decode(key.encode("ascii"))
            if len(raw) == 32:
                return raw
        raise LocalError("curve: a key is not 40 characters of Z85")

    decode(curve.server_public_key)
    decode(curve.server_secret_key)
    if not curve.client_public_keys:
        raise LocalError("curve: no client key is let in")
    return frozenset(map(decode, curve.client_public_keys))


def _fresh_directory(parent: str | None) -> str:
    usual = [os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp"]
    problem = "no directory for the socket"
    for base in [parent] if parent is not None else usual:
        if not base or not os.path.isabs(base):
            continue
        directory = f"{base.rstrip('/')}/aleph-{os.urandom(6).hex()}"
        if len(os.fsencode(f"{directory}/{SOCKET_NAME}")) >= MAX_PATH:
            problem = f"{base}: too long for the path of a socket"
            continue
        try:
            os.mkdir(directory, 0o700)
        except OSError as error:
            problem = f"{base}: {error.strerror}"
            continue
        return directory
    raise UnavailableError(problem)
