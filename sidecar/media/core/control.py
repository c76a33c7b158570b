"""Messages of the data channel ``aleph-control``: JSON text, one object each, ``t`` names the kind.

A kind that this version does not know is ignored; anything malformed or too long is the peer's fault.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from sidecar.errors import RemoteError

LABEL = "aleph-control"
CHANNEL_ID = 0
MAX_MESSAGE_BYTES = 48 * 1024
"""A note may carry a sealed signal, which has 24 KiB at most."""
PING_INTERVAL_S = 1.0
"""Well under the 2.5 s of suspect, so that one lost datagram proves nothing."""

Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class ControlMessage(msgspec.Struct, frozen=True, tag_field="t"):
    """Base of all; unknown members are ignored."""


class Ping(ControlMessage, frozen=True, tag="ping"):
    """Asks for a Pong with the same number."""

    n: Number


class Pong(ControlMessage, frozen=True, tag="pong"):
    """Echoes a Ping."""

    n: Number


class State(ControlMessage, frozen=True, tag="state"):
    """What the sender sends on each line at the moment; muted or without a source is False."""

    audio: bool
    video: bool
    screen: bool


class Note(ControlMessage, frozen=True, tag="note"):
    """Words of one core to the other; media carries them and does not look inside."""

    name: Annotated[str, msgspec.Meta(max_length=32)]
    data: dict[str, Any]


AnyControl = Ping | Pong | State | Note

_KINDS = frozenset({"ping", "pong", "state", "note"})
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyControl)


class _Kind(msgspec.Struct):
    t: str


_kind_decoder = msgspec.json.Decoder(_Kind)


def encode(message: AnyControl) -> str:
    """The text to send."""
    return _encoder.encode(message).decode()


def decode(text: str | bytes) -> AnyControl | None:
    """The message, None for an unknown kind; RemoteError for anything else."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > MAX_MESSAGE_BYTES:
        raise RemoteError("control-too-large")
    try:
        if _kind_decoder.decode(data).t not in _KINDS:
            return None
        message: AnyControl = _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise RemoteError("control-malformed") from None
    return message
