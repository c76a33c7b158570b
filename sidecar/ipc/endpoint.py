"""Where the bridge listens: a bound ROUTER socket, before anything that reads it is loaded.

``ipc://`` in a fresh 0700 directory (another user is refused by the file system), or tcp on loopback with
CURVE and a ZAP allow-list of one client key: CURVE alone lets any key in, and any local user reaches a
loopback port. What arrives before the server reads is kept by ZeroMQ. Loaded before the ready line.
"""

from __future__ import annotations

import contextlib
import os

import zmq

from sidecar.errors import UnavailableError

MAX_PATH = 100
"""Bytes of a socket path: sun_path holds 104 on macOS, 108 on Linux."""
SOCKET_NAME = "s"
ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"aleph"
RECEIVE_BYTES = 4 * 1024 * 1024
"""A message above this ends its connection (DESIGN section 6)."""


class Endpoint:
    """A bound socket and what belongs to it; ``close`` removes all of it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes]) -> None:
        self.context = context
        self.socket = socket
        self.address = ""
        self.directory: str | None = None
        self.server_key: str | None = None
        """Our CURVE public key, Z85; None over ipc."""
        self.client_key: bytes | None = None
        """The one CURVE key that is let in, raw."""
        self.zap: zmq.Socket[bytes] | None = None
        """REP socket of the authenticator; bound before tcp is, or libzmq would let everybody in."""

    def close(self) -> None:
        """Ends the sockets without waiting for what is unsent, then removes the files."""
        self.socket.close(0)
        if self.zap is not None:
            self.zap.close(0)
        self.context.term()
        self.remove_files()

    def remove_files(self) -> None:
        """What a process that ends at once still does."""
        if self.directory is None:
            return
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.directory, SOCKET_NAME))
        with contextlib.suppress(OSError):
            os.rmdir(self.directory)


def bind(data_dir: str, *, transport: str | None = None, client_key: str | None = None) -> Endpoint:
    """Binds the bridge; ``transport`` None means ipc where libzmq has it.

    The caller holds the lock of ``data_dir``: what a killed predecessor left in it is removed. Raises
    ``UnavailableError`` when the transport cannot be had here.
    """
    has_ipc = zmq.has("ipc")
    if transport is None:
        transport = "ipc" if has_ipc else "tcp"
    if transport == "ipc" and not has_ipc:
        raise UnavailableError("this platform's ZeroMQ has no ipc transport: ask for tcp")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.MAXMSGSIZE, RECEIVE_BYTES)
    endpoint = Endpoint(context, socket)
    try:
        if transport == "ipc":
            _bind_ipc(endpoint, data_dir)
        else:
            _bind_tcp(endpoint, client_key)
    except zmq.ZMQError as error:
        endpoint.close()
        raise UnavailableError(f"the bridge cannot listen: {error.strerror}") from None
    except UnavailableError:
        endpoint.close()
        raise
    return endpoint


def _bind_ipc(endpoint: Endpoint, data_dir: str) -> None:
    endpoint.directory = fresh_directory(data_dir)
    endpoint.socket.bind("ipc://" + os.path.join(endpoint.directory, SOCKET_NAME))
    endpoint.address = endpoint.socket.getsockopt_string(zmq.LAST_ENDPOINT)


def _bind_tcp(endpoint: Endpoint, client_key: str | None) -> None:
    from zmq.utils import z85

    if client_key is None:
        raise UnavailableError("tcp is only served with CURVE: the handshake names no client key")
    public, secret = zmq.curve_keypair()
    endpoint.client_key = z85.decode(client_key)
    endpoint.server_key = public.decode()
    endpoint.zap = endpoint.context.socket(zmq.REP)
    endpoint.zap.setsockopt(zmq.LINGER, 0)
    endpoint.zap.bind(ZAP_ENDPOINT)
    endpoint.socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    endpoint.socket.setsockopt(zmq.CURVE_SERVER, 1)
    endpoint.socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    endpoint.socket.bind("tcp://127.0.0.1:*")
    endpoint.address = endpoint.socket.getsockopt_string(zmq.LAST_ENDPOINT)


def fresh_directory(data_dir: str) -> str:
    """A new 0700 directory whose socket path fits: in ``data_dir``, else in a place for temporary files."""
    remove_stale(data_dir)
    name = "run-" + os.urandom(6).hex()
    places = [data_dir, os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp"]
    for place in places:
        path = os.path.join(os.path.abspath(place), name) if place else ""
        if not path or len(os.fsencode(os.path.join(path, SOCKET_NAME))) >= MAX_PATH:
            continue
        with contextlib.suppress(OSError):
            os.mkdir(path, 0o700)
            return path
    raise UnavailableError("no place for the bridge's socket: the data directory's path is too long")


def remove_stale(data_dir: str) -> None:
    """Removes the socket directories of processes that were killed."""
    with contextlib.suppress(OSError):
        for entry in os.listdir(data_dir):
            if entry.startswith("run-"):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(data_dir, entry, SOCKET_NAME))
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(data_dir, entry))
