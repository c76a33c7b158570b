"""What a front end asks of conferences: makes ids, keys and spaces, and turns wishes into events."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.app.services.calls import CallsService
from sidecar.app.services.conferences import ConferenceService
from sidecar.calls.events import Relation
from sidecar.clock import Clock, Random
from sidecar.conference import events as e
from sidecar.conference.hall import Hall
from sidecar.conference.ids import conference_id
from sidecar.conference.machine import Conference
from sidecar.errors import Code, DeniedError, LocalError
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
        names: Callable[[str], str | None],
        clock: Clock,
        random: Random,
    ) -> None:
        """``names``: a user's name in our social copy."""
        self._calls = calls
        self._conferences = conferences
        self._hall = hall
        self._names = names
        self._clock = clock
        self._random = random

    def create(
        self, room_id: str, call_type: CallType, *, ring: bool, domain_id: str | None, owner: str | None
    ) -> CallSession:
        """Starts the conference of a room, or joins the one that lives there."""
        nonce = hex_id(self._random.bytes(16))
        new_id = conference_id(room_id, nonce)
        living = self._hall.living(room_id)
        self._calls.handle(
            e.Create(
                call_id=new_id,
                room_id=room_id,
                call_type=call_type,
                session=hex_id(self._random.bytes(16)),
                key=hex_id(self._random.bytes(32)),
                nonce=nonce,
                lease=self._conferences.new_lease(),
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
        self._calls.handle(
            e.Join(
                call_id=call_id,
                lease=self._conferences.new_lease(),
                at_ms=self._clock.wall_ms(),
                network_ms=self._clock.network_ms(),
                listen_only=listen_only,
                owner=owner,
            )
        )
        settled = self._hall.living(known.facts.room_id) if known and known.facts.room_id else known
        return self._session(settled.call_id if settled else call_id)

    async def invite(self, call_id: str, user_id: str) -> None:
        """Asks somebody in; a 1:1 call grows."""
        relation = await self._calls.relation(user_id)
        if relation is Relation.BLOCKED:
            raise DeniedError("this user is blocked")
        if relation is Relation.UNKNOWN:
            raise LocalError("no key of this user is known", details={"field": "userId"})
        self._calls.handle(
            e.Invite(
                call_id=call_id,
                user_id=user_id,
                display_name=self._names(user_id) or "",
                session=hex_id(self._random.bytes(16)),
                key=hex_id(self._random.bytes(32)),
                nonce=hex_id(self._random.bytes(16)),
                lease=self._conferences.new_lease(),
                at_ms=self._clock.wall_ms(),
                network_ms=self._clock.network_ms(),
            )
        )

    def peek(self, room_id: str | None, call_id: str | None) -> ConferencePeekResult:
        """Who is in a conference, without joining it; nothing for a room where none lives."""
        if (room_id is None) == (call_id is None):
            raise LocalError("give roomId or callId", details={"field": "roomId"})
        conference = self._find(room_id, call_id)
        if conference is None:
            return ConferencePeekResult(participants=[])
        return ConferencePeekResult(participants=conference.others(), call_id=conference.call_id)

    def _find(self, room_id: str | None, call_id: str | None) -> Conference | None:
        if room_id is not None:
            return self._hall.living(room_id)
        conference = self._hall.get(call_id or "")
        if conference is None:
            raise LocalError("there is no such conference", code=Code.CALL_NOT_FOUND)
        return conference

    def _session(self, call_id: str) -> CallSession:
        session = self._calls.board.session(call_id)
        assert session is not None, "a conference that was just joined is there"
        return session
