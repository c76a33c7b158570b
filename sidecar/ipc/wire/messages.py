"""The zerorpc v3 message, ``[header, name, args]`` in msgpack, and the names of its control events."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

from sidecar.errors import RemoteError

OK: Final = "OK"
ERR: Final = "ERR"
STREAM: Final = "STREAM"
STREAM_DONE: Final = "STREAM_DONE"
MORE: Final = "_zpc_more"
HEARTBEAT: Final = "_zpc_hb"
CANCEL: Final = "_zpc_cancel"
"""Ours: v3 has no cancel. Stock peers ignore it."""

VERSION: Final = 3
MAX_ID: Final = 64
"""Bytes of an encoded message id; stock clients use 34 to 38."""
MAX_NAME: Final = 128
"""Characters of a method name that is repeated in an error."""

NIL: Final = b"\xc0"
_BIN8, _STR8, _FIXSTR, _FIXSTR_END = 0xC4, 0xD9, 0xA0, 0xC0
_NO_RAW: Final = Raw(b"")


class Malformed(RemoteError):
    """Bytes that are no message; ``reason`` is the counter."""


class Header(msgspec.Struct, frozen=True):
    """Ids stay encoded: an answer repeats them with the type they came with (Python sends bin, Node str)."""

    message_id: Raw = _NO_RAW
    response_to: Raw = _NO_RAW


class Message(msgspec.Struct, frozen=True, array_like=True):
    """One received message; ``args`` is left undecoded until somebody knows its type."""

    header: Header
    name: str
    args: Raw

    @property
    def message_id(self) -> bytes:
        """The encoded id, empty when there is none."""
        return _id(self.header.message_id)

    @property
    def response_to(self) -> bytes:
        """The encoded id of the channel this belongs to, empty for a new call."""
        return _id(self.header.response_to)


class _OutHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    message_id: str
    v: int
    response_to: Raw = _NO_RAW


_decode = msgspec.msgpack.Decoder(Message).decode
_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
"""Any value of the wire to msgpack."""


def parse(payload: bytes) -> Message:
    """One message; raises ``Malformed`` for anything else, however deep or large it claims to be."""
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("malformed-message", str(error)) from None


def _id(raw: Raw) -> bytes:
    """The encoding of a str or a short bin as it stands; it goes back to its sender, so it must be sound."""
    if raw is _NO_RAW:
        return b""
    encoded = bytes(raw)
    if encoded == NIL:
        return b""
    if len(encoded) > MAX_ID:
        raise Malformed("oversized-id")
    kind = encoded[0]
    if kind == _BIN8:
        return encoded
    try:
        if kind == _STR8:
            encoded[2:].decode()
        elif _FIXSTR <= kind < _FIXSTR_END:
            encoded[1:].decode()
        else:
            raise Malformed("bad-id")
    except UnicodeDecodeError:
        raise Malformed("bad-id") from None
    return encoded


def serialise(message_id: str, name: str, args: object, response_to: bytes = b"") -> bytes:
    """One message to bytes; ``args`` may hold ``Raw`` members, which are copied as they are."""
    header = (
        _OutHeader(message_id, VERSION, Raw(response_to)) if response_to else _OutHeader(message_id, VERSION)
    )
    return _encoder.encode((header, name, args))


class MessageIds:
    """Unique ids for what we send: a prefix that the caller drew at random, and a counter."""

    __slots__ = ("_next", "_prefix")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._next = 0

    def __call__(self) -> str:
        self._next += 1
        return f"{self._prefix}{self._next:x}"


def salvage_id(payload: bytes) -> bytes:
    """The encoded id of a request that is damaged behind its header; empty when none can be answered."""
    import msgpack

    reader = msgpack.Unpacker(
        raw=False, strict_map_key=False, max_buffer_size=len(payload), max_map_len=16, max_array_len=16
    )
    try:
        reader.feed(payload)
        reader.read_array_header()
        header = reader.unpack()
        channel_id = None if header.get("response_to") is not None else header.get("message_id")
    except Exception:  # every kind of damage ends the attempt, whatever the library calls it
        return b""
    if not isinstance(channel_id, (str, bytes)) or not 0 < len(channel_id) <= MAX_ID:
        return b""
    encoded = encode(channel_id)
    return encoded if len(encoded) <= MAX_ID else b""
