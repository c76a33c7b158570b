"""What the peer machine wants done, and the one value that outlives it: an unacknowledged put."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec


class LinkState(Enum):
    """Life of the connection to one relay."""

    DOWN = "down"
    CONNECTING = "connecting"
    UP = "up"


class Item(msgspec.Struct, frozen=True):
    """A leaf or a signed value on its way out. ``state`` and ``expires_ms`` are in network time (ms)."""

    soul: str
    key: str
    value: str
    state: float
    expires_ms: float


class Connect(msgspec.Struct, frozen=True):
    """Open a connection and report ``opened`` or ``closed``."""

    url: str


class Disconnect(msgspec.Struct, frozen=True):
    """Drop a connection that answers no longer; report ``closed``."""

    url: str


class Send(msgspec.Struct, frozen=True):
    """Send one text frame."""

    url: str
    text: str


class Ping(msgspec.Struct, frozen=True):
    """Send a WebSocket ping and report ``ponged``."""

    url: str


class Renew(msgspec.Struct, frozen=True):
    """Open a second connection beside the current one; make it the current one and report ``renewed``, or
    report ``not_renewed``. What the first one still delivers counts."""

    url: str


class Retire(msgspec.Struct, frozen=True):
    """Close every connection to this relay but the current one; nothing is to be reported."""

    url: str


class LinkChanged(msgspec.Struct, frozen=True):
    """A connection changed state; for the log and for health."""

    url: str
    old: LinkState
    new: LinkState
    cause: str


class LeafFound(msgspec.Struct, frozen=True):
    """A watch or a read met a leaf for the first time; its hash is checked."""

    watch: int
    key: str
    value: str
    state: float


class ValueFound(msgspec.Struct, frozen=True):
    """A watch met a newer value of a key; its owner's signature is checked."""

    watch: int
    key: str
    value: Any
    state: float


class ReadDone(msgspec.Struct, frozen=True):
    """A read is over; ``answered`` is False if no relay spoke in time."""

    watch: int
    answered: bool


class Stored(msgspec.Struct, frozen=True):
    """A relay acknowledged the item for the first time."""

    soul: str
    key: str


class Refused(msgspec.Struct, frozen=True):
    """A relay answered a put with an error. A ``final`` one ends the tries there once it is confirmed."""

    url: str
    soul: str
    key: str
    reason: str
    final: bool


class Rejected(msgspec.Struct, frozen=True):
    """Every relay refused the item for good; it has left the outbox."""

    soul: str
    key: str
    reason: str


class Expired(msgspec.Struct, frozen=True):
    """The item ended before any relay acknowledged it."""

    soul: str
    key: str


Effect = (
    Connect
    | Disconnect
    | Send
    | Ping
    | Renew
    | Retire
    | LinkChanged
    | LeafFound
    | ValueFound
    | ReadDone
    | Stored
    | Refused
    | Rejected
    | Expired
)
