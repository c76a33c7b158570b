"""One WebM file of encoded frames, written so that ``kill -9`` leaves all but the last half second."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av

from sidecar.media.messages import Line

MILLISECONDS = Fraction(1, 1000)
_OPTIONS = {"flush_packets": "1", "cluster_time_limit": "500"}
_SOUND_MS = 20


class WebmFile:
    """Streams are fixed when it is opened; ``sizes`` of the video lines are nominal, a keyframe rules."""

    def __init__(self, path: str, sizes: Mapping[Line, tuple[int, int]]) -> None:
        self._container = av.open(path, "w", format="webm", container_options=_OPTIONS)
        self._streams: dict[Line, Any] = {}
        for line, (width, height) in sizes.items():
            stream: Any = self._container.add_mux_stream("vp8", rate=30, width=width, height=height)
            stream.time_base = MILLISECONDS
            self._streams[line] = stream
        audio: Any = self._container.add_stream("libopus", rate=48_000, layout="mono")
        audio.time_base = MILLISECONDS
        self._streams[Line.AUDIO] = audio
        self.duration_ms = 0

    def write(self, line: Line, at_ms: int, data: bytes, *, key: bool) -> None:
        """One frame; times of a line increase. OSError when the disk is full."""
        stream = self._streams[line]
        packet = av.Packet(data)
        packet.stream = stream
        packet.pts = packet.dts = at_ms
        packet.time_base = MILLISECONDS
        packet.is_keyframe = key
        self._container.mux_one(packet)
        self.duration_ms = max(self.duration_ms, at_ms + _SOUND_MS)

    def close(self) -> None:
        """Writes duration and index."""
        self._container.close()
