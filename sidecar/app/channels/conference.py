"""The ``conference:`` channels: params to commands, results to the schema's structs; no decisions."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.app.channels.owners import owner_of
from sidecar.app.services.calls import CallsService
from sidecar.app.services.meetings import Meetings
from sidecar.calls import events as ce
from sidecar.conference import events as e
from sidecar.ipc.registry import Client, Registry
from sidecar.schema import (
    CallSession,
    ConferenceCreateParams,
    ConferenceDeclineParams,
    ConferenceDeclineResult,
    ConferenceInviteParams,
    ConferenceInviteResult,
    ConferenceJoinParams,
    ConferenceLeaveParams,
    ConferenceLeaveResult,
    ConferenceMuteRequestParams,
    ConferenceMuteRequestResult,
    ConferencePeekParams,
    ConferencePeekResult,
    ConferenceRemoveParams,
    ConferenceRemoveResult,
)


class ConferenceChannels:
    """The handlers."""

    def __init__(self, calls: CallsService, meetings: Meetings, check_room: Callable[[], None]) -> None:
        """``check_room`` raises UnavailableError when this machine cannot carry one more call."""
        self._calls = calls
        self._meetings = meetings
        self._check_room = check_room

    def register(self, registry: Registry) -> None:
        registry.channel("conference:create", self._create)
        registry.channel("conference:join", self._join)
        registry.channel("conference:leave", self._leave)
        registry.channel("conference:invite", self._invite)
        registry.channel("conference:peek", self._peek)
        registry.channel("conference:decline", self._decline)
        registry.channel("conference:mute-request", self._mute_request)
        registry.channel("conference:remove", self._remove)

    def _create(self, client: Client, params: ConferenceCreateParams) -> CallSession:
        self._check_room()
        return self._meetings.create(
            params.room_id,
            params.type,
            ring=params.ring is not False,
            domain_id=params.domain_id,
            owner=owner_of(client, params.media_owner),
        )

    def _join(self, client: Client, params: ConferenceJoinParams) -> CallSession:
        self._check_room()
        return self._meetings.join(
            params.call_id,
            listen_only=bool(params.listen_only),
            owner=owner_of(client, params.media_owner),
        )

    def _leave(self, _: Client, params: ConferenceLeaveParams) -> ConferenceLeaveResult:
        self._calls.handle(ce.End(call_id=params.call_id))
        return ConferenceLeaveResult(left=True)

    async def _invite(self, _: Client, params: ConferenceInviteParams) -> ConferenceInviteResult:
        await self._meetings.invite(params.call_id, params.user_id)
        return ConferenceInviteResult(invited=True)

    def _peek(self, _: Client, params: ConferencePeekParams) -> ConferencePeekResult:
        return self._meetings.peek(params.room_id, params.call_id)

    def _decline(self, _: Client, params: ConferenceDeclineParams) -> ConferenceDeclineResult:
        self._calls.handle(ce.Reject(call_id=params.call_id))
        return ConferenceDeclineResult(declined=True)

    def _mute_request(self, _: Client, params: ConferenceMuteRequestParams) -> ConferenceMuteRequestResult:
        self._calls.handle(e.Hush(call_id=params.call_id, user_id=params.user_id))
        return ConferenceMuteRequestResult(requested=True)

    def _remove(self, _: Client, params: ConferenceRemoveParams) -> ConferenceRemoveResult:
        self._calls.handle(e.Remove(call_id=params.call_id, user_id=params.user_id))
        return ConferenceRemoveResult(removed=True)
