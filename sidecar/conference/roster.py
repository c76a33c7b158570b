"""Who is in a conference: accounts that everybody merges to the same roster, in whatever order (K03).

An account is what a device said about itself, or what another passed on of it. For each device the newest one
counts, and a leave counts more than a presence of the same moment; a user is where the last of his devices
joined that has not left. Nothing is ever taken out, so the merge is commutative, associative and idempotent;
it is bounded, because a conference is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sidecar.ids import fingerprint
from sidecar.signaling.messages import MemberInfo

ACCOUNTS_MAX = 64
"""Devices that a conference remembers, left ones included."""


def newer(info: MemberInfo) -> tuple[int, bool, str, int]:
    """Of two accounts of one device the greater stands."""
    return info.at, info.left, info.lease, info.joined_at


def nearer(info: MemberInfo) -> tuple[bool, int, str, int]:
    """Of two devices of one user the greater is where the user is."""
    return not info.left, info.joined_at, info.device, info.at


class Roster:
    """The merged accounts, by user id and device."""

    def __init__(self, infos: Iterable[MemberInfo] = ()) -> None:
        self._users: dict[str, dict[str, MemberInfo]] = {}
        self._size = 0
        for info in infos:
            self.merge(info)

    def merge(self, info: MemberInfo) -> bool:
        """Takes an account; whether the user is now said to be elsewhere, or later, than before."""
        user_id = fingerprint(info.pub)
        devices = self._users.get(user_id, {})
        known = devices.get(info.device)
        if known is not None and newer(info) <= newer(known):
            return False
        if known is None:
            if self._size >= ACCOUNTS_MAX:
                return False
            self._size += 1
        before = self.get(user_id)
        self._users.setdefault(user_id, devices)[info.device] = info
        return self.get(user_id) != before

    def get(self, user_id: str) -> MemberInfo | None:
        """The account of a user, also one that has left."""
        return max(self._users.get(user_id, {}).values(), key=nearer, default=None)

    def of(self, user_id: str) -> list[MemberInfo]:
        """The accounts of all devices of a user."""
        return list(self._users.get(user_id, {}).values())

    def present(self) -> Iterator[tuple[str, MemberInfo]]:
        """Those that have not left, the first to join first."""
        here = ((user_id, max(devices.values(), key=nearer)) for user_id, devices in self._users.items())
        return iter(sorted((item for item in here if not item[1].left), key=lambda item: rank(*item)))

    def all(self) -> list[MemberInfo]:
        """Every account, for others to merge."""
        return [info for devices in self._users.values() for info in devices.values()]


def rank(user_id: str, info: MemberInfo) -> tuple[int, str]:
    """The order in which members count against the limit of a conference: everybody computes the same."""
    return info.joined_at, user_id
