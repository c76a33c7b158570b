"""Rooms and domains in upstream's shapes, as far as calls care, and what their rules say (alephnet.md, 4).

Upstream keeps a domain's members beside its rules and checks staking and reputation when somebody joins. We
cannot check those, so an active membership is the proof that somebody could, and nobody else passes a domain
that asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from sidecar.config import ConfigError, Section

MAX_ID_CHARS = 128
MAX_LISTED = 10_000
"""Members of one room or domain, and users in one of its lists."""
MAX_SIZE = 1_000_000
VISIBILITIES = ("public", "private", "secret")
LOWEST_TIER = "Neophyte"
"""Everybody has it, so asking for it asks for nothing."""


class Role(Enum):
    """What a member may do."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    GUEST = "guest"
    """Takes part where others lead."""


class Status(Enum):
    """Standing of a member; only an active one takes part."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    BANNED = "banned"


class Refusal(Enum):
    """Why somebody may not come in; the words are for logs and counters."""

    SELF = "self"
    BLOCKED = "blocked"
    LEFT = "left"
    """Our own user has left that room or domain."""
    NOT_IN_ROOM = "not-in-room"
    BLACKLISTED = "blacklisted"
    NOT_LISTED = "not-listed"
    PENDING = "pending"
    SUSPENDED = "suspended"
    BANNED = "banned"
    NOT_A_MEMBER = "not-a-member"
    GUEST = "guest"
    CONFERENCING_OFF = "conferencing-off"
    STRANGER = "stranger"


_STANDING = {
    Status.PENDING: Refusal.PENDING,
    Status.SUSPENDED: Refusal.SUSPENDED,
    Status.BANNED: Refusal.BANNED,
    Status.ACTIVE: None,
}


class DomainRules(NamedTuple):
    """Upstream's rules with the two members for conferences."""

    whitelist: frozenset[str] = frozenset()
    blacklist: frozenset[str] = frozenset()
    requires_approval: bool | None = None
    """None: upstream's default, which is yes for everything but a public domain."""
    requires_standing: bool = False
    """A staking tier or a reputation is asked for."""
    enable_conferencing: bool = True
    max_conference_size: int | None = None
    """Participants, at least two."""


class Member(NamedTuple):
    """A membership."""

    role: Role
    status: Status


class Domain(NamedTuple):
    """A domain with its members by user id."""

    domain_id: str
    owner_id: str
    public: bool = False
    rules: DomainRules = DomainRules()
    members: Mapping[str, Member] = {}

    def role(self, user_id: str) -> Role | None:
        """What an active member, or the owner, is there."""
        if user_id == self.owner_id:
            return Role.OWNER
        member = self.members.get(user_id)
        return member.role if member is not None and member.status is Status.ACTIVE else None

    def refusal(self, user_id: str) -> Refusal | None:
        """Why this user may not take part in what happens in the domain; None for those who may."""
        rules, member = self.rules, self.members.get(user_id)
        if user_id == self.owner_id:
            return None
        if user_id in rules.blacklist:
            return Refusal.BLACKLISTED
        if member is not None:
            return _STANDING[member.status]
        if rules.whitelist and user_id not in rules.whitelist:
            return Refusal.NOT_LISTED
        return None if self._open else Refusal.NOT_A_MEMBER

    @property
    def _open(self) -> bool:
        approval = self.rules.requires_approval
        needs_approval = not self.public if approval is None else approval
        return self.public and not needs_approval and not self.rules.requires_standing


class Room(NamedTuple):
    """A chat room."""

    room_id: str
    created_by: str | None = None
    members: frozenset[str] = frozenset()

    def has(self, user_id: str) -> bool:
        return user_id in self.members or user_id == self.created_by


def read_room(section: Section, known: Room | None = None) -> Room:
    """A ChatRoom of upstream's; what it leaves out or empty stays as it is ``known``.

    Raises ConfigError, a LocalError that names the member.
    """
    old = known or Room("")
    members = frozenset(_ids(section, "members"))
    created_by = identifier(section, "createdBy") if section.has("createdBy") else old.created_by
    return Room(identifier(section, "id"), created_by, members or old.members)


def read_domain(section: Section, known: Domain | None = None) -> Domain:
    """A DomainDefinition of upstream's with its ``members``, read as :func:`read_room` does."""
    old = known or Domain("", "")
    visibility = section.choice("visibility", VISIBILITIES, VISIBILITIES[not old.public])
    members = dict(_member(Section(item, name)) for name, item in _bounded(section, "members"))
    return Domain(
        identifier(section, "id"),
        identifier(section, "ownerId"),
        visibility == VISIBILITIES[0],
        _rules(section.section("rules")) if section.has("rules") else old.rules,
        members or old.members,
    )


def identifier(section: Section, member: str) -> str:
    """A non-empty id of at most 128 characters."""
    return _identifier(section.members.get(member), section.name(member))


def _rules(section: Section) -> DomainRules:
    size = section.optional_integer("maxConferenceSize", 2, MAX_SIZE)
    reputation = section.number("minReputation", 0, -1e308, 1e308) if section.has("minReputation") else 0
    return DomainRules(
        whitelist=frozenset(_ids(section, "whitelist")),
        blacklist=frozenset(_ids(section, "blacklist")),
        requires_approval=section.flag("requiresApproval"),
        requires_standing=reputation > 0 or _tier(section) != LOWEST_TIER,
        enable_conferencing=section.flag("enableConferencing") is not False,
        max_conference_size=size,
    )


def _tier(section: Section) -> str:
    tier = section.members.get("minStakingTier") or LOWEST_TIER
    if not isinstance(tier, str):
        raise ConfigError(section.name("minStakingTier"), "not a string")
    return tier


def _member(section: Section) -> tuple[str, Member]:
    role = section.choice("role", tuple(role.value for role in Role), Role.MEMBER.value)
    status = section.choice("status", tuple(status.value for status in Status), Status.PENDING.value)
    return identifier(section, "userId"), Member(Role(role), Status(status))


def _ids(section: Section, member: str) -> list[str]:
    return [_identifier(item, name) for name, item in _bounded(section, member)]


def _bounded(section: Section, member: str) -> list[tuple[str, Any]]:
    items = section.items(member)
    if len(items) > MAX_LISTED:
        raise ConfigError(section.name(member), f"more than {MAX_LISTED}")
    return items


def _identifier(value: Any, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_CHARS:
        raise ConfigError(name, f"not an id of 1 to {MAX_ID_CHARS} characters")
    return value
