"""The media engine: takes the commands of ``messages``, emits its events. Knows no process and no pipe."""

from __future__ import annotations

import asyncio
import gc
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Any

from sidecar import log
from sidecar.errors import Code, InternalError, LocalError, RemoteError, SidecarError, UnavailableError
from sidecar.media.border.install import install
from sidecar.media.border.peer import warm_up
from sidecar.media.call import Call, Catalog
from sidecar.media.core.addresses import parse_networks
from sidecar.media.core.liveness import TICK_S
from sidecar.media.link import ClosedError, Emit, Link, Surroundings
from sidecar.media.messages import (
    ApplyAnswer,
    CallClosed,
    CloseCall,
    ClosePeer,
    Command,
    Configure,
    GetStats,
    Line,
    ListDevices,
    ListScreens,
    OpenCall,
    OpenPeer,
    PeerFailed,
    PeerRef,
    Ready,
    RecordingEnded,
    RecordStart,
    RecordStop,
    Reply,
    Role,
    SendControl,
    SetMuted,
    SetSendPlan,
    SetSource,
    Shutdown,
    Warning,
)
from sidecar.media.recording import Recording

_log = log.get("media")

POOL_THREADS = 3
"""Two encodes at once (camera and screen) and one slow source being opened."""
MAX_CALLS = 16
MAX_LINKS = 64
"""Twice an 8-way mesh in which every pair is between two generations, and some."""

Request = SetSource | GetStats | ListDevices | ListScreens | RecordStart | RecordStop


def _full_pool() -> ThreadPoolExecutor:
    """All threads now, not one at some later call: what a process holds then changes with its calls only."""
    pool, all_there = ThreadPoolExecutor(POOL_THREADS, "media"), threading.Barrier(POOL_THREADS)
    for _ in range(POOL_THREADS):
        pool.submit(all_there.wait)
    return pool


class Engine:
    """``post`` never blocks and never raises: what goes wrong is reported as an event."""

    def __init__(self, emit: Emit, catalog: Catalog, record_argv: Sequence[str]) -> None:
        self._emit = emit
        self._record_argv = record_argv
        self._recordings: dict[str, Recording] = {}
        self._catalog = catalog
        self._pool = _full_pool()
        self._calls: dict[str, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._around = Surroundings(Configure(), (), emit)
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Configure: self._configure,
            OpenCall: self._open_call,
            OpenPeer: self._open_peer,
            ApplyAnswer: self._apply_answer,
            ClosePeer: self._close_peer,
            CloseCall: self._close_call,
            SetMuted: self._set_muted,
            SendControl: self._send_control,
            SetSendPlan: self._set_send_plan,
        }
        self._requests: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            SetSource: self._set_source,
            GetStats: self._get_stats,
            ListDevices: self._list_devices,
            ListScreens: self._list_screens,
            RecordStart: self._record_start,
            RecordStop: self._record_stop,
        }
        self.stopped = asyncio.Event()

    def post(self, command: Command) -> None:
        """Takes a command; the order of commands about one peer is kept."""
        if isinstance(command, Shutdown):
            self._spawn(self.close())
            return
        handler = self._handlers.get(type(command))
        if handler is None:
            self._spawn(self._answer(command))  # type: ignore[arg-type]
            return
        try:
            handler(command)
        except Exception:
            _log.error("a media command failed", trace=traceback.format_exc())

    async def close(self) -> None:
        """Ends every call; may be called twice."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        calls, self._calls = list(self._calls.values()), {}
        await asyncio.gather(*(self._end_call(call) for call in calls))
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.stopped.set()

    # --- commands ---------------------------------------------------------------------------------------

    def _configure(self, command: Configure) -> None:
        if self._ticker is not None:
            return
        install()
        self._around = Surroundings(command, parse_networks(command.ice_interfaces), self._emit)
        self._catalog.configure(command.file_folders, command.display)
        self._ticker = asyncio.create_task(self._tick(), name="media-ticker")
        self._emit(Ready())
        self._spawn(warm_up())

    def _open_call(self, command: OpenCall) -> None:
        if command.call_id in self._calls or len(self._calls) >= MAX_CALLS:
            return
        call = Call(command.call_id, self._catalog, self._pool, self._source_lost)
        self._calls[command.call_id] = call
        for line in command.muted:
            call.set_muted(line, True)
        for line, device_id in command.sources.items():
            self._spawn(self._first_source(call, line, device_id))

    def _open_peer(self, command: OpenPeer) -> None:
        call = self._calls.get(command.peer.call_id)
        links = sum(len(call.links) for call in self._calls.values())
        if call is None or command.peer in call.links or links >= MAX_LINKS:
            self._emit(
                PeerFailed(peer=command.peer, reason="internal-error", detail="no such call or no room")
            )
            return
        link = Link(command, call.lines, call.certificate(command.peer.user_id), self._around)
        call.add_link(link)
        if command.role is Role.OFFERER:
            self._spawn(self._negotiate(link, link.offer()))
        else:
            self._spawn(self._negotiate(link, link.answer(command.remote_sdp or "")))

    def _apply_answer(self, command: ApplyAnswer) -> None:
        link = self._link(command.peer)
        if link is not None:
            self._spawn(self._negotiate(link, link.apply_answer(command.sdp)))

    def _close_peer(self, command: ClosePeer) -> None:
        call = self._calls.get(command.peer.call_id)
        link = call.part(command.peer) if call else None
        if link is not None:
            self._spawn(link.close())

    def _close_call(self, command: CloseCall) -> None:
        call = self._calls.pop(command.call_id, None)
        if call is not None:
            self._spawn(self._end_call(call))  # which begins after what it ends has been measured
            self._emit(CallClosed(call_id=command.call_id, stats={"participants": call.last_stats()}))

    def _send_control(self, command: SendControl) -> None:
        link = self._link(command.peer)
        if link is not None:
            link.tell_note(command.name, command.data)

    def _set_send_plan(self, command: SetSendPlan) -> None:
        call = self._calls.get(command.call_id)
        if call is not None:
            call.set_send_plan(command)

    def _set_muted(self, command: SetMuted) -> None:
        call = self._calls.get(command.call_id)
        if call is not None:
            call.set_muted(command.line, command.muted)

    # --- requests ---------------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> None:
        try:
            handler = self._requests.get(type(request))
            if handler is None:
                raise LocalError("not a request", code=Code.NOT_IMPLEMENTED)
            reply = Reply(request_id=request.request_id, result=await handler(request))
            _log.debug("request answered", request=type(request).__name__, tasks=len(asyncio.all_tasks()))
        except SidecarError as error:
            reply = Reply(request_id=request.request_id, error=error.to_wire())
        except Exception:
            _log.error("a media request failed", trace=traceback.format_exc())
            reply = Reply(
                request_id=request.request_id, error=InternalError("media request failed").to_wire()
            )
        self._emit(reply)

    async def _set_source(self, request: SetSource) -> None:
        await self._call(request.call_id).set_source(request.line, request.device_id, request.options)

    async def _get_stats(self, request: GetStats) -> dict[str, Any]:
        return {"participants": self._call(request.call_id).stats()}

    async def _list_devices(self, request: ListDevices) -> list[dict[str, Any]]:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._catalog.devices)

    async def _list_screens(self, request: ListScreens) -> list[dict[str, Any]]:
        return await asyncio.get_running_loop().run_in_executor(
            self._pool,
            self._catalog.screens,
            request.types,
            request.thumbnail_width,
            request.thumbnail_height,
        )

    async def _record_start(self, request: RecordStart) -> dict[str, Any]:
        call = self._call(request.call_id)
        if call.recording is not None or request.recording_id in self._recordings:
            raise LocalError("the call is being recorded", code=Code.CALL_WRONG_STATE)

        def slow() -> None:
            self._emit(Warning(call_id=request.call_id, code="recorder-slow"))

        recording = Recording(request, self._record_argv, slow, self._recording_ended)
        self._recordings[request.recording_id] = recording
        try:
            await recording.start()
        except UnavailableError:
            del self._recordings[request.recording_id]
            raise
        call.record(recording)
        return {"path": recording.path}

    async def _record_stop(self, request: RecordStop) -> dict[str, Any]:
        recording = self._recordings.pop(request.recording_id, None)
        if recording is None:
            raise LocalError("no such recording", code=Code.INVALID_PARAMS)
        call = self._calls.get(recording.call_id)
        if call is not None:
            call.recording = None
        return await recording.finish()

    # --- what goes on inside ----------------------------------------------------------------------------

    async def _first_source(self, call: Call, line: Line, device_id: str) -> None:
        try:
            await call.set_source(line, device_id, {})
        except SidecarError as error:
            _log.warning("a source of a new call is missing", reason=error.code.value)
            self._emit(Warning(call_id=call.call_id, code="device-lost"))

    async def _end_call(self, call: Call) -> None:
        recording = call.recording
        await call.close()
        if not self._calls:
            gc.collect()  # a connection is full of cycles; 30 ms that no call can hear
        if recording is not None and self._recordings.pop(recording.recording_id, None) is not None:
            result: dict[str, Any] = {"path": recording.path, "durationMs": 0}
            with suppress(UnavailableError):
                result = await recording.finish()
            self._emit(
                RecordingEnded(
                    recording_id=recording.recording_id,
                    call_id=call.call_id,
                    path=result["path"],
                    duration_ms=result["durationMs"],
                )
            )

    def _recording_ended(self, event: RecordingEnded) -> None:
        """The recorder gave up by itself."""
        self._recordings.pop(event.recording_id, None)
        call = self._calls.get(event.call_id)
        if call is not None:
            call.recording = None
        self._emit(event)

    async def _negotiate(self, link: Link, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except RemoteError as error:
            self._fail(link, "media-failed", f"{error.reason}: {error.message}")
        except ClosedError:
            return
        except Exception as error:
            _log.error("negotiation failed", trace=traceback.format_exc())
            self._fail(link, "media-failed", str(error))

    def _fail(self, link: Link, reason: str, detail: str) -> None:
        if self._link(link.peer) is link:
            self._emit(PeerFailed(peer=link.peer, reason=reason, detail=detail))
            self._close_peer(ClosePeer(peer=link.peer))

    def _source_lost(self, call_id: str, line: Line) -> None:
        self._emit(Warning(call_id=call_id, code="device-lost" if line is Line.AUDIO else "source-lost"))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = monotonic()
            for call in list(self._calls.values()):
                for link in list(call.links.values()):
                    link.tick(now)

    def _call(self, call_id: str) -> Call:
        call = self._calls.get(call_id)
        if call is None:
            raise LocalError("media knows no such call", code=Code.CALL_NOT_FOUND)
        return call

    def _link(self, peer: PeerRef) -> Link | None:
        call = self._calls.get(peer.call_id)
        return call.links.get(peer) if call else None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
