"""Mode ``mixed``: one file with the sound of everybody together and the picture of the active line.

The picture is not decoded: it is the shared screen while there is one, else a camera, switched at
keyframes. Sound is decoded, added up in steps of 20 ms and encoded again.
"""

from __future__ import annotations

from array import array
from itertools import zip_longest
from typing import Any

import av

from sidecar.frames import SAMPLE_RATE, SOUND_SAMPLES
from sidecar.media.core import vp8
from sidecar.media.encoders import OpusEncoder
from sidecar.media.messages import Line
from sidecar.media.record.messages import Frame
from sidecar.media.record.timeline import Timeline
from sidecar.media.record.webm import WebmFile

STALE_MS = 2_000
"""A line without a frame for so long no longer holds the picture."""
LATE_STEPS = 10
"""200 ms: how long a step of sound waits for everybody's part."""
MAX_GAP_STEPS = 500
"""10 s of silence are written out; a longer hole is jumped over."""
_STEP_MS = 20

Source = tuple[str, Line]


class MixedWriter:
    """``path`` is the file."""

    def __init__(self, path: str) -> None:
        self._file = WebmFile(path, (Line.AUDIO, Line.CAMERA))
        self._timelines: dict[Source, Timeline] = {}
        self._mixer = Mixer()
        self._active: Source | None = None
        self._seen_ms: dict[Source, int] = {}
        self._video_ms = -1

    def write(self, frame: Frame) -> None:
        """Own sound is mixed in, own pictures are left out."""
        source = (frame.who, frame.line)
        timeline = self._timelines.setdefault(source, Timeline(frame.line))
        at_ms = timeline.place(frame.gen, frame.timestamp, frame.at_ms)
        if frame.line is Line.AUDIO:
            for step, data in self._mixer.add(frame.who, at_ms // _STEP_MS, frame.data):
                self._file.write(Line.AUDIO, step * _STEP_MS, data, key=True)
        elif not frame.own:
            self._picture(source, at_ms, frame)

    def close(self) -> int:
        """Finishes the file; its duration in milliseconds."""
        for step, data in self._mixer.drain():
            self._file.write(Line.AUDIO, step * _STEP_MS, data, key=True)
        self._file.close()
        return self._file.duration_ms

    def _picture(self, source: Source, at_ms: int, frame: Frame) -> None:
        if frame.key and source != self._active and self._may_take_over(source, at_ms):
            self._active = source
        self._seen_ms[source] = at_ms
        size = vp8.dimensions(frame.data)
        if size is not None and source == self._active:
            self._file.set_size(Line.CAMERA, *size)
        if source == self._active:
            self._video_ms = max(self._video_ms + 1, at_ms)
            self._file.write(Line.CAMERA, self._video_ms, frame.data, key=frame.key)

    def _may_take_over(self, source: Source, at_ms: int) -> bool:
        if self._active is None or source[1] is Line.SCREEN:
            return True
        return at_ms - self._seen_ms.get(self._active, 0) > STALE_MS


class Mixer:
    """Adds up sounds that belong to the same 20 ms and encodes the sum."""

    def __init__(self) -> None:
        self._decoders: dict[str, Any] = {}
        self._steps: dict[int, list[array[int]]] = {}
        self._next: int | None = None
        self._newest = 0
        self._encoder = OpusEncoder()

    def add(self, who: str, step: int, data: bytes) -> list[tuple[int, bytes]]:
        """Takes one packet; the (step, packet) pairs that are due."""
        if who not in self._decoders:
            decoder: Any = av.CodecContext.create("libopus", "r")
            decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", SAMPLE_RATE
            self._decoders[who] = decoder
        try:
            frames = self._decoders[who].decode(av.Packet(data))
        except av.FFmpegError:
            return []
        for frame in frames:
            samples = array("h", bytes(frame.planes[0])[: frame.samples * 2])
            self._steps.setdefault(step, []).append(samples)
        self._newest = max(self._newest, step)
        return self._due(self._newest - LATE_STEPS)

    def drain(self) -> list[tuple[int, bytes]]:
        """What still waits."""
        return self._due(self._newest + 1)

    def _due(self, until: int) -> list[tuple[int, bytes]]:
        if self._next is None:
            self._next = min((step for step in self._steps if step < until), default=None)
        done = []
        while self._next is not None and self._next < until:
            step = self._next = self._over_the_hole(self._next, until)
            if step >= until:
                break
            packet = self._encoder.encode(_sum(self._steps.pop(step, [])), step * SOUND_SAMPLES)
            if packet is not None:
                done.append((step, bytes(packet)))
            self._next += 1
        for late in [step for step in self._steps if self._next is not None and step < self._next]:
            del self._steps[late]
        return done

    def _over_the_hole(self, step: int, until: int) -> int:
        """``step``, or the end of a hole that begins there and is too long to be written out."""
        if step in self._steps:
            return step
        end = min(min(self._steps, default=until), until)
        return end if end - step > MAX_GAP_STEPS else step


def _sum(sounds: list[array[int]]) -> bytes:
    if not sounds:
        return bytes(2 * SOUND_SAMPLES)
    mixed = sounds[0]
    for sound in sounds[1:]:
        pairs = zip_longest(mixed, sound, fillvalue=0)
        mixed = array("h", [max(-32768, min(32767, a + b)) for a, b in pairs])
    return mixed.tobytes()[: 2 * SOUND_SAMPLES].ljust(2 * SOUND_SAMPLES, b"\0")
