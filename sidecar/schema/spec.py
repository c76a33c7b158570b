"""What is known about a channel or an event beside its types."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.schema.base import Params, Value


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A method of the sidecar."""

    name: str
    """As on the wire, ``call:initiate``."""
    params: type[Params] | None
    """None: the channel takes nil."""
    result: Any
    """A type for ``msgspec``, such as ``CallSession`` or ``list[CallSession]``; of each item if ``stream``.
    None: the channel answers nil."""
    stream: bool = False
    errors: tuple[str, ...] = ()
    """Every code an error answer of this channel may carry."""
    permission: str | None = None
    """What a client must have been given to use it."""
    since: str
    """Version of the sidecar that brought it."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something the sidecar tells on the ``events`` stream."""

    name: str
    """As on the wire, ``aleph:callOffer``."""
    data: type[Value]
    since: str
    """Version of the sidecar that brought it."""
