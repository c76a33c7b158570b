"""What a front end asks of conferences: makes ids, keys and spaces, and turns wishes into events."""

from __future__ import annotations

from sidecar.app.services.calls import CallsService
from sidecar.app.services.conferences import ConferenceService
from sidecar.app.services.policy import Policy
from sidecar.calls.events import Relation
from sidecar.clock import Clock, Random
from sidecar.conference import events as e
from sidecar.conference.hall import Hall
from sidecar.conference.machine import Conference
from sidecar.errors import Code, LocalError
from sidecar.ids import hex_id
from sidecar.schema import CallSession, CallType, ConferencePeekResult


class Meetings:
    """All raise LocalError, or DeniedError where a rule forbids it, as the machines do."""

    def __init__(
        self,
        calls: CallsService,
        conferences: ConferenceService,
        hall: Hall,
        *,
        policy: Policy,
        clock: Clock,
        random: Random,
    ) -> None:
        self._calls = calls
        self._conferences = conferences
        self._hall = hall
        self._policy = policy
        self._clock = clock
        self._random = random

    def create(
        self, room_id: str, call_type: CallType, *, ring: bool, domain_id: str | None, owner: str | None
    ) -> CallSession:
        """Starts the conference of a room, or joins the one that lives there."""
        nonce = self._hex(16)
        new_id = self._hall.new_id(room_id, nonce)
        living = self._hall.living(room_id, self._clock.monotonic())
        with self._conferences.lease() as lease:
            self._calls.handle(
                e.Create(
                    call_id=new_id,
                    room_id=room_id,
                    call_type=call_type,
                    session=self._hex(16),
                    key=self._hex(32),
                    nonce=nonce,
                    lease=lease,
                    at_ms=self._clock.wall_ms(),
                    network_ms=self._clock.network_ms(),
                    ring=ring,
                    domain_id=domain_id,
                    owner=owner,
                )
            )
        return self._session(living.call_id if living else new_id)

    def join(self, call_id: str, *, listen_only: bool, owner: str | None) -> CallSession:
        """Our user joins; the session is that of the conference that the room has settled on."""
        known = self._hall.get(call_id)
        with self._conferences.lease() as lease:
            self._calls.handle(
                e.Join(
                    call_id=call_id,
                    lease=lease,
                    at_ms=self._clock.wall_ms(),
                    network_ms=self._clock.network_ms(),
                    listen_only=listen_only,
                    owner=owner,
                )
            )
        room_id = known.facts.room_id if known else None
        settled = self._hall.living(room_id, self._clock.monotonic()) if room_id else known
        return self._session(settled.call_id if settled else call_id)

    async def invite(self, call_id: str, user_id: str) -> None:
        """Asks somebody in; a 1:1 call grows. Raises UnavailableError, too, when no relay can be asked for
        the user's key."""
        if self._calls.board.session(call_id) is None:
            raise _not_found()
        self._policy.must_call(user_id, None, None)
        if await self._calls.relation(user_id) is Relation.UNKNOWN:
            raise LocalError("userId: no key of this user is known", details={"field": "userId"})
        with self._conferences.lease() as lease:
            self._calls.handle(
                e.Invite(
                    call_id=call_id,
                    user_id=user_id,
                    display_name=self._policy.name(user_id) or "",
                    session=self._hex(16),
                    key=self._hex(32),
                    nonce=self._hex(16),
                    lease=lease,
                    at_ms=self._clock.wall_ms(),
                    network_ms=self._clock.network_ms(),
                )
            )

    def peek(self, room_id: str | None, call_id: str | None) -> ConferencePeekResult:
        """Who is in a conference, without joining it; nothing for a room where none lives."""
        if (room_id is None) == (call_id is None):
            raise LocalError("roomId: give either this or callId", details={"field": "roomId"})
        conference = self._in_room(room_id) if room_id is not None else self._known(call_id or "")
        if conference is None:
            return ConferencePeekResult(participants=[])
        return ConferencePeekResult(participants=conference.others(), call_id=conference.call_id)

    def _in_room(self, room_id: str) -> Conference | None:
        self._policy.must_enter(room_id)
        return self._hall.living(room_id, self._clock.monotonic())

    def _known(self, call_id: str) -> Conference:
        conference = self._hall.get(call_id)
        if conference is None:
            raise _not_found()
        return conference

    def _hex(self, count: int) -> str:
        return hex_id(self._random.bytes(count))

    def _session(self, call_id: str) -> CallSession:
        session = self._calls.board.session(call_id)
        assert session is not None, "a conference that was just joined is there"
        return session


def _not_found() -> LocalError:
    return LocalError("there is no such conference", code=Code.CALL_NOT_FOUND)
