"""The ``call:`` channels that work: params to commands, results to the schema's structs; no decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sidecar.app.channels.owners import owner_of
from sidecar.app.services.call_media import NULL, CallMedia
from sidecar.app.services.calls import CallsService
from sidecar.calls import events as e
from sidecar.errors import Code, DeniedError, LocalError, UnavailableError
from sidecar.ipc.registry import Client, Registry
from sidecar.schema import (
    CallAcceptParams,
    CallEndParams,
    CallEndResult,
    CallGetParams,
    CallHistoryParams,
    CallHistoryResult,
    CallHoldParams,
    CallInitiateParams,
    CallMuteAudioParams,
    CallMuteAudioResult,
    CallMuteVideoParams,
    CallMuteVideoResult,
    CallRecord,
    CallRecordStartParams,
    CallRecordStartResult,
    CallRecordStopParams,
    CallRecordStopResult,
    CallRejectParams,
    CallRejectResult,
    CallResumeParams,
    CallSession,
    CallSetDeviceParams,
    CallSetDeviceResult,
    CallShareScreenParams,
    CallShareScreenResult,
    CallStatsParams,
    DeviceKind,
    MediaTrackKind,
    Permission,
)

_DEVICES = {
    DeviceKind.AUDIOINPUT: (MediaTrackKind.AUDIO, Permission.MEDIA_MICROPHONE),
    DeviceKind.VIDEOINPUT: (MediaTrackKind.VIDEO, Permission.MEDIA_CAMERA),
}


HISTORY_LIMIT = 50
"""Records of ``call:history`` where the client names no limit, as the schema says."""


class Past(Protocol):
    """Where ended calls are kept."""

    def newest(self, limit: int, before_ms: int | None) -> list[CallRecord]: ...


class CallChannels:
    """The handlers."""

    def __init__(
        self, calls: CallsService, media: CallMedia, past: Past, check_room: Callable[[], None]
    ) -> None:
        """``check_room`` raises UnavailableError when this machine cannot carry one more call."""
        self._calls = calls
        self._media = media
        self._past = past
        self._check_room = check_room

    def register(self, registry: Registry) -> None:
        registry.channel("call:initiate", self._initiate)
        registry.channel("call:accept", self._accept)
        registry.channel("call:reject", self._reject)
        registry.channel("call:end", self._end)
        registry.channel("call:hold", self._hold)
        registry.channel("call:resume", self._resume)
        registry.channel("call:get", self._get)
        registry.channel("call:list-active", self._list_active)
        registry.channel("call:history", self._history)
        registry.channel("call:mute-audio", self._mute_audio)
        registry.channel("call:mute-video", self._mute_video)
        registry.channel("call:share-screen", self._share_screen)
        registry.channel("call:set-device", self._set_device)
        registry.channel("call:stats", self._stats)
        registry.channel("call:record-start", self._record_start)
        registry.channel("call:record-stop", self._record_stop)

    # --- the life of a call ----------------------------------------------------------------------------

    async def _initiate(self, client: Client, params: CallInitiateParams) -> CallSession:
        owner = owner_of(client, params.media_owner)
        self._check_room()
        return await self._calls.initiate(
            params.user_id, params.type, params.room_id, params.domain_id, owner=owner
        )

    def _accept(self, client: Client, params: CallAcceptParams) -> CallSession:
        owner = owner_of(client, params.media_owner)
        self._check_room()
        listen_only = bool(params.listen_only)
        self._calls.handle(e.Accept(call_id=params.call_id, listen_only=listen_only, owner=owner))
        return self._session(params.call_id)

    def _reject(self, _: Client, params: CallRejectParams) -> CallRejectResult:
        self._calls.handle(e.Reject(call_id=params.call_id, detail=params.reason or ""))
        return CallRejectResult(rejected=True)

    def _end(self, _: Client, params: CallEndParams) -> CallEndResult:
        self._calls.handle(e.End(call_id=params.call_id))
        return CallEndResult(ended=True)

    def _hold(self, _: Client, params: CallHoldParams) -> CallSession:
        self._calls.handle(e.Hold(call_id=params.call_id))
        return self._session(params.call_id)

    def _resume(self, _: Client, params: CallResumeParams) -> CallSession:
        self._calls.handle(e.Resume(call_id=params.call_id))
        return self._session(params.call_id)

    def _get(self, _: Client, params: CallGetParams) -> CallSession:
        return self._session(params.call_id)

    def _list_active(self, _: Client, __: None) -> list[CallSession]:
        return self._calls.board.active()

    def _history(self, _: Client, params: CallHistoryParams) -> CallHistoryResult:
        return CallHistoryResult(records=self._past.newest(params.limit or HISTORY_LIMIT, params.before))

    def _session(self, call_id: str) -> CallSession:
        session = self._calls.board.session(call_id)
        if session is None:
            raise LocalError("there is no such call", code=Code.CALL_NOT_FOUND)
        return session

    # --- media of a call -------------------------------------------------------------------------------

    async def _mute_audio(self, _: Client, params: CallMuteAudioParams) -> CallMuteAudioResult:
        await self._media.mute(params.call_id, MediaTrackKind.AUDIO, params.muted)
        return CallMuteAudioResult(muted=params.muted)

    async def _mute_video(self, _: Client, params: CallMuteVideoParams) -> CallMuteVideoResult:
        await self._media.mute(params.call_id, MediaTrackKind.VIDEO, params.muted)
        return CallMuteVideoResult(muted=params.muted)

    async def _share_screen(self, _: Client, params: CallShareScreenParams) -> CallShareScreenResult:
        if not params.enabled:
            await self._media.stop_sharing(params.call_id)
            return CallShareScreenResult(sharing=False)
        if params.audio:
            raise LocalError("sharing sound is not implemented", code=Code.NOT_IMPLEMENTED)
        given = {"fps": params.fps, "cursor": params.cursor}
        options = {name: value for name, value in given.items() if value is not None}
        await self._media.share_screen(params.call_id, params.source_id, options)
        return CallShareScreenResult(sharing=True)

    async def _set_device(self, client: Client, params: CallSetDeviceParams) -> CallSetDeviceResult:
        if params.kind is DeviceKind.AUDIOOUTPUT:
            self._calls.handle(e.UseMedia(call_id=params.call_id))
            if params.device_id != NULL:
                raise UnavailableError("the sidecar plays no sound", code=Code.MEDIA_NO_DEVICE)
            return CallSetDeviceResult(set=True)
        kind, permission = _DEVICES[params.kind]
        _check_permission(client, permission)
        await self._media.set_device(params.call_id, kind, params.device_id)
        return CallSetDeviceResult(set=True)

    async def _stats(self, _: Client, params: CallStatsParams) -> Any:
        return await self._media.stats(params.call_id)

    async def _record_start(self, _: Client, params: CallRecordStartParams) -> CallRecordStartResult:
        return await self._media.record(params.call_id, params.mode)

    async def _record_stop(self, _: Client, params: CallRecordStopParams) -> CallRecordStopResult:
        return await self._media.stop_recording(params.recording_id)


def _check_permission(client: Client, permission: Permission) -> None:
    """For channels whose permission depends on their params; the registry knows the others."""
    if permission.value not in client.permissions:
        raise DeniedError(
            f"this needs the permission {permission.value}",
            code=Code.POLICY_PERMISSION_MISSING,
            details={"permission": permission.value},
        )
