"""Calls and conferences of this node behind one door: finds whose an event is, and keeps them out of each
other's way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.calls.notes import LiveNote
from sidecar.calls.switchboard import Switchboard
from sidecar.errors import Code, LocalError, RemoteError, UnavailableError
from sidecar.schema import CallSession, MediaTrackKind
from sidecar.signaling.messages import Kind

from . import events as e
from .hall import KINDS, Hall

_OWN = (e.Join, e.Invite, e.Hush, e.Remove, e.LeaseSeen, e.Gossip, e.Shown)
"""Events that only a conference understands."""


class Exchange:
    """``handle`` and ``handle_timer`` return effects, to be performed in their order."""

    def __init__(self, board: Switchboard, hall: Hall, new_lease: Callable[[str], str]) -> None:
        """``new_lease``: makes the space for a session whose peer made it a conference, and names its key."""
        self.board = board
        self.hall = hall
        self._new_lease = new_lease
        board.elsewhere = hall.talking
        hall.dropped = board.dropped

    @property
    def user_id(self) -> str:
        return self.board.user_id

    def rename(self, display_name: str) -> None:
        """What we call ourselves from now on."""
        self.board.display_name = self.hall.display_name = display_name

    @property
    def dropped(self) -> Counter[str]:
        """How often something was dropped, by reason."""
        return self.board.dropped

    def session(self, call_id: str) -> CallSession | None:
        return self.hall.session(call_id) or self.board.session(call_id)

    def device_of(self, call_id: str, user_id: str) -> str | None:
        """The device of a user that a call is with; None as long as that is not known."""
        return self.board.device_of(call_id, user_id) or self.hall.device_of(call_id, user_id)

    def active(self) -> list[CallSession]:
        return [*self.board.active(), *self.hall.active()]

    def calls_with(self, users: Collection[str]) -> list[str]:
        """The live calls with any of these users, strangers' requests included; conferences are none."""
        return self.board.calls_with(users)

    def notes(self) -> list[LiveNote]:
        """What must be known of all of them after a crash (C18)."""
        return [*self.board.notes(), *self.hall.notes()]

    @property
    def lost_s(self) -> float:
        """For how long a peer is missed before it is given up."""
        return self.board.rules.path.lost_s

    def all_lost(self) -> list[ce.PeerLiveness]:
        """The report that nothing comes over any connection any more (C19)."""
        return [*self.board.all_lost(), *self.hall.all_lost()]

    def sends(self, call_id: str, kind: MediaTrackKind) -> bool:
        """Whether a line of ours has a source, muted or not."""
        conference = self.hall.get(call_id)
        return self.board.sends(call_id, kind) if conference is None else kind in conference.me.lines

    def next_deadline(self) -> float | None:
        due = (self.board.next_deadline(), self.hall.next_deadline())
        return min((at for at in due if at is not None), default=None)

    def handle_timer(self, now: float) -> list[cf.Effect]:
        return [*self.board.handle_timer(now), *self.hall.handle_timer(now)]

    def handle(self, event: ce.Event, now: float) -> list[cf.Effect]:
        """Takes one event; raises as ``Switchboard.handle`` does."""
        try:
            if isinstance(event, e.SocialChanged):
                return self.hall.review(now)
            return [*self._route(event, now), *self.hall.trim()]
        except RemoteError as error:
            self.dropped[error.reason] += 1
            return []

    def _route(self, event: ce.Event, now: float) -> list[cf.Effect]:
        match event:
            case ce.SignalArrived():
                return self._arrived(event, now)
            case ce.Shutdown() | ce.MediaLost():
                return [*self.board.handle(event, now), *self.hall.broadcast(event, now)]
            case e.Create():
                return self._create(event, now)
            case e.Invite() if self.hall.get(event.call_id) is None:
                return self._grow(event, now)
            case ce.Accept() if self.hall.get(event.call_id) is not None:
                raise LocalError(
                    "this is a conference: join it",
                    code=Code.CALL_WRONG_STATE,
                    details={"callId": event.call_id},
                )
            case ce.CallEvent() if isinstance(event, _OWN) or self.hall.get(event.call_id) is not None:
                if isinstance(event, (e.Join, ce.Resume)):
                    self._only_one(event.call_id)
                return self.hall.handle(event, now)
            case _:
                return self.board.handle(event, now)

    def _only_one(self, call_id: str) -> None:
        other = self.board.busy() or self.hall.talking()
        if other is not None and other != call_id:
            raise LocalError(
                "another call is on; hold or end it first",
                code=Code.CALL_WRONG_STATE,
                details={"callId": other},
            )

    def _create(self, event: e.Create, now: float) -> list[cf.Effect]:
        self._must_have_room()
        living = self.hall.living(event.room_id, now)
        self._only_one(living.call_id if living else event.call_id)
        return self.hall.create(event, now)

    def _must_have_room(self) -> None:
        try:
            self.hall.must_have_room()
        except RemoteError:
            raise UnavailableError("too many conferences ask for our user") from None

    def _arrived(self, event: ce.SignalArrived, now: float) -> list[cf.Effect]:
        signal = event.signal
        if signal.kind is Kind.GROW and self.hall.get(signal.call_id) is None:
            self.hall.must_have_room()
            call = self.board.release(signal.call_id, event.user_id, signal.sender.device)
            return self.hall.grown(call, event, self._new_lease(signal.call_id), now)
        if signal.kind is Kind.ANNOUNCE and self.board.has(signal.call_id):
            raise RemoteError("id-of-a-call")
        if signal.kind in KINDS or self.hall.get(signal.call_id) is not None:
            return self.hall.arrived(event, now, busy=self.board.busy() is not None)
        return self.board.handle(event, now)

    def _grow(self, event: e.Invite, now: float) -> list[cf.Effect]:
        session = self.board.session(event.call_id)
        if session is None:
            raise LocalError("there is no such call", code=Code.CALL_NOT_FOUND)
        if any(person.user_id == event.user_id for person in session.participants):
            raise LocalError("already in this call", details={"field": "userId"})
        self._must_have_room()
        try:
            call = self.board.release(event.call_id)
        except RemoteError:
            raise LocalError(
                "only a call that is connected can grow",
                code=Code.CALL_WRONG_STATE,
                details={"callId": event.call_id},
            ) from None
        return self.hall.grow(call, event, now)
