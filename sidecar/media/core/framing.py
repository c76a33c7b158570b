"""Frames on a pipe between our own processes: four bytes of big-endian length, then MessagePack."""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from sidecar.errors import InternalError
from sidecar.media.messages import Command, Event

MAX_FRAME_BYTES = 8 * 1024 * 1024
"""A list of screens with thumbnails is the largest message, well under a megabyte."""

_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()
_command_decoder = msgspec.msgpack.Decoder(Command)
_event_decoder = msgspec.msgpack.Decoder(Event)


def frame(value: Any) -> bytes:
    """``value`` (a message or plain data) as one frame."""
    body = _encoder.encode(value)
    if len(body) > MAX_FRAME_BYTES:
        raise InternalError("a pipe frame is too large")
    return _LENGTH.pack(len(body)) + body


def decode_command(body: bytes) -> Command:
    """A frame's body as a command to media."""
    command: Command = _command_decoder.decode(body)
    return command


def decode_event(body: bytes) -> Event:
    """A frame's body as an event of media."""
    event: Event = _event_decoder.decode(body)
    return event


class FrameReader:
    """Cuts a byte stream into frame bodies, whatever the chunks."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies completed by ``data``; InternalError when the stream is not ours."""
        self._buffer += data
        bodies = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME_BYTES:
                raise InternalError("a pipe frame announces too many bytes")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
        return bodies
