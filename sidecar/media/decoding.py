"""Decoding on a thread per stream, started with its first frame, with a bounded queue before it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import av

from sidecar import log
from sidecar.frames import SAMPLE_RATE
from sidecar.media.core import vp8
from sidecar.media.encoders import AUDIO_CLOCK, VIDEO_CLOCK

_log = log.get("media")

QUEUE_FRAMES = 30
"""A second of video, 0.6 s of sound; a decoder that is further behind skips to a keyframe."""

_STOP = None


class Decoder:
    """``put`` on the loop; ``on_frame`` and ``on_lost`` are called on the thread or the loop."""

    def __init__(self, kind: str, on_frame: Callable[[Any], None], on_lost: Callable[[], None]) -> None:
        self._kind = kind
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._queue: queue.Queue[tuple[bytes, int] | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._to_keyframe = kind == "video"
        self.dropped = 0

    def put(self, data: bytes, timestamp: int) -> None:
        """One encoded frame; dropped when it cannot be decoded or the thread is behind."""
        if self._closed or not self._acceptable(data):
            self.dropped += 1
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"decode-{self._kind}", daemon=True)
            self._thread.start()
        self._queue.put((data, timestamp))

    def close(self) -> None:
        """The thread ends by itself, nobody waits for it."""
        self._closed = True
        self._queue.put(_STOP)

    def _acceptable(self, data: bytes) -> bool:
        if self._kind == "audio":
            return self._queue.qsize() < QUEUE_FRAMES
        if not vp8.decodable(data):
            self._to_keyframe = True
            return False
        if vp8.is_keyframe(data):
            self._to_keyframe = False
        elif self._queue.qsize() >= QUEUE_FRAMES:
            self._to_keyframe = True
        if self._to_keyframe:
            self._on_lost()
        return not self._to_keyframe

    def _work(self) -> None:
        context = _context(self._kind)
        clock = AUDIO_CLOCK if self._kind == "audio" else VIDEO_CLOCK
        while (item := self._queue.get()) is not _STOP and not self._closed:
            packet = av.Packet(item[0])
            packet.pts, packet.time_base = item[1], clock
            try:
                for frame in context.decode(packet):
                    self._on_frame(frame)
            except av.FFmpegError:
                _log.debug("a frame could not be decoded", kind=self._kind)
                self._on_lost()


def _context(kind: str) -> Any:
    if kind == "video":
        video = av.CodecContext.create("libvpx", "r")
        video.thread_count = 1
        return video
    audio: Any = av.CodecContext.create("libopus", "r")
    audio.format, audio.layout, audio.sample_rate = "s16", "mono", SAMPLE_RATE
    return audio
