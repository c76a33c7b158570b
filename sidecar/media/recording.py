"""One recording as media sees it: taps on what arrives, a bounded pipe, a child that writes (FAULTS M10).

The loop never waits for the child: what does not fit into the pipe's queue is dropped, told once, and a
line of pictures goes on with its next keyframe.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from sidecar import log
from sidecar.errors import Code, LocalError, UnavailableError
from sidecar.media.core.framing import frame
from sidecar.media.encoders import Packet
from sidecar.media.link import Link
from sidecar.media.messages import Line, RecordingEnded, RecordStart
from sidecar.media.pipes import PipeReader, PipeWriter
from sidecar.media.record.messages import Begin, Done, Finish, Frame, Mode, decode_done

QUEUE_BYTES = 8 * 1024 * 1024
"""Half a minute of a call at 2 Mbit/s; a disk that is further behind loses frames."""
SLOW_NOTICE_S = 10.0
"""Between two warnings about the same recording."""
FINISH_TIMEOUT_S = 15.0

_log = log.get("record")


class Recording:
    """From ``RecordStart`` to ``RecordStop``, the end of the call, or a full disk."""

    def __init__(
        self,
        start: RecordStart,
        argv: Sequence[str],
        on_slow: Callable[[], None],
        on_ended: Callable[[RecordingEnded], None],
    ) -> None:
        self.recording_id = start.recording_id
        self.call_id = start.call_id
        try:
            self._mode = Mode(start.mode)
        except ValueError:
            raise LocalError("mode is mixed or tracks") from None
        name = start.recording_id if self._mode is Mode.TRACKS else f"{start.recording_id}.webm"
        self.path = os.path.join(start.directory, name)
        self._argv = list(argv)
        self._on_slow = on_slow
        self._on_ended = on_ended
        self._started_at = monotonic()
        self._slow_at = -SLOW_NOTICE_S
        self._to_keyframe: set[tuple[str, Line]] = set()
        self._writer: PipeWriter | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[Done] = self._loop.create_future()
        self._finishing = False
        self._links: list[Link] = []
        self._stop_listening: list[Callable[[], None]] = []

    async def start(self) -> None:
        """Spawns the child. UnavailableError when that fails."""
        try:
            await asyncio.to_thread(self._spawn)
        except OSError as error:
            raise UnavailableError(f"recorder: {error.strerror}", code=Code.RESOURCE) from None
        assert self._writer is not None
        self._writer.send(frame(Begin(mode=self._mode, path=self.path)))

    def add_link(self, link: Link) -> None:
        """Records what arrives on ``link``; asks for keyframes to begin with."""
        self._links.append(link)
        for line, sink in link.sinks.items():
            sink.set_tap(self._tap(link.peer.user_id, link.peer.gen, line))
        link.want_keyframes()

    def add_own(self, line: Line, listen: Callable[[Callable[[Packet], None]], Callable[[], None]]) -> None:
        """Mixes in what this side sends (sound only)."""
        if self._mode is Mode.MIXED:
            self._stop_listening.append(listen(lambda packet: self._own(line, packet)))

    async def finish(self) -> dict[str, Any]:
        """Ends the recording: {path, durationMs}."""
        self._detach()
        self._finishing = True
        if self._writer is not None:
            self._writer.send(frame(Finish()))
            self._writer.close()
        try:
            done = await asyncio.wait_for(asyncio.shield(self._done), FINISH_TIMEOUT_S)
        except TimeoutError:
            if self._process is not None:
                self._process.kill()
            raise UnavailableError("the recorder did not finish", code=Code.RESOURCE) from None
        return {"path": self.path, "durationMs": done.duration_ms}

    def _detach(self) -> None:
        for link in self._links:
            for sink in link.sinks.values():
                sink.set_tap(None)
        for stop in self._stop_listening:
            stop()
        self._links.clear()
        self._stop_listening.clear()

    def _tap(self, who: str, gen: int, line: Line) -> Callable[[bytes, int, bool], None]:
        def tap(data: bytes, timestamp: int, key: bool) -> None:
            self._send(
                Frame(
                    who=who,
                    line=line,
                    gen=gen,
                    at_ms=self._at_ms(),
                    timestamp=timestamp,
                    key=key,
                    data=data,
                )
            )

        return tap

    def _own(self, line: Line, packet: Packet) -> None:
        self._send(
            Frame(
                who="",
                line=line,
                gen=0,
                at_ms=self._at_ms(),
                timestamp=packet.pts or 0,
                key=packet.is_keyframe,
                data=bytes(packet),
                own=True,
            )
        )

    def _send(self, message: Frame) -> None:
        source = (message.who, message.line)
        if source in self._to_keyframe and not message.key:
            return
        assert self._writer is not None
        if self._writer.send(frame(message)):
            self._to_keyframe.discard(source)
            return
        if message.line is not Line.AUDIO:
            self._to_keyframe.add(source)
        now = monotonic()
        if now - self._slow_at >= SLOW_NOTICE_S:
            self._slow_at = now
            self._on_slow()

    def _at_ms(self) -> int:
        return int((monotonic() - self._started_at) * 1000)

    def _spawn(self) -> None:
        process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._writer = PipeWriter(os.dup(process.stdin.fileno()), QUEUE_BYTES)
        process.stdin.close()
        self._writer.start()
        PipeReader(process.stdout.fileno(), self._answered, self._ended).start()

    def _answered(self, body: bytes) -> None:
        self._tell(decode_done(body))

    def _ended(self) -> None:
        """On the reader's thread: the child is gone, with an answer before or without."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.wait()
        self._process.stdout.close()
        if self._writer is not None:
            self._writer.close()
        self._tell(Done(duration_ms=self._at_ms(), error="the recorder died"))

    def _tell(self, done: Done) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, done)

    def _settle(self, done: Done) -> None:
        if self._done.done():
            return
        self._done.set_result(done)
        if done.error:
            _log.warning("a recording ended early", recording_id=self.recording_id, reason=done.error)
        if not self._finishing:
            self._detach()
            self._on_ended(
                RecordingEnded(
                    recording_id=self.recording_id,
                    call_id=self.call_id,
                    path=self.path,
                    duration_ms=done.duration_ms,
                )
            )
