"""Who may come in: what our social copy says to a call or a conference, before it is heard of (S17, S21).

Upstream's levels, decided by what we really know: its own evaluator gives a direct friend less than it asks
for, and caches verdicts by a hash that anyone may copy (alephnet.md section 4). A room or domain that our
copy does not know neither grants nor forbids anything, since naming it costs nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from sidecar.trust.domains import Domain, Refusal, Role
from sidecar.trust.social import Fact, SocialState


class Level(Enum):
    """How far a user is trusted."""

    SELF = "self"
    VOUCHED = "vouched"
    """A contact: our own user handed over the full key."""
    COMMUNITY = "community"
    """In a room or a domain with us."""
    UNKNOWN = "unknown"
    REVOKED = "revoked"
    """Blocked."""


class Door(Enum):
    """What becomes of somebody's call to us."""

    RING = "ring"
    REQUEST = "request"
    """Told silently (``aleph:callRequest``): strangers never ring by default (D8)."""
    DENY = "deny"
    """Nothing happens, and the caller learns nothing."""


class CallVerdict(NamedTuple):
    """``refusal`` says why, where it is ``Door.DENY``."""

    door: Door
    refusal: Refusal | None = None


class ConferenceVerdict(NamedTuple):
    """``max_size`` is the domain's ceiling, None if it sets none."""

    refusal: Refusal | None
    max_size: int | None = None

    @property
    def allowed(self) -> bool:
        return self.refusal is None


_DOORS = {
    Level.SELF: CallVerdict(Door.DENY, Refusal.SELF),
    Level.VOUCHED: CallVerdict(Door.RING),
    Level.COMMUNITY: CallVerdict(Door.REQUEST),
    Level.UNKNOWN: CallVerdict(Door.REQUEST),
    Level.REVOKED: CallVerdict(Door.DENY, Refusal.BLOCKED),
}


class TrustGate:
    """Verdicts from the social copy as it is now."""

    def __init__(self, social: SocialState, user_id: str) -> None:
        self._social = social
        self._user_id = user_id

    def level(self, user_id: str) -> Level:
        if user_id == self._user_id:
            return Level.SELF
        if self._social.is_blocked(user_id):
            return Level.REVOKED
        if self._social.contact(user_id) is not None:
            return Level.VOUCHED
        together = self._social.share_a_place(user_id, self._user_id)
        return Level.COMMUNITY if together else Level.UNKNOWN

    def call(self, user_id: str, room_id: str | None = None, domain_id: str | None = None) -> CallVerdict:
        """Whether this user's call, in a room or domain if it names one, may reach our user."""
        verdict = _DOORS[self.level(user_id)]
        if verdict.door is Door.DENY:
            return verdict
        refusal = self._left(room_id, domain_id) or self._place_refuses(user_id, room_id, domain_id)
        return verdict if refusal is None else CallVerdict(Door.DENY, refusal)

    def create(self, user_id: str, room_id: str, domain_id: str | None = None) -> ConferenceVerdict:
        """Whether this user may open a conference there; guests may not."""
        domain = self._domain(domain_id)
        if domain is not None and domain.role(user_id) is Role.GUEST:
            return ConferenceVerdict(Refusal.GUEST, domain.rules.max_conference_size)
        return self.join(user_id, room_id, domain_id)

    def join(self, user_id: str, room_id: str | None, domain_id: str | None = None) -> ConferenceVerdict:
        """Whether this user may take part in a conference there: our own user, or somebody beside us.

        Without a room the conference has grown out of a call, and whoever is in it may ask others in.
        """
        domain = self._domain(domain_id)
        size = domain.rules.max_conference_size if domain is not None else None
        return ConferenceVerdict(self._conference_refuses(user_id, room_id, domain_id), size)

    def moderates(
        self, user_id: str, *, initiator_id: str, room_id: str | None = None, domain_id: str | None = None
    ) -> bool:
        """Whether this user may remove and mute others there (DESIGN section 6)."""
        room = self._social.room(room_id) if room_id is not None else None
        domain = self._domain(domain_id)
        return (
            user_id == initiator_id
            or (room is not None and user_id == room.created_by)
            or (domain is not None and domain.role(user_id) in (Role.OWNER, Role.ADMIN))
        )

    def _conference_refuses(self, user_id: str, room_id: str | None, domain_id: str | None) -> Refusal | None:
        if self._social.is_blocked(user_id):
            return Refusal.BLOCKED
        refusal = self._left(room_id, domain_id) or self._place_refuses(user_id, room_id, domain_id)
        if refusal is not None:
            return refusal
        domain = self._domain(domain_id)
        if domain is not None and not domain.rules.enable_conferencing:
            return Refusal.CONFERENCING_OFF
        place_known = room_id is None or domain is not None or self._social.room(room_id) is not None
        known = place_known or user_id == self._user_id or self._social.contact(user_id) is not None
        return None if known else Refusal.STRANGER

    def _left(self, room_id: str | None, domain_id: str | None) -> Refusal | None:
        left_room = room_id is not None and self._social.has_left(Fact.ROOM, room_id)
        left_domain = domain_id is not None and self._social.has_left(Fact.DOMAIN, domain_id)
        return Refusal.LEFT if left_room or left_domain else None

    def _place_refuses(self, user_id: str, room_id: str | None, domain_id: str | None) -> Refusal | None:
        """The room and the domain, as far as we know them, must have both the user and us."""
        room = self._social.room(room_id) if room_id is not None else None
        domain = self._domain(domain_id)
        for one in (user_id, self._user_id):
            refusal = domain.refusal(one) if domain is not None else None
            if refusal is None and room is not None and not room.has(one):
                refusal = Refusal.NOT_IN_ROOM
            if refusal is not None:
                return refusal
        return None

    def _domain(self, domain_id: str | None) -> Domain | None:
        return self._social.domain(domain_id) if domain_id is not None else None
