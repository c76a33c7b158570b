"""What a user does with the media of a running call: devices, screens, recordings, numbers.

Each is a request to the media process; what it changes about the call is then told to the switchboard.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, Protocol

from sidecar.app.services.call_effects import LINES
from sidecar.app.services.calls import CallsService
from sidecar.calls import events as e
from sidecar.clock import Random
from sidecar.errors import Code, LocalError, SidecarError, UnavailableError
from sidecar.ids import hex_id
from sidecar.media import messages as m
from sidecar.schema import CallRecordStartResult, CallRecordStopResult, MediaTrackKind, RecordMode

NULL = "null:"
"""The device that there always is: silence, black, a speaker that is off."""
FINISHED_MAX = 64
"""Recordings that have ended and may still be asked for."""


class Media(Protocol):
    """What this service uses of the media service."""

    async def request(self, request: Any) -> Any: ...


class CallMedia:
    """All raise LocalError ``call.not-found`` or ``call.wrong-state`` where the call has no media."""

    def __init__(
        self,
        calls: CallsService,
        media: Media,
        *,
        sources: Mapping[MediaTrackKind, str],
        recordings: Path,
        random: Random,
        owned: Container[str] = (),
    ) -> None:
        """``recordings``: a folder of ours, made when it is first needed. ``owned``: calls whose media a
        front end has, which chooses its screens itself."""
        self._owned = owned
        self._calls = calls
        self._media = media
        self._sources = sources
        self._folder = recordings
        self._random = random
        self._recording: dict[str, str] = {}
        """Call of each running recording."""
        self._finished: OrderedDict[str, CallRecordStopResult] = OrderedDict()

    async def stats(self, call_id: str) -> Any:
        """Measurements in the shape of the schema's ``CallStats``."""
        self._calls.handle(e.UseMedia(call_id=call_id))
        return await self._media.request(m.GetStats(request_id=0, call_id=call_id))

    # --- lines -----------------------------------------------------------------------------------------

    async def mute(self, call_id: str, kind: MediaTrackKind, muted: bool) -> None:
        """Mutes or unmutes. A camera that was never on is started: so an audio call becomes a video call."""
        if not muted and self._could_start(call_id, kind):
            await self.set_device(call_id, kind, self._sources[kind])
        self._calls.handle(e.Mute(call_id=call_id, kind=kind, muted=muted))

    def _could_start(self, call_id: str, kind: MediaTrackKind) -> bool:
        if self._calls.board.sends(call_id, kind) or kind not in self._sources:
            return False
        try:
            self._calls.handle(e.UseMedia(call_id=call_id))
        except LocalError:  # nothing to start yet, or no more; muting itself says what is wrong
            return False
        return True

    async def set_device(self, call_id: str, kind: MediaTrackKind, device_id: str) -> None:
        """Sends from another device. Raises ``media.no-device`` for one that is not there."""
        await self._set_source(call_id, kind, device_id, {})
        on = not device_id.startswith(NULL)
        self._calls.handle(e.LineChanged(call_id=call_id, kind=kind, on=on))

    async def share_screen(self, call_id: str, source_id: str | None, options: dict[str, Any]) -> None:
        """Shares a screen, the first one if none is named, or another one from now on.

        Raises ``media.no-source`` where there is none.
        """
        self._calls.handle(e.UseMedia(call_id=call_id))
        source = source_id or ("" if call_id in self._owned else await self._first_screen())
        await self._set_source(call_id, MediaTrackKind.SCREEN, source, options)
        self._calls.handle(e.LineChanged(call_id=call_id, kind=MediaTrackKind.SCREEN, on=True))

    async def stop_sharing(self, call_id: str) -> None:
        """Ends sharing; nothing is shared is fine too."""
        self._calls.handle(e.UseMedia(call_id=call_id))
        if self._calls.board.sends(call_id, MediaTrackKind.SCREEN):
            await self._set_source(call_id, MediaTrackKind.SCREEN, None, {})
            self._calls.handle(e.LineChanged(call_id=call_id, kind=MediaTrackKind.SCREEN, on=False))

    async def _set_source(
        self, call_id: str, kind: MediaTrackKind, device_id: str | None, options: dict[str, Any]
    ) -> None:
        self._calls.handle(e.UseMedia(call_id=call_id))
        await self._media.request(
            m.SetSource(request_id=0, call_id=call_id, line=LINES[kind], device_id=device_id, options=options)
        )

    async def _first_screen(self) -> str:
        asked = m.ListScreens(request_id=0, types=("screen",), thumbnail_width=16, thumbnail_height=16)
        screens = await self._media.request(asked)
        if not screens:
            raise UnavailableError("there is no screen to share", code=Code.MEDIA_NO_SOURCE)
        return str(screens[0]["id"])

    # --- recordings ------------------------------------------------------------------------------------

    async def record(self, call_id: str, mode: RecordMode) -> CallRecordStartResult:
        """Records what is received, into a new folder of its own."""
        self._calls.handle(e.UseMedia(call_id=call_id))
        recording_id = hex_id(self._random.bytes(8))
        directory = self._make_folder(recording_id)
        begin = m.RecordStart(
            request_id=0,
            recording_id=recording_id,
            call_id=call_id,
            mode=mode.value,
            directory=str(directory),
        )
        try:
            path = str((await self._media.request(begin))["path"])
        except SidecarError:
            directory.rmdir()
            raise
        self._recording[recording_id] = call_id
        self._calls.handle(e.RecordingChanged(call_id=call_id, recording_id=recording_id, on=True, path=path))
        return CallRecordStartResult(recording_id=recording_id, path=path)

    async def stop_recording(self, recording_id: str) -> CallRecordStopResult:
        """Ends a recording; of one that has ended by itself it says the same again."""
        call_id = self._recording.get(recording_id)
        if call_id is not None:
            await self._stop(call_id, recording_id)
        finished = self._finished.get(recording_id)
        if finished is None:
            raise LocalError("there is no such recording", code=Code.CALL_NOT_FOUND)
        return finished

    async def _stop(self, call_id: str, recording_id: str) -> None:
        try:
            result = await self._media.request(m.RecordStop(request_id=0, recording_id=recording_id))
        except SidecarError as error:
            if error.code is not Code.INVALID_PARAMS:
                raise
            return  # it has ended by itself, which is told on its own
        self._finish(call_id, recording_id, str(result["path"]), int(result["durationMs"]))

    def on_media_event(self, event: m.Event) -> None:
        """Recordings also end with their call, with a full disk and with the media process."""
        if isinstance(event, m.RecordingEnded):
            self._finish(event.call_id, event.recording_id, event.path, event.duration_ms)
        elif isinstance(event, m.MediaLost):
            self._recording.clear()

    def _finish(self, call_id: str, recording_id: str, path: str, duration_ms: int) -> None:
        if self._recording.pop(recording_id, None) is None:
            return
        self._finished[recording_id] = CallRecordStopResult(path=path, duration_ms=duration_ms)
        if len(self._finished) > FINISHED_MAX:
            self._finished.popitem(last=False)
        self._calls.handle(
            e.RecordingChanged(
                call_id=call_id, recording_id=recording_id, on=False, path=path, duration_ms=duration_ms
            )
        )

    def _make_folder(self, recording_id: str) -> Path:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory = self._folder / recording_id
            directory.mkdir(mode=0o700)
        except OSError as error:
            raise UnavailableError(f"no folder for the recording: {error.strerror}") from None
        return directory
