"""Media files as sources: played in a loop, in real time, from allowed folders only."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Sequence
from time import monotonic

import av
from av.video.reformatter import VideoReformatter

from sidecar.capture.threads import LatestPicture, fit
from sidecar.errors import Code, UnavailableError
from sidecar.frames import SAMPLE_RATE, SILENCE, SOUND_BYTES, SourceEndedError, picture_of

MAX_SIZE = (1280, 720)
QUEUED_SOUNDS = 25
"""Half a second decoded ahead."""
_UNREADABLE = (av.FFmpegError, OSError, UnavailableError)
_MIN_LOOP_S = 0.01
"""A file shorter than this does not loop: it would spin."""


def resolve(path: str, folders: Sequence[str]) -> str:
    """The real path of a file inside one of ``folders``; no link and no ``..`` leads out of them."""
    for folder in folders:
        root = os.path.realpath(folder)
        real = os.path.realpath(os.path.join(root, path))
        if os.path.commonpath((root, real)) == root and os.path.isfile(real):
            return real
    raise UnavailableError("no such file in the allowed folders", code=Code.MEDIA_NO_SOURCE)


def open_pictures(path: str) -> LatestPicture:
    """The video of a file. UnavailableError when it has none that can be decoded."""
    with _open(path) as container:
        if not container.streams.video:
            raise UnavailableError("the file has no video", code=Code.MEDIA_NO_SOURCE)
        rate = container.streams.video[0].average_rate
    fps = min(30.0, max(1.0, float(rate) if rate else 30.0))
    return LatestPicture("file-video", fps, lambda slot: _play_video(path, slot))


def open_sound(path: str) -> FileSound:
    """The sound of a file. UnavailableError when it has none that can be decoded."""
    with _open(path) as container:
        if not container.streams.audio:
            raise UnavailableError("the file has no sound", code=Code.MEDIA_NO_SOURCE)
    return FileSound(path)


class FileSound:
    """Decodes ahead on a thread; an empty queue is silence, never a wait."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._closing = threading.Event()
        self._ended = False
        self._queue: queue.Queue[bytes] = queue.Queue(QUEUED_SOUNDS)
        threading.Thread(target=self._run, name="file-audio", daemon=True).start()

    def sound(self) -> bytes:
        """The next 20 ms."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            if self._ended:
                raise SourceEndedError from None
            return SILENCE

    def close(self) -> None:
        """The thread ends by itself."""
        self._closing.set()

    def _run(self) -> None:
        try:
            while not self._closing.is_set() and self._play() > 0:
                pass
        except _UNREADABLE:
            pass
        finally:
            self._ended = True

    def _play(self) -> int:
        """The whole file once; how many sounds it gave."""
        count, rest = 0, b""
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        with _open(self._path) as container:
            for decoded in container.decode(audio=0):
                for frame in resampler.resample(decoded):
                    rest += bytes(frame.planes[0])[: frame.samples * 2]
                while len(rest) >= SOUND_BYTES:
                    if not self._offer(rest[:SOUND_BYTES]):
                        return 0
                    rest, count = rest[SOUND_BYTES:], count + 1
        return count

    def _offer(self, sound: bytes) -> bool:
        while not self._closing.is_set():
            try:
                self._queue.put(sound, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def _play_video(path: str, slot: LatestPicture) -> None:
    reformatter = VideoReformatter()
    while not slot.closing.is_set():
        started = monotonic()
        try:
            if not _play_video_once(path, slot, reformatter):
                return
        except _UNREADABLE:
            return
        if monotonic() - started < _MIN_LOOP_S:
            return


def _play_video_once(path: str, slot: LatestPicture, reformatter: VideoReformatter) -> bool:
    """False when closed half way or nothing was there to show."""
    origin: float | None = None
    with _open(path) as container:
        for frame in container.decode(video=0):
            at = float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base else 0.0
            origin = monotonic() - at if origin is None else origin
            if slot.closing.wait(max(0.0, origin + at - monotonic())):
                return False
            width, height = fit(frame.width, frame.height, *MAX_SIZE)
            slot.publish(picture_of(reformatter.reformat(frame, width, height, "yuv420p")))
    return origin is not None


def _open(path: str) -> av.container.InputContainer:
    try:
        return av.open(path, "r")
    except (av.FFmpegError, OSError):
        raise UnavailableError("the file cannot be read as media", code=Code.MEDIA_NO_SOURCE) from None
