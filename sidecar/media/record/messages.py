"""What media tells the record process, and its one answer."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from sidecar.media.messages import Line


class Mode(StrEnum):
    """How a recording is laid out (the schema's RecordMode)."""

    MIXED = "mixed"
    TRACKS = "tracks"


class RecordMessage(msgspec.Struct, frozen=True, tag=True, tag_field="m", kw_only=True):
    """Base of all."""


class Begin(RecordMessage, frozen=True):
    """First message. ``path`` is the file (mixed) or the folder (tracks) to make."""

    mode: Mode
    path: str


class Frame(RecordMessage, frozen=True):
    """One encoded frame (VP8 or Opus). ``at_ms`` is when it arrived, ``timestamp`` its RTP time from 0;
    both start anew when ``gen`` changes. ``own`` frames are what this side sent."""

    who: str
    line: Line
    gen: int
    at_ms: int
    timestamp: int
    key: bool
    data: bytes
    own: bool = False


class Finish(RecordMessage, frozen=True):
    """Last message: write the index and answer."""


class Done(RecordMessage, frozen=True):
    """The answer, also sent unasked when writing became impossible (``error`` says why)."""

    duration_ms: int
    error: str = ""


AnyRecord = Begin | Frame | Finish

_decoder = msgspec.msgpack.Decoder(AnyRecord)
_done_decoder = msgspec.msgpack.Decoder(Done)


def decode(body: bytes) -> AnyRecord:
    """A frame's body, in the record process."""
    message: AnyRecord = _decoder.decode(body)
    return message


def decode_done(body: bytes) -> Done:
    """A frame's body, in media."""
    done: Done = _done_decoder.decode(body)
    return done
