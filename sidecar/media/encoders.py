"""Encoders: one per line, whatever the number of peers (D6). Blocking; video belongs on a thread."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, TypeAlias, cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from sidecar.frames import SAMPLE_RATE, SOUND_SAMPLES, Buffer, Picture

Packet: TypeAlias = "av.Packet[Any]"
"""One encoded frame with its pts in the line's clock; shared by all who send it, never altered."""

VIDEO_CLOCK = Fraction(1, 90_000)
AUDIO_CLOCK = Fraction(1, SAMPLE_RATE)
OPUS_BITRATE = 32_000
"""Mono speech at full band; twice that is not heard (Opus recommended settings, RFC 7587 section 3.1.1)."""


class Vp8Encoder:
    """libvpx in real-time mode; a new picture size makes a new context and a keyframe."""

    def __init__(self, bitrate: int) -> None:
        self._most = bitrate
        self._limit: tuple[int | None, int] = (None, bitrate)
        self._context: VideoCodecContext | None = None
        self._made_for: tuple[int, int, int] | None = None
        """Width, height and bitrate of the context."""

    def limit(self, height: int, bitrate: int) -> None:
        """At most so many lines and bits a second, from the next picture on. libvpx ignores a new bitrate on
        an open context (media.md), so a change means a new one, and a keyframe."""
        self._limit = (height, min(bitrate, self._most))

    def encode(self, picture: Picture, pts: int, *, keyframe: bool) -> Packet | None:
        """One picture; ``pts`` counts 90 kHz. None when the encoder dropped it."""
        height, bitrate = self._limit
        width, height = _within(picture, height)
        if self._context is None or self._made_for != (width, height, bitrate):
            self._context = _vp8_context(width, height, bitrate)
            self._made_for = (width, height, bitrate)
        frame = video_frame(picture)
        if (width, height) != (picture.width, picture.height):
            frame = frame.reformat(width=width, height=height)
        frame.pts, frame.time_base = pts, VIDEO_CLOCK
        if keyframe:
            frame.pict_type = PictureType.I
        packets = self._context.encode(frame)
        if not packets:
            return None
        packet = packets[0]
        packet.pts = packet.dts = pts
        packet.time_base = VIDEO_CLOCK
        return packet

    def close(self) -> None:
        """Frees the context now: megabytes and threads must not wait for the garbage collector."""
        self._context = None


class OpusEncoder:
    """One 20 ms sound in, one packet out."""

    def __init__(self) -> None:
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, AudioCodecContext)
        context.format, context.layout, context.sample_rate = "s16", "mono", SAMPLE_RATE
        context.bit_rate = OPUS_BITRATE
        context.options = {"application": "voip", "frame_duration": "20"}
        self._context: AudioCodecContext | None = context
        self._fed = 0

    def encode(self, sound: bytes, pts: int) -> Packet | None:
        """``pts`` counts 48 kHz samples. None when closed, or when there is no packet yet."""
        if self._context is None:
            return None
        frame = av.AudioFrame(format="s16", layout="mono", samples=SOUND_SAMPLES)
        frame.planes[0].update(sound)
        frame.sample_rate, frame.time_base = SAMPLE_RATE, AUDIO_CLOCK
        frame.pts = self._fed
        self._fed += SOUND_SAMPLES
        packets = self._context.encode(frame)
        if not packets:
            return None
        packet = packets[0]
        packet.pts = packet.dts = pts
        packet.time_base = AUDIO_CLOCK
        return packet

    def close(self) -> None:
        """As ``Vp8Encoder.close``: PyAV's resampler in front of the codec has threads of its own."""
        self._context = None


def _within(picture: Picture, height: int | None) -> tuple[int, int]:
    """Width and height of a picture that has at most ``height`` lines; even, as 4:2:0 wants it."""
    if height is None or picture.height <= height:
        return picture.width, picture.height
    return max(2, round(picture.width * height / picture.height) // 2 * 2), height // 2 * 2


def video_frame(picture: Picture) -> av.VideoFrame:
    """A frame holding a copy of ``picture``."""
    frame = av.VideoFrame(picture.width, picture.height, "yuv420p")
    chroma_width, chroma_height = (picture.width + 1) // 2, (picture.height + 1) // 2
    rows = (
        (picture.y, picture.stride, picture.width, picture.height),
        (picture.u, picture.chroma_stride, chroma_width, chroma_height),
        (picture.v, picture.chroma_stride, chroma_width, chroma_height),
    )
    for plane, (data, stride, width, height) in zip(frame.planes, rows, strict=True):
        plane.update(cast(bytes, _restride(data, stride, width, height, plane.line_size)))
    return frame


def _restride(data: Buffer, stride: int, width: int, height: int, wanted: int) -> Buffer:
    if stride == wanted and len(data) == wanted * height:
        return data
    view, padding = memoryview(data), bytes(wanted - width)
    return b"".join(
        part for row in range(height) for part in (view[row * stride : row * stride + width], padding)
    )


def _vp8_context(width: int, height: int, bitrate: int) -> VideoCodecContext:
    context = av.CodecContext.create("libvpx", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base = VIDEO_CLOCK
    context.bit_rate = bitrate
    context.gop_size = 3000
    context.qmin, context.qmax = 2, 56
    context.thread_count = 1
    rate = str(bitrate)
    context.options = {
        "deadline": "realtime",
        "cpu-used": "-6",
        "lag-in-frames": "0",
        "bufsize": rate,
        "minrate": rate,
        "maxrate": rate,
        "undershoot-pct": "100",
        "overshoot-pct": "15",
        "static-thresh": "1",
        "error-resilient": "default",
    }
    context.open()
    return context
