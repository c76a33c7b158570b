"""The plain picture and sound buffers that capture hands to media, and the sources that make them.

Nothing here knows a codec or a device: a picture is I420 planes, a sound is 20 ms of 48 kHz mono PCM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

Buffer = bytes | bytearray | memoryview

SAMPLE_RATE = 48_000
"""Hz, everywhere between a source and an encoder."""
SOUND_SAMPLES = 960
"""Samples of one sound: 20 ms."""
SOUND_BYTES = SOUND_SAMPLES * 2
SILENCE = bytes(SOUND_BYTES)


@dataclass(frozen=True, slots=True)
class Picture:
    """One I420 picture, BT.601 limited range; rows are ``stride`` bytes apart (chroma: ``chroma_stride``)."""

    width: int
    height: int
    y: Buffer
    u: Buffer
    v: Buffer
    stride: int
    chroma_stride: int


class SourceEndedError(Exception):
    """The thing behind a source is gone: a monitor unplugged, a file unreadable, a device removed."""


class PictureSource(Protocol):
    """Makes pictures; pulled ``fps`` times a second. Latest frame only: a source never queues."""

    @property
    def fps(self) -> float:
        """How often ``picture`` should be called."""

    def picture(self, at: float) -> Picture | None:
        """The picture at ``at`` seconds since the source started, None when nothing changed.

        Raises SourceEndedError; must return within a millisecond or two.
        """

    def close(self) -> None:
        """Free everything; may be called twice."""


class SoundSource(Protocol):
    """Makes sound; pulled every 20 ms."""

    def sound(self) -> bytes:
        """The next SOUND_BYTES of s16le mono PCM. Raises SourceEndedError."""

    def close(self) -> None:
        """Free everything; may be called twice."""


class Plane(Protocol):
    """One plane of a library's frame; its memory is readable as a buffer."""

    @property
    def line_size(self) -> int:
        """Bytes from one row to the next."""


class PlanarFrame(Protocol):
    """A library's frame in yuv420p, looked at without importing the library."""

    @property
    def width(self) -> int:
        """Pixels."""

    @property
    def height(self) -> int:
        """Pixels."""

    @property
    def planes(self) -> Sequence[Plane]:
        """Y, U and V."""


def picture_of(frame: PlanarFrame) -> Picture:
    """A picture that looks into the frame's own memory, and keeps it alive."""
    y, u, v = frame.planes
    return Picture(
        width=frame.width,
        height=frame.height,
        y=memoryview(cast(bytes, y)),
        u=memoryview(cast(bytes, u)),
        v=memoryview(cast(bytes, v)),
        stride=y.line_size,
        chroma_stride=u.line_size,
    )


def black(width: int, height: int) -> Picture:
    """A black picture (limited range: Y 16)."""
    chroma_width, chroma_height = (width + 1) // 2, (height + 1) // 2
    chroma = bytes([128]) * (chroma_width * chroma_height)
    return Picture(
        width,
        height,
        bytes([16]) * (width * height),
        chroma,
        chroma,
        stride=width,
        chroma_stride=chroma_width,
    )
