"""Friends and blocks, as our own front end handed them over: the graph tells nobody's (DESIGN D8).

A *contact* is a friend whose full key is known. Everyone else is a stranger, also a friend without a key:
upstream often knows only the fingerprint, and that is no proof.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sidecar.errors import LocalError
from sidecar.ids import fingerprint
from sidecar.trust.identity import raw_public_key

MAX_FRIENDS = 2000
"""Each contact costs two or three watched souls."""
MAX_BLOCKED = 20_000
MAX_NAME_CHARS = 64
_USER_ID = re.compile(r"[0-9a-f]{16}\Z")


class Contact(NamedTuple):
    """A friend with a full key (SPKI base64)."""

    user_id: str
    display_name: str
    pub: str

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes."""
        raw = raw_public_key(self.pub)
        assert raw is not None  # from_social checked it
        return raw


class Contacts:
    """Who may reach us how."""

    def __init__(
        self,
        friends: Mapping[str, Contact] | None = None,
        blocked: frozenset[str] = frozenset(),
        names: Mapping[str, str] | None = None,
        self_name: str = "",
    ) -> None:
        self._friends = dict(friends or {})
        self._blocked = blocked
        self._names = dict(names or {})
        self.self_name = self_name

    @classmethod
    def from_social(cls, social: Mapping[str, Any]) -> Contacts:
        """Reads the object that ``social:sync`` takes: ``friends``, ``blocked``, ``self``.

        Raises LocalError naming the member that cannot be used; members of upstream's shapes that do not
        matter to calls are left alone.
        """
        friends: dict[str, Contact] = {}
        names: dict[str, str] = {}
        for index, item in enumerate(_list(social, "friends", MAX_FRIENDS)):
            where = f"social.friends[{index}]"
            user_id, name = _friend(item, where)
            names[user_id] = name
            pub = item.get("publicKey") or ""
            if pub:
                friends[user_id] = Contact(user_id, name, _checked_key(pub, user_id, where))
        blocked = (
            _user_id(item.get("id") if isinstance(item, Mapping) else item, f"social.blocked[{index}]")
            for index, item in enumerate(_list(social, "blocked", MAX_BLOCKED))
        )
        own = {} if social.get("self") is None else social["self"]
        if not isinstance(own, Mapping):
            raise LocalError("social.self: not an object")
        self_name = _name(own.get("displayName", ""), "social.self.displayName")
        return cls(friends, frozenset(blocked), names, self_name)

    def contact(self, user_id: str) -> Contact | None:
        """The friend with that id, if we hold the full key."""
        return self._friends.get(user_id)

    def all(self) -> tuple[Contact, ...]:
        """Every contact, blocked ones left out: nobody listens for those."""
        return tuple(c for c in self._friends.values() if c.user_id not in self._blocked)

    def name(self, user_id: str) -> str | None:
        """The name in our social copy, the only one that counts as verified."""
        return self._names.get(user_id)

    def is_blocked(self, user_id: str) -> bool:
        return user_id in self._blocked


def _friend(item: Any, where: str) -> tuple[str, str]:
    if not isinstance(item, Mapping):
        raise LocalError(f"{where}: not an object")
    return _user_id(item.get("id"), f"{where}.id"), _name(item.get("displayName", ""), f"{where}.displayName")


def _checked_key(pub: Any, user_id: str, where: str) -> str:
    if not isinstance(pub, str) or raw_public_key(pub) is None:
        raise LocalError(f"{where}.publicKey: not the base64 of an Ed25519 public key in SPKI form")
    if fingerprint(pub) != user_id:
        raise LocalError(f"{where}.id: not the fingerprint of its publicKey")
    return pub


def _list(social: Mapping[str, Any], name: str, limit: int) -> Sequence[Any]:
    items = social.get(name)
    if items is None:
        return ()
    if not isinstance(items, (list, tuple)):
        raise LocalError(f"social.{name}: not a list")
    if len(items) > limit:
        raise LocalError(f"social.{name}: more than {limit}")
    return items


def _user_id(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _USER_ID.match(value):
        raise LocalError(f"{where}: not a user id of 16 hex digits")
    return value


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise LocalError(f"{where}: not a string")
    return value[:MAX_NAME_CHARS]
