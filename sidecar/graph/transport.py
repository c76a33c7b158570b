"""One WebSocket to a relay, and the one HTTP question a relay is asked: what time is it?"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import broadcast
from websockets.exceptions import WebSocketException

from sidecar.errors import LocalError, UnavailableError

OPEN_WITHIN_S = 8.0
DATE_WITHIN_S = 5.0
MAX_HEAD = 16 * 1024
MAX_UNSENT = 8 * 1024 * 1024
"""Bytes queued towards a relay that takes nothing; beyond it the connection is worth nothing."""
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def relay_url(url: str) -> str:
    """The WebSocket URL of a peer in gun's spelling: http(s) becomes ws(s), an empty path ``/gun``."""
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise LocalError(f"not the URL of a Gun relay: {url!r}")
    path = parts.path if parts.path not in ("", "/") else "/gun"
    return urlunsplit(SplitResult(scheme, parts.netloc, path, parts.query, ""))


def public_url(url: str) -> str:
    """A peer's URL as others may read it: without user, password and query."""
    parts = urlsplit(url)
    return urlunsplit(SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def trust(ca_file: str | None) -> ssl.SSLContext:
    """How a relay's certificate is checked: the system's authorities, and those of a PEM file.

    Raises LocalError for a file that holds no certificate, UnavailableError for one that cannot be read.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except ssl.SSLError:
            raise LocalError(f"network.caFile: {ca_file}: no certificate in PEM form") from None
        except OSError as error:
            raise UnavailableError(f"network.caFile: {ca_file}: {error.strerror}") from None
    return context


def silent_logger() -> logging.Logger:
    """websockets writes to stderr, which carries our JSON lines: it gets a logger that says nothing."""
    logger = logging.getLogger("sidecar.websockets")
    logger.disabled = True
    return logger


class Socket:
    """An open connection. ``send`` never waits; a relay that reads nothing is dropped at a bound."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @property
    def date(self) -> str | None:
        """The ``Date`` of the upgrade answer; gun.js sends none there."""
        response = self._connection.response
        return response.headers.get("Date") if response else None

    def send(self, text: str) -> None:
        broadcast([self._connection], text)
        if self._connection.transport.get_write_buffer_size() > MAX_UNSENT:
            self.abort()

    async def receive(self) -> str | bytes:
        """The next frame; raises ConnectionError when there is none any more."""
        try:
            return await self._connection.recv()
        except WebSocketException as error:
            raise ConnectionError(str(error) or "closed") from error

    async def ping(self) -> None:
        """Returns when the pong is here; raises ConnectionError if it cannot come."""
        try:
            await (await self._connection.ping())
        except (WebSocketException, AttributeError) as error:  # see abort
            raise ConnectionError(str(error) or "closed") from error

    def abort(self) -> None:
        """Drop the connection without a closing handshake.

        asyncio's transport raises an AttributeError when it is aborted after it was lost with bytes unsent.
        """
        if not self._connection.connection_lost_waiter.done():
            self._connection.transport.abort()

    async def close(self) -> None:
        """Close politely."""
        with suppress(AttributeError):  # see abort
            await self._connection.close()


async def open_socket(url: str, *, max_frame: int, tls: ssl.SSLContext | None = None) -> Socket:
    """Connect; ``tls`` checks a wss relay's certificate, None as the system does.

    Raises UnavailableError with the cause in its message.
    """
    try:
        address = relay_url(url)
        secure = address.startswith("wss:")
        connection = await connect(
            address,
            ssl=(tls or ssl.create_default_context()) if secure else None,
            max_size=max_frame,
            compression=None,
            open_timeout=OPEN_WITHIN_S,
            close_timeout=1.0,
            ping_interval=None,
            user_agent_header=None,
            proxy=None,
            logger=silent_logger(),
        )
    except (OSError, TimeoutError, WebSocketException, ValueError) as error:
        raise UnavailableError(f"{type(error).__name__}: {error}") from error
    return Socket(connection)


async def fetch_date(
    url: str, steady_ms: Callable[[], float], tls: ssl.SSLContext | None = None
) -> tuple[float, float, float] | None:
    """Ask a relay for its time by a plain GET: its date, our steady times of asking and hearing, all ms."""
    try:
        async with asyncio.timeout(DATE_WITHIN_S):
            return await _get_date(urlsplit(relay_url(url)), steady_ms, tls)
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None


async def _get_date(
    parts: SplitResult, steady_ms: Callable[[], float], tls: ssl.SSLContext | None
) -> tuple[float, float, float] | None:
    secure = parts.scheme == "wss"
    reader, writer = await asyncio.open_connection(
        parts.hostname,
        parts.port or (443 if secure else 80),
        ssl=(tls or ssl.create_default_context()) if secure else None,
        limit=MAX_HEAD,
    )
    try:
        asked = steady_ms()
        host = parts.netloc.rpartition("@")[2]
        writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        heard = steady_ms()
    finally:
        writer.close()
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "date":
            date = parse_date(value.strip())
            return None if date is None else (date, asked, heard)
    return None


def parse_date(text: str) -> float | None:
    """An HTTP date in milliseconds since the epoch."""
    try:
        return parsedate_to_datetime(text).timestamp() * 1000
    except (ValueError, TypeError, OverflowError):
        return None
