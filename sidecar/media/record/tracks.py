"""Mode ``tracks``: one file per participant with its sound, camera and screen, nothing decoded."""

from __future__ import annotations

import os
import re

from sidecar.media.core import vp8
from sidecar.media.messages import Line
from sidecar.media.record.container import WebmFile
from sidecar.media.record.messages import Frame
from sidecar.media.record.timeline import Timeline

WAIT_FOR_CAMERA_MS = 1_000
"""How long a file waits for the camera's first keyframe to learn its size."""
NOMINAL = {Line.CAMERA: (640, 360), Line.SCREEN: (1280, 720)}
MAX_PARTICIPANTS = 32

_SAFE = re.compile(r"[^A-Za-z0-9_.-]")


class TracksWriter:
    """``folder`` is made; files are named for the participants."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        self._folder = folder
        self._files: dict[str, _Participant] = {}

    def write(self, frame: Frame) -> None:
        """Own frames are left out: it is recorded what was received."""
        if frame.own or (frame.who not in self._files and len(self._files) >= MAX_PARTICIPANTS):
            return
        if frame.who not in self._files:
            name = _SAFE.sub("_", frame.who)[:64] or "_"
            self._files[frame.who] = _Participant(os.path.join(self._folder, f"{name}.webm"))
        self._files[frame.who].write(frame)

    def close(self) -> int:
        """Finishes every file; the longest duration in milliseconds."""
        return max((file.close() for file in self._files.values()), default=0)


class _Participant:
    def __init__(self, path: str) -> None:
        self._path = path
        self._timelines = {line: Timeline(line) for line in Line}
        self._waiting: list[tuple[Frame, int]] = []
        self._sizes = dict(NOMINAL)
        self._has_keyframe: set[Line] = set()
        self._file: WebmFile | None = None

    def write(self, frame: Frame) -> None:
        if frame.line is not Line.AUDIO and frame.line not in self._has_keyframe:
            size = vp8.dimensions(frame.data)
            if size is None:
                return
            self._has_keyframe.add(frame.line)
            self._sizes[frame.line] = size
        at_ms = self._timelines[frame.line].place(frame.gen, frame.timestamp, frame.at_ms)
        self._waiting.append((frame, at_ms))
        waited = at_ms - self._waiting[0][1] >= WAIT_FOR_CAMERA_MS
        if self._file is None and (waited or Line.CAMERA in self._has_keyframe):
            self._file = WebmFile(self._path, self._sizes)
        if self._file is not None:
            self._flush(self._file)

    def close(self) -> int:
        if self._file is None and self._waiting:
            self._file = WebmFile(self._path, self._sizes)
        if self._file is None:
            return 0
        self._flush(self._file)
        self._file.close()
        return self._file.duration_ms

    def _flush(self, file: WebmFile) -> None:
        for frame, at_ms in self._waiting:
            file.write(frame.line, at_ms, frame.data, key=frame.key)
        self._waiting.clear()
