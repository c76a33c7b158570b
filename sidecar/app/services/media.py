"""Runs media for core, in a child process or inside this one, behind one interface (DESIGN D11).

A child that dies is a network loss of every connection: MediaLost, a fresh child, and whoever owns the
calls opens new generations. Core never imports aiortc or av here; inline mode loads them on purpose.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Literal

import msgspec

from sidecar.app.services.media_runners import CHILD_MODULE, ChildRunner, InlineRunner, Runner
from sidecar.errors import Code, SidecarError, UnavailableError
from sidecar.log import Logger
from sidecar.media.messages import (
    Command,
    Configure,
    Event,
    GetStats,
    ListDevices,
    ListScreens,
    MediaLost,
    Ready,
    RecordStart,
    RecordStop,
    Reply,
    SetSource,
)

START_TIMEOUT_S = 20.0
"""Loading the codecs takes 0.5 s; a starved machine forty times that."""
REQUEST_TIMEOUT_S = 10.0
RESTART_DELAYS_S = (0.1, 0.5, 2.0, 10.0, 30.0)
"""After each crash in a row; the last one for all further ones."""
HEALTHY_S = 30.0
"""A child that was ready for so long starts a new row of crashes."""
MAX_REQUESTS = 256
MAX_POSTPONED = 64
"""Commands kept while there is no child: the opening of a call or two."""

Mode = Literal["child", "inline"]
Request = SetSource | GetStats | ListDevices | ListScreens | RecordStart | RecordStop


class MediaService:
    """``on_event`` gets every event but replies, on the loop, ``MediaLost`` included."""

    def __init__(
        self, mode: Mode, configure: Configure, log: Logger, on_event: Callable[[Event], None]
    ) -> None:
        self._mode = mode
        self._configure = configure
        self._log = log
        self._on_event = on_event
        self._runner: Runner | None = None
        self._ready = asyncio.Event()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._crashes = 0
        self._ready_at = 0.0
        self._postponed: list[Command] = []
        self._restart: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Of the child; None inline or while there is none."""
        return self._runner.pid if isinstance(self._runner, ChildRunner) else None

    async def start(self) -> None:
        """Returns when media takes commands; UnavailableError when it does not come up."""
        try:
            await self._run()
        except OSError as error:
            raise UnavailableError(f"media cannot be started: {error.strerror}") from None
        try:
            await asyncio.wait_for(self._ready.wait(), START_TIMEOUT_S)
        except TimeoutError:
            raise UnavailableError("media did not start") from None

    async def stop(self) -> None:
        """Ends media; pending requests fail."""
        self._stopping = True
        if self._restart is not None:
            self._restart.cancel()
        if self._runner is not None:
            await self._runner.stop()
            self._runner = None
        self._fail_waiting("media is stopping")

    def send(self, command: Command) -> None:
        """Fire and forget. While a crashed child is being replaced, commands wait for the new one."""
        if self._runner is not None:
            self._runner.post(command)
        elif not self._stopping and len(self._postponed) < MAX_POSTPONED:
            self._postponed.append(command)

    async def request(self, request: Request) -> Any:
        """Sends a request under a fresh id and returns its result; raises the error it is answered with.

        One that comes while media is being loaded for the first time waits for it.
        """
        if self._stopping or len(self._waiting) >= MAX_REQUESTS:
            why = "media is stopping" if self._stopping else "too many media requests at once"
            raise UnavailableError(why)
        if not self._crashes:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ready.wait(), REQUEST_TIMEOUT_S)
        if self._runner is None or not self._ready.is_set():
            raise UnavailableError("media is not running")
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._runner.post(msgspec.structs.replace(request, request_id=number))
            return await asyncio.wait_for(answer, REQUEST_TIMEOUT_S)
        except TimeoutError:
            raise UnavailableError("media did not answer in time") from None
        finally:
            del self._waiting[number]

    async def _run(self) -> None:
        if self._mode == "inline":
            module = await asyncio.to_thread(importlib.import_module, CHILD_MODULE)
            self._runner = InlineRunner(await asyncio.to_thread(module.make_engine, self._handle))
        else:
            self._runner = ChildRunner(self._log, self._handle, self._lost)
        self._runner.post(self._configure)
        for command in self._postponed:
            self._runner.post(command)
        self._postponed.clear()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Reply):
            self._settle(event)
            return
        if isinstance(event, Ready):
            self._ready.set()
            self._ready_at = monotonic()
        self._on_event(event)

    def _settle(self, reply: Reply) -> None:
        answer = self._waiting.get(reply.request_id)
        if answer is None or answer.done():
            return
        if reply.error is None:
            answer.set_result(reply.result)
        else:
            answer.set_exception(_error(reply.error))

    def _lost(self, status: int | None) -> None:
        self._runner = None
        was_ready = self._ready.is_set()
        self._ready.clear()
        self._fail_waiting("media died")
        if self._stopping:
            return
        self._log.error("media process died", status=status, crashes=self._crashes)
        if was_ready and monotonic() - self._ready_at >= HEALTHY_S:
            self._crashes = 0
        self._on_event(MediaLost())
        self._postponed.clear()  # what was said about the calls that are lost with it
        delay = RESTART_DELAYS_S[min(self._crashes, len(RESTART_DELAYS_S) - 1)]
        self._crashes += 1
        self._restart = asyncio.create_task(self._run_after(delay), name="media-restart")

    async def _run_after(self, delay: float) -> None:
        await asyncio.sleep(delay)
        try:
            await self._run()
        except OSError as error:
            self._log.error("media process cannot be started", reason=error.strerror)
            self._lost(None)

    def _fail_waiting(self, why: str) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(UnavailableError(why))


def _error(wire: dict[str, Any]) -> SidecarError:
    try:
        code = Code(wire["code"])
    except (KeyError, ValueError):
        code = Code.INTERNAL
    return SidecarError(str(wire.get("message", "")), code=code, details=wire.get("details"))
