"""What arrives from a peer on one line: decoded on a thread, kept as the latest frame and as numbers.

Nothing here grows: a line that nobody looks at costs one frame and some counters (FAULTS M10).
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

import av

from sidecar.frames import Picture, picture_of
from sidecar.media.core import vp8
from sidecar.media.decoding import Decoder

WINDOW_S = 2.0
"""Over which rates are measured."""
SOUNDS_KEPT = 10
"""200 ms: enough to tell a tone to a hertz."""
FREEZE_FACTOR, FREEZE_EXTRA_S = 3.0, 0.15
"""A gap longer than three mean gaps and 150 ms above it is a freeze (W3C webrtc-stats freezeCount)."""

Tap = Callable[[bytes, int, bool], None]
"""Gets each encoded frame, its RTP timestamp and whether it stands alone, before decoding."""


class Probe(Protocol):
    """Reads test patterns and tones; injected, because capture makes them."""

    def pattern(self, picture: Picture) -> tuple[str | None, int | None]:
        """Colour code and counter."""

    def sound(self, samples: array[int]) -> tuple[float, float | None]:
        """Level 0 to 1 and the frequency of a tone that stands out."""


class Sink:
    """Common to both kinds: the tap, the decoder, the received bit rate."""

    def __init__(self, kind: str, on_lost: Callable[[], None]) -> None:
        self._decoder = Decoder(kind, self._decoded, on_lost)
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=512)
        self._tap: Tap | None = None
        self._video = kind == "video"

    def set_tap(self, tap: Tap | None) -> None:
        """Also gives every encoded frame to ``tap``."""
        self._tap = tap

    def encoded(self, data: bytes, timestamp: int) -> None:
        """A frame from the receiver."""
        self._arrivals.append((monotonic(), len(data)))
        if self._tap is not None:
            self._tap(data, timestamp, vp8.is_keyframe(data) if self._video else True)
        self._decoder.put(data, timestamp)

    def close(self) -> None:
        """Ends the decoder."""
        self._tap = None
        self._decoder.close()

    @property
    def bitrate_kbps(self) -> float:
        """Received over the last window."""
        since = monotonic() - WINDOW_S
        return round(sum(size for at, size in self._arrivals if at >= since) * 8 / WINDOW_S / 1000, 1)

    def _decoded(self, frame: Any) -> None:
        raise NotImplementedError


class VideoSink(Sink):
    """Camera or screen of a peer."""

    def __init__(self, on_lost: Callable[[], None], on_first: Callable[[], None]) -> None:
        """``on_first`` is called when the first picture is decoded, in the decoder's thread."""
        super().__init__("video", on_lost)
        self._on_first = on_first
        self.frames = 0
        self.freezes = 0
        self._latest: av.VideoFrame | None = None
        self._times: deque[float] = deque(maxlen=120)
        self._mean_gap = 0.0

    @property
    def latest(self) -> av.VideoFrame | None:
        """The last decoded picture."""
        return self._latest

    def stats(self, probe: Probe, sent: int) -> dict[str, Any] | None:
        """VideoStats of the schema; None while nothing was sent nor received."""
        frame = self._latest
        if frame is None and not sent:
            return None
        stats: dict[str, Any] = {
            "width": frame.width if frame else 0,
            "height": frame.height if frame else 0,
            "fps": self._rate(),
            "bitrateKbps": self.bitrate_kbps,
            "framesSent": sent,
            "framesDecoded": self.frames,
            "freezes": self.freezes,
        }
        if frame is not None and frame.format.name == "yuv420p":
            code, counter = probe.pattern(picture_of(frame))
            if code is not None:
                stats["patternCode"] = code
            if counter is not None:
                stats["patternCounter"] = counter
        return stats

    def _rate(self) -> float:
        now = monotonic()
        recent = [at for at in list(self._times) if at >= now - WINDOW_S]
        span = recent[-1] - recent[0] if len(recent) > 1 else 0.0
        return round((len(recent) - 1) / span, 1) if span > 0 else 0.0

    def _decoded(self, frame: av.VideoFrame) -> None:
        now = monotonic()
        if self._times:
            gap = now - self._times[-1]
            mean = self._mean_gap or gap
            if self.frames > 10 and gap > max(FREEZE_FACTOR * mean, mean + FREEZE_EXTRA_S):
                self.freezes += 1
            self._mean_gap = 0.9 * mean + 0.1 * gap
        self._times.append(now)
        self._latest = frame
        self.frames += 1
        if self.frames == 1:
            self._on_first()


class AudioSink(Sink):
    """Sound of a peer."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        super().__init__("audio", on_lost)
        self.frames = 0
        self._recent: deque[bytes] = deque(maxlen=SOUNDS_KEPT)

    def stats(self, probe: Probe) -> dict[str, Any]:
        """``level`` and ``toneHz`` of the schema's AudioStats, from the last sounds."""
        samples: array[int] = array("h")
        for sound in list(self._recent):
            samples.frombytes(sound)
        loudness, tone = probe.sound(samples)
        stats: dict[str, Any] = {"level": round(loudness, 4)}
        if tone is not None:
            stats["toneHz"] = tone
        return stats

    def _decoded(self, frame: av.AudioFrame) -> None:
        self.frames += 1
        self._recent.append(bytes(frame.planes[0])[: frame.samples * 2])
