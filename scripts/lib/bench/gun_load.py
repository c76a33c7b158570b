"""The load of the ``gun`` bench: many raw WebSocket clients on one epoll, the same for every relay.

No library: frames are made ahead, masked with the zero key (legal, free to the sender, and to the relay like
any other), and what comes is cut at the frame headers only. A client is a socket and a buffer, so that the
relay is measured and not its load.
"""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

PATIENCE_S = 60.0
_READ_BYTES = 1 << 20
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10

OnText = Callable[["Client", bytes], None]


def frame(payload: bytes, opcode: int = _TEXT) -> bytes:
    """One whole client frame (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + b"\0\0\0\0" + payload


class Client:
    """One connection; ``received`` counts its text frames, the keep-alive aside."""

    __slots__ = ("number", "on_text", "outgoing", "received", "rest", "socket")

    def __init__(self, number: int, port: int) -> None:
        self.number = number
        self.received = 0
        self.rest = b""
        self.outgoing = bytearray()
        self.on_text: OnText | None = None
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # many addresses, as real clients have: a limit per address is not what is measured here
        self.socket.bind((f"127.0.{1 + number // 200}.{1 + number % 200}", 0))
        self.socket.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /gun HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def frames(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames completed by what has come; servers do not mask."""
        data = self.rest + data if self.rest else data
        at, size = 0, len(data)
        while size - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[start : start + 2]), start + 2
            elif length == 127:
                length, start = int.from_bytes(data[start : start + 8]), start + 8
            if size < start + length:
                break
            yield data[at] & 15, data[start : start + length]
            at = start + length
        self.rest = data[at:]


class Crowd:
    """Clients of one relay, driven by :meth:`turn`; every callback runs inside it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._epoll = select.epoll()
        self._by_fd: dict[int, Client] = {}
        self.clients: list[Client] = []

    def close(self) -> None:
        for client in self.clients:
            client.socket.close()
        self._epoll.close()

    def connect(self, count: int, *, at_once: int = 50) -> list[Client]:
        """New clients, upgraded and greeted, some at a time."""
        new: list[Client] = []
        for first in range(0, count, at_once):
            group = [
                Client(len(self.clients) + number, self._port)
                for number in range(min(at_once, count - first))
            ]
            for client in group:
                _upgraded(client)
                client.socket.setblocking(False)
                self._by_fd[client.socket.fileno()] = client
                self._epoll.register(client.socket, select.EPOLLIN)
                self._take(client, b"")
            self.clients += group
            new += group
        self.until(lambda: all(client.received for client in new))
        return new

    def send(self, client: Client, data: bytes) -> None:
        """Whole frames; what the socket does not take now goes out in later turns."""
        if not client.outgoing:
            with suppress(BlockingIOError):
                data = data[client.socket.send(data) :]
            if not data:
                return
            self._epoll.modify(client.socket, select.EPOLLIN | select.EPOLLOUT)
        client.outgoing += data

    def turn(self, timeout_s: float) -> None:
        """Wait for something, at most that long, and handle all that is there."""
        for fd, events in self._epoll.poll(timeout_s):
            client = self._by_fd[fd]
            if events & select.EPOLLOUT:
                self._push(client)
            if events & ~select.EPOLLOUT:
                self._pull(client)

    def until(self, done: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        """Turn until it is done; False if it is not after that long."""
        ends = time.perf_counter() + patience_s
        while not done():
            if time.perf_counter() > ends:
                return False
            self.turn(0.1)
        return True

    def quiet(self, seconds: float = 0.3, patience_s: float = PATIENCE_S) -> None:
        """Turn until nothing has come for a while."""
        ends = time.perf_counter() + patience_s
        known, since = -1, 0.0
        while time.perf_counter() < ends:
            total = sum(client.received for client in self.clients)
            if total != known:
                known, since = total, time.perf_counter()
            elif time.perf_counter() - since > seconds:
                return
            self.turn(0.05)

    def _push(self, client: Client) -> None:
        del client.outgoing[: client.socket.send(client.outgoing)]
        if not client.outgoing:
            self._epoll.modify(client.socket, select.EPOLLIN)

    def _pull(self, client: Client) -> None:
        data = client.socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionError(f"the relay dropped client {client.number}")
        self._take(client, data)

    def _take(self, client: Client, data: bytes) -> None:
        for opcode, payload in client.frames(data):
            if opcode == _TEXT:
                if payload != b"[]":
                    self._text(client, payload)
            elif opcode == _PING:
                self.send(client, frame(payload, _PONG))
            elif opcode == _CLOSE:
                raise ConnectionError(f"the relay closed client {client.number}: {payload!r}")

    def _text(self, client: Client, payload: bytes) -> None:
        client.received += 1
        if client.received == 1 and b'"dam":"?"' in payload:
            self.send(client, _hello(client.number, payload))
        elif client.on_text is not None:
            client.on_text(client, payload)


def _hello(number: int, asked: bytes) -> bytes:
    """The answer to a relay's first message; the pid stays the client's."""
    message = {"#": f"hi{number}", "dam": "?", "pid": f"bench{number}", "@": json.loads(asked).get("#")}
    return frame(json.dumps(message).encode())


def _upgraded(client: Client) -> None:
    """Wait for the answer to the upgrade; what follows it is the first data."""
    client.socket.settimeout(PATIENCE_S)
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = client.socket.recv(4096)
        if not data:
            raise ConnectionError("no answer to the upgrade")
        answer += data
    head, _, client.rest = answer.partition(b"\r\n\r\n")
    if b" 101 " not in head.partition(b"\r\n")[0]:
        raise ConnectionError(f"no upgrade: {head[:80]!r}")
