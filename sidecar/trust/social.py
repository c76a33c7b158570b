"""Friends, rooms, domains and blocks, as our own front end handed them over: the graph tells nobody's (D8).

Upstream forgets them at each end, so what it hands over is merged: what is absent or empty changes nothing,
removals are explicit, and a block ends only by being lifted. A *contact* is a friend whose full key is known.
Everyone else is a stranger, also a friend without a key: upstream often knows only the fingerprint, and that
is no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from sidecar.config import ConfigError, Section
from sidecar.ids import fingerprint, is_user_id
from sidecar.trust.domains import Domain, Room, identifier, read_domain, read_room
from sidecar.trust.identity import raw_public_key
from sidecar.trust.names import claimed

MAX_PEOPLE = 200_000
"""Members of all rooms and domains together: about 30 MB."""


class Fact(Enum):
    """Kinds of facts; each has an id beside it and a value."""

    FRIEND = "friend"
    ROOM = "room"
    DOMAIN = "domain"
    BLOCKED = "blocked"
    LEFT_ROOM = "left-room"
    """A room that was removed: whoever calls by it calls in vain (S21)."""
    LEFT_DOMAIN = "left-domain"
    SELF = "self"
    """Our own name, under an empty id."""


LIMITS = {
    Fact.FRIEND: 2_000,
    Fact.ROOM: 2_000,
    Fact.DOMAIN: 500,
    Fact.BLOCKED: 20_000,
    Fact.LEFT_ROOM: 2_000,
    Fact.LEFT_DOMAIN: 500,
    Fact.SELF: 1,
}
"""Each friend costs two or three watched souls. Of what was left the oldest is forgotten."""

_LEFT = {Fact.ROOM: Fact.LEFT_ROOM, Fact.DOMAIN: Fact.LEFT_DOMAIN}
_MEMBERS = {Fact.FRIEND: "friends", Fact.ROOM: "rooms", Fact.DOMAIN: "domains", Fact.BLOCKED: "blocked"}
"""What the lists of ``social:sync`` are called."""


class Contact(NamedTuple):
    """A friend. ``pub`` is the full key (SPKI base64), empty where it is not known."""

    user_id: str
    display_name: str
    pub: str = ""


class Change(NamedTuple):
    """One fact that is new, different, or with the value None, gone."""

    fact: Fact
    fact_id: str
    value: Any


Facts = dict[Fact, dict[str, Any]]


class SocialState:
    """Who may reach us how. Every method that changes it says what has changed; equal facts are no change."""

    def __init__(self, saved: Iterable[Change] = ()) -> None:
        """``saved``: changes of an earlier run, in any order."""
        self._facts: Facts = {fact: {} for fact in Fact}
        for change in saved:
            self._facts[change.fact][change.fact_id] = change.value

    # --- changing --------------------------------------------------------------------------------------

    def merge(self, document: Mapping[str, Any], path: str = "") -> tuple[Change, ...]:
        """Takes the object of ``social:sync``, all of it or nothing.

        Raises ConfigError, a LocalError naming the member (below ``path``) that cannot be used; members of
        upstream's shapes that do not matter to calls are left alone.
        """
        section = Section(document, path)
        facts = {fact: dict(table) for fact, table in self._facts.items()}
        _remove(facts, section.section("removed"))
        for fact, read in _READERS.items():
            for name, item in section.items(_MEMBERS[fact]):
                read(facts, Section(item, name))
        for name, item in section.items("blocked"):
            facts[Fact.BLOCKED][_user_id(item["id"] if _has_id(item) else item, name)] = True
        own_name = _name(section.section("self"))
        if own_name:
            facts[Fact.SELF][""] = own_name
        _check_limits(facts, section)
        return self._become(facts)

    def block(self, user_id: str) -> tuple[Change, ...]:
        """From now on nothing of this user gets through. Raises ConfigError for what is no user id."""
        return self.merge({"blocked": [_user_id(user_id, "userId")]})

    def unblock(self, user_id: str) -> tuple[Change, ...]:
        """Lifts a block; the user is what he was before it."""
        blocked = self._facts[Fact.BLOCKED].keys() - {user_id}
        return self._become({**self._facts, Fact.BLOCKED: dict.fromkeys(blocked, True)})

    def _become(self, facts: Facts) -> tuple[Change, ...]:
        changes = []
        for fact, table in facts.items():
            old = self._facts[fact]
            changes += [Change(fact, at, value) for at, value in table.items() if old.get(at) != value]
            changes += [Change(fact, at, None) for at in old.keys() - table.keys()]
        self._facts = facts
        return tuple(changes)

    # --- looking ---------------------------------------------------------------------------------------

    def contact(self, user_id: str) -> Contact | None:
        """The friend with that id, if we hold the full key."""
        friend: Contact | None = self._facts[Fact.FRIEND].get(user_id)
        return friend if friend is not None and friend.pub else None

    def contacts(self) -> tuple[Contact, ...]:
        """Every contact, blocked ones left out: nobody listens for those."""
        friends = self._facts[Fact.FRIEND].values()
        return tuple(one for one in friends if one.pub and not self.is_blocked(one.user_id))

    def name(self, user_id: str) -> str | None:
        """The name in our social copy, the only one that counts as verified."""
        friend: Contact | None = self._facts[Fact.FRIEND].get(user_id)
        return friend.display_name if friend is not None else None

    def is_blocked(self, user_id: str) -> bool:
        return user_id in self._facts[Fact.BLOCKED]

    def room(self, room_id: str) -> Room | None:
        return self._facts[Fact.ROOM].get(room_id)

    def domain(self, domain_id: str) -> Domain | None:
        return self._facts[Fact.DOMAIN].get(domain_id)

    def has_left(self, fact: Fact, fact_id: str) -> bool:
        """Whether our front end has removed this room or domain."""
        return fact_id in self._facts[_LEFT[fact]]

    def share_a_place(self, one: str, other: str) -> bool:
        """Whether two users are in one room, or both active in one domain, of those we know."""
        return any(room.has(one) and room.has(other) for room in self._facts[Fact.ROOM].values()) or any(
            domain.role(one) and domain.role(other) for domain in self._facts[Fact.DOMAIN].values()
        )

    @property
    def self_name(self) -> str:
        """What our user is called; empty while nobody has said."""
        name: str = self._facts[Fact.SELF].get("", "")
        return name

    def counts(self) -> dict[str, int]:
        """How many of each list of ``social:sync`` are known, by its name there."""
        return {name: len(self._facts[fact]) for fact, name in _MEMBERS.items()}


def _remove(facts: Facts, section: Section) -> None:
    for fact, member in ((fact, _MEMBERS[fact]) for fact in _READERS):
        for name, item in section.items(member):
            removed = identifier(Section({"id": item}, name), "id")
            facts[fact].pop(removed, None)
            if fact in _LEFT:
                facts[_LEFT[fact]][removed] = True
                _forget_oldest(facts[_LEFT[fact]], LIMITS[_LEFT[fact]])


def _take_friend(facts: Facts, section: Section) -> None:
    user_id = _user_id(section.members.get("id"), section.name("id"))
    old: Contact = facts[Fact.FRIEND].get(user_id) or Contact(user_id, "")
    pub = section.members.get("publicKey") or old.pub
    if pub != old.pub:
        _check_key(pub, user_id, section)
    facts[Fact.FRIEND][user_id] = Contact(user_id, _name(section) or old.display_name, pub)


def _take_room(facts: Facts, section: Section) -> None:
    known = facts[Fact.ROOM].get(identifier(section, "id"))
    room = read_room(section, known)
    facts[Fact.ROOM][room.room_id] = room
    facts[Fact.LEFT_ROOM].pop(room.room_id, None)


def _take_domain(facts: Facts, section: Section) -> None:
    known = facts[Fact.DOMAIN].get(identifier(section, "id"))
    domain = read_domain(section, known)
    facts[Fact.DOMAIN][domain.domain_id] = domain
    facts[Fact.LEFT_DOMAIN].pop(domain.domain_id, None)


_READERS: Mapping[Fact, Callable[[Facts, Section], None]] = {
    Fact.FRIEND: _take_friend,
    Fact.ROOM: _take_room,
    Fact.DOMAIN: _take_domain,
}


def _check_limits(facts: Facts, section: Section) -> None:
    for fact, member in _MEMBERS.items():
        if len(facts[fact]) > LIMITS[fact]:
            raise ConfigError(section.name(member), f"more than {LIMITS[fact]} in all")
    places = [*facts[Fact.ROOM].values(), *facts[Fact.DOMAIN].values()]
    if sum(len(place.members) for place in places) > MAX_PEOPLE:
        raise ConfigError(section.name("rooms"), f"more than {MAX_PEOPLE} members in all rooms and domains")


def _forget_oldest(table: dict[str, Any], limit: int) -> None:
    while len(table) > limit:
        del table[next(iter(table))]


def _check_key(pub: Any, user_id: str, section: Section) -> None:
    if raw_public_key(pub) is None:
        raise ConfigError(section.name("publicKey"), "not the base64 of an Ed25519 public key in SPKI form")
    if fingerprint(pub) != user_id:
        raise ConfigError(section.name("id"), "not the fingerprint of its publicKey")


def _has_id(item: Any) -> bool:
    return isinstance(item, Mapping) and "id" in item


def _user_id(value: Any, name: str) -> str:
    if not isinstance(value, str) or not is_user_id(value):
        raise ConfigError(name, "not a user id of 16 hex digits")
    return value


def _name(section: Section) -> str:
    """Cut, and without what could disguise it: friends choose their names, and our user trusts them."""
    value = section.members.get("displayName") or ""
    if not isinstance(value, str):
        raise ConfigError(section.name("displayName"), "not a string")
    return claimed(value)
