"""Mode ``tracks``: one file per participant with its sound, camera and screen, nothing decoded."""

from __future__ import annotations

import os
import re

from sidecar.media.core import vp8
from sidecar.media.messages import Line
from sidecar.media.record.messages import Frame
from sidecar.media.record.timeline import Timeline
from sidecar.media.record.webm import WebmFile

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
        self._file = WebmFile(path, (Line.AUDIO, Line.CAMERA, Line.SCREEN))
        self._timelines = {line: Timeline(line) for line in Line}
        self._begun = {Line.AUDIO}

    def write(self, frame: Frame) -> None:
        """Pictures from the first keyframe on."""
        size = None if frame.line is Line.AUDIO else vp8.dimensions(frame.data)
        if size is not None:
            self._begun.add(frame.line)
            self._file.set_size(frame.line, *size)
        if frame.line in self._begun:
            at_ms = self._timelines[frame.line].place(frame.gen, frame.timestamp, frame.at_ms)
            self._file.write(frame.line, at_ms, frame.data, key=frame.key)

    def close(self) -> int:
        self._file.close()
        return self._file.duration_ms
