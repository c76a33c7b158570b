"""Who is in a conference: accounts that everybody merges to the same roster, in whatever order (K03).

An account is what a member said about itself, or what another passed on of it. For each user the newest one
counts, and a leave counts more than a presence of the same moment. Nothing is ever taken out, so the merge is
commutative, associative and idempotent; it is bounded, because a conference is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sidecar.ids import fingerprint
from sidecar.signaling.messages import MemberInfo

ACCOUNTS_MAX = 64
"""Users that a conference remembers, left ones included."""


def order(info: MemberInfo) -> tuple[int, bool, str, str, int]:
    """Of two accounts of one user the greater stands."""
    return info.at, info.left, info.device, info.lease, info.joined_at


class Roster:
    """The merged accounts, by user id."""

    def __init__(self, infos: Iterable[MemberInfo] = ()) -> None:
        self._infos: dict[str, MemberInfo] = {}
        for info in infos:
            self.merge(info)

    def merge(self, info: MemberInfo) -> bool:
        """Takes an account; whether it changed anything."""
        user_id = fingerprint(info.pub)
        known = self._infos.get(user_id)
        if known is not None and order(info) <= order(known):
            return False
        if known is None and len(self._infos) >= ACCOUNTS_MAX:
            return False
        self._infos[user_id] = info
        return True

    def get(self, user_id: str) -> MemberInfo | None:
        """The account of a user, also one that has left."""
        return self._infos.get(user_id)

    def present(self) -> Iterator[tuple[str, MemberInfo]]:
        """Those that have not left, the first to join first."""
        here = [(user_id, info) for user_id, info in self._infos.items() if not info.left]
        return iter(sorted(here, key=lambda item: rank(*item)))

    def all(self) -> list[MemberInfo]:
        """Every account, for others to merge."""
        return list(self._infos.values())


def rank(user_id: str, info: MemberInfo) -> tuple[int, str]:
    """The order in which members count against the limit of a conference: everybody computes the same."""
    return info.joined_at, user_id
