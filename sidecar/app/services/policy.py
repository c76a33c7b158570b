"""Our social copy at the door of calls and conferences: whose invitation is heard, whom our user may call.

Every receiver asks its own copy; that the sender's allowed it means nothing (S17, S21). Who is refused sees
what it would see of somebody who is away.
"""

from __future__ import annotations

from sidecar.conference.facts import Guest, Room
from sidecar.errors import DeniedError, LocalError
from sidecar.ids import is_user_id
from sidecar.signaling.messages import Incoming, Kind
from sidecar.trust.domains import Refusal
from sidecar.trust.gate import TrustGate
from sidecar.trust.social import SocialState


class Policy:
    """``gate`` and ``rooms`` always tell what the social copy says now."""

    def __init__(self, social: SocialState, user_id: str) -> None:
        self.gate = TrustGate(social, user_id)
        self.rooms = SocialRooms(social)
        self._social = social
        self._user_id = user_id

    def name(self, user_id: str) -> str | None:
        """A user's name in our social copy."""
        return self._social.name(user_id)

    def must_call(self, user_id: str, room_id: str | None, domain_id: str | None) -> None:
        """Whether our user may call somebody (C16). Raises LocalError for what is no user id or our own,
        DeniedError for somebody who is blocked, or whom the room or domain keeps apart from us."""
        if not is_user_id(user_id):
            raise LocalError("userId: not a user id of 16 hex digits", details={"field": "userId"})
        refusal = self.gate.call(user_id, room_id, domain_id).refusal
        if refusal is Refusal.SELF:
            raise LocalError("userId: a call needs somebody else", details={"field": "userId"})
        if refusal is Refusal.BLOCKED:
            raise DeniedError("this user is blocked")
        if refusal is not None:
            raise DeniedError("the room or its domain does not allow this", details={"reason": refusal.value})

    def must_enter(self, room_id: str) -> None:
        """Raises DeniedError if our user has left that room, or is not in it."""
        refusal = self.gate.join(self._user_id, room_id).refusal
        if refusal is not None:
            raise DeniedError("our user is not in this room", details={"reason": refusal.value})

    def refusal(self, incoming: Incoming) -> Refusal | None:
        """Why an invitation is not heard of; None for those that are, and for signals of other kinds, which
        belong to calls and conferences that were let in. A conference asks the gate itself."""
        signal = incoming.signal
        if signal.kind is not Kind.INVITE:
            return None
        return self.gate.call(incoming.user_id, signal.room_id, signal.domain_id).refusal


class SocialRooms:
    """The chat rooms of the social copy as conferences see them."""

    def __init__(self, social: SocialState) -> None:
        self._social = social

    def get(self, room_id: str, /) -> Room | None:
        """The room without the members that are blocked; friends first, because not all of a large room are
        told of a conference."""
        room = self._social.room(room_id)
        if room is None:
            return None
        creator = {room.created_by} if room.created_by is not None else set()
        members = [user_id for user_id in room.members | creator if not self._social.is_blocked(user_id)]
        members.sort(key=lambda user_id: (self._social.contact(user_id) is None, user_id))
        guests = tuple(Guest(user_id, self._social.name(user_id) or "") for user_id in members)
        return Room(room_id=room_id, members=guests, moderators=frozenset(creator))
