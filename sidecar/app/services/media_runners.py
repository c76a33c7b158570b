"""The two ways media runs: in a child process, or inside this one (DESIGN D11)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from sidecar.app import supervision
from sidecar.log import Logger, level
from sidecar.media.core import framing
from sidecar.media.messages import Command, Event, Shutdown
from sidecar.media.pipes import PipeReader, PipeWriter

CHILD_MODULE = "sidecar.app.processes.media"
MALLOC = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}
"""glibc's allocator: pictures and codec contexts go back to the system when a call ends. Left to itself it
kept 20 MB more after fifty calls; so it stays at what the first calls took."""
STOP_TIMEOUT_S = 2.0
COMMAND_QUEUE_BYTES = 4 * 1024 * 1024


class Runner(Protocol):
    """One run of media, however it runs."""

    def post(self, command: Command) -> None:
        """Gives it a command."""

    async def stop(self) -> None:
        """Ends it; returns when it is gone."""


class InlineRunner:
    """The engine in this process."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def post(self, command: Command) -> None:
        self._engine.post(command)

    async def stop(self) -> None:
        await self._engine.close()


class ChildRunner:
    """A child process, two threads, and the loop they report to."""

    def __init__(
        self, log: Logger, on_event: Callable[[Event], None], on_lost: Callable[[int | None], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._on_lost = on_lost
        self._gone = asyncio.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", CHILD_MODULE, level()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=os.environ | MALLOC,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.pid = self._process.pid
        supervision.adopt(self.pid)
        log.info("media process started", pid=self.pid)
        self._writer = PipeWriter(os.dup(self._process.stdin.fileno()), COMMAND_QUEUE_BYTES)
        self._process.stdin.close()
        self._writer.start()
        PipeReader(self._process.stdout.fileno(), self._frame, self._ended).start()

    def post(self, command: Command) -> None:
        if not self._writer.send(framing.frame(command)):
            self._process.kill()

    async def stop(self) -> None:
        self.post(Shutdown())
        self._writer.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), STOP_TIMEOUT_S)
            return
        self._process.kill()
        await self._gone.wait()

    def _frame(self, body: bytes) -> None:
        event = framing.decode_event(body)
        self._call(self._on_event, event)

    def _ended(self) -> None:
        status = self._process.wait()
        supervision.release(self.pid)
        self._writer.close()
        self._call(self._finish, status)

    def _finish(self, status: int) -> None:
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._gone.set()
        self._on_lost(status)

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)
