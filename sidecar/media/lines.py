"""The three lines of a call: each pulls its source, encodes once and pushes to every peer's track.

A line runs only while somebody listens (a peer's sender or a recording) and it has something to send.
Muted video is one black picture a second, muted audio one silent packet in ten; a source that ended is
a grey placeholder until another is set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from time import monotonic

from sidecar.frames import (
    SILENCE,
    SOUND_SAMPLES,
    Picture,
    PictureSource,
    SoundSource,
    SourceEndedError,
    black,
)
from sidecar.media.encoders import OpusEncoder, Packet, Vp8Encoder
from sidecar.media.messages import Line
from sidecar.media.tracks import PacketTrack

Listener = Callable[["Packet"], None]
SourceLost = Callable[[Line], None]

BITRATES = {Line.CAMERA: 600_000, Line.SCREEN: 1_000_000}
"""Bits a second: 360p30 of a face, 720p15 of text; adapted by the quality plan of a later step."""
IDLE_FPS = 1.0
KEYFRAME_INTERVAL_S = 0.5
"""Requests of several peers, or repeated ones, are served together."""
SOUND_S = 0.02
MUTED_SOUND_EVERY = 10
MAX_LATE_SOUNDS = 5
"""Further behind than 100 ms, the missed sounds are skipped instead of sent in a burst."""


class PacedLine:
    """What audio and video share: listeners, a source, mute, and a task that is asleep when idle."""

    def __init__(self, line: Line, on_source_lost: SourceLost) -> None:
        self.line = line
        self.muted = False
        self._on_source_lost = on_source_lost
        self._tracks: list[PacketTrack] = []
        self._listeners: list[Listener] = []
        self._waiter: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the line's task."""
        self._task = asyncio.create_task(self._run(), name=f"line-{self.line.value}")

    async def close(self) -> None:
        """Stops the task and frees the source."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._tracks.clear()
        self._listeners.clear()

    def make_track(self) -> PacketTrack:
        """A track for one more peer; it joins when its sender first asks for a packet."""
        return PacketTrack("audio" if self.line is Line.AUDIO else "video", self._join)

    def drop_track(self, track: PacketTrack) -> None:
        """The peer is gone."""
        if track in self._tracks:
            self._tracks.remove(track)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Also gives every packet to ``listener``; returns how to stop that."""
        self._listeners.append(listener)
        self._wake()

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    def set_muted(self, muted: bool) -> None:
        """Silence or black instead of the source, which keeps running."""
        self.muted = muted
        self._wake()

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return bool(self._tracks or self._listeners)

    def _join(self, track: PacketTrack) -> None:
        self._tracks.append(track)
        self._wake()

    def _fan_out(self, packet: Packet) -> None:
        for track in self._tracks:
            track.push(packet)
        for listener in self._listeners:
            listener(packet)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _sleep_until(self, when: float | None) -> None:
        """Until the monotonic time ``when`` or a ``_wake``; without a time only the latter."""
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        handle = None if when is None else loop.call_later(max(0.0, when - monotonic()), _settle, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if handle is not None:
                handle.cancel()

    async def _run(self) -> None:
        raise NotImplementedError


class VideoLine(PacedLine):
    """Camera or screen. One picture is encoded for nobody, so that the first peer finds everything warm."""

    def __init__(self, line: Line, pool: Executor, on_source_lost: SourceLost) -> None:
        super().__init__(line, on_source_lost)
        self._pool = pool
        self._encoder = Vp8Encoder(BITRATES[line])
        self._most_fps = float("inf")
        self._source: PictureSource | None = None
        self._source_since = 0.0
        self._placeholder: Picture | None = None
        self._last: Picture | None = None
        self._key_at = 0.0
        self._key_wanted = False
        self._warm = False

    @property
    def active(self) -> bool:
        """Whether the peer should expect pictures of something."""
        return self._source is not None and not self.muted

    def set_source(self, source: PictureSource | None) -> None:
        """From the next picture on; the old source is closed."""
        old, self._source = self._source, source
        self._source_since = monotonic()
        self._placeholder = None
        if source is None:
            self._last = None
        if old is not None:
            old.close()
        self._wake()

    def limit(self, height: int, fps: int, bitrate: int) -> None:
        """No more than this is encoded from now on."""
        self._most_fps = fps
        self._encoder.limit(height, bitrate)

    def request_keyframe(self) -> None:
        """A peer lost a picture."""
        self._key_wanted = True
        if monotonic() - self._key_at >= KEYFRAME_INTERVAL_S:
            self._wake()

    async def close(self) -> None:
        await super().close()
        self.set_source(None)
        self._encoder.close()

    def _join(self, track: PacketTrack) -> None:
        self._key_wanted, self._key_at = True, 0.0
        super()._join(track)

    async def _run(self) -> None:
        due = monotonic()
        while True:
            nothing = self._source is None and self._placeholder is None
            if nothing or (self._warm and not self.wanted):
                await self._sleep_until(None)
                due = monotonic()
                continue
            now = monotonic()
            self._warm = True
            picture = self._pull(now)
            if picture is None and self._keyframe_due(now):
                picture = self._last
            if picture is not None:
                packet = await self._encode(picture)
                if packet is not None:
                    self._fan_out(packet)
            due = max(due + 1.0 / self._fps, now)
            await self._sleep_until(due)

    @property
    def _fps(self) -> float:
        return IDLE_FPS if self.muted or self._source is None else min(self._source.fps, self._most_fps)

    def _pull(self, now: float) -> Picture | None:
        if self.muted:
            width, height = (self._last.width, self._last.height) if self._last else (640, 360)
            return black(width, height)
        if self._source is None:
            return self._placeholder
        try:
            picture = self._source.picture(now - self._source_since)
        except SourceEndedError:
            size = (self._last.width, self._last.height) if self._last else (640, 360)
            self.set_source(None)
            self._placeholder = _placeholder(*size)
            self._on_source_lost(self.line)
            return self._placeholder
        if picture is not None:
            self._last = picture
        return picture

    def _keyframe_due(self, now: float) -> bool:
        fresh = any(track.needs_keyframe for track in self._tracks)
        return (self._key_wanted or fresh) and now - self._key_at >= KEYFRAME_INTERVAL_S

    async def _encode(self, picture: Picture) -> Packet | None:
        now = monotonic()
        keyframe = self._keyframe_due(now)
        if keyframe:
            self._key_wanted, self._key_at = False, now
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._pool, lambda: self._encoder.encode(picture, int(now * 90_000), keyframe=keyframe)
        )


class AudioLine(PacedLine):
    """The microphone."""

    def __init__(self, on_source_lost: SourceLost) -> None:
        super().__init__(Line.AUDIO, on_source_lost)
        self._encoder = OpusEncoder()
        self._source: SoundSource | None = None

    @property
    def active(self) -> bool:
        """Whether the peer should expect sound."""
        return self._source is not None and not self.muted

    def set_source(self, source: SoundSource | None) -> None:
        """From the next sound on; the old source is closed."""
        old, self._source = self._source, source
        if old is not None:
            old.close()
        self._wake()

    async def close(self) -> None:
        await super().close()
        self.set_source(None)
        self._encoder.close()

    async def _run(self) -> None:
        origin, count = monotonic(), 0
        while True:
            if not self.wanted or self._source is None:
                await self._sleep_until(None)
                continue
            count = max(count, int((monotonic() - origin) / SOUND_S) - MAX_LATE_SOUNDS)
            sound = self._pull()
            if not self.muted or count % MUTED_SOUND_EVERY == 0:
                packet = self._encoder.encode(sound, count * SOUND_SAMPLES)
                if packet is not None:
                    self._fan_out(packet)
            count += 1
            while monotonic() < origin + count * SOUND_S:
                await self._sleep_until(origin + count * SOUND_S)

    def _pull(self) -> bytes:
        if self._source is None or self.muted:
            return SILENCE
        try:
            return self._source.sound()
        except SourceEndedError:
            self.set_source(None)
            self._on_source_lost(self.line)
            return SILENCE


def _placeholder(width: int, height: int) -> Picture:
    dark = black(width, height)
    return Picture(
        width,
        height,
        bytes([64]) * (width * height),
        dark.u,
        dark.v,
        stride=width,
        chroma_stride=dark.chroma_stride,
    )


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
