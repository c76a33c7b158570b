"""Who is in a conference: accounts that everybody merges to the same roster, in whatever order (K03).

An account is what a device said about itself, and what others passed on of it. For each device the newest one
counts, and a leave counts more than a presence of the same moment; a user is where the last of his devices
joined that has not left. Of each user the newest few accounts are kept, which depends on no order either; of
too many users those make room that have left, or have not been heard of for as long as a lease holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sidecar.ids import fingerprint
from sidecar.signaling.messages import MemberInfo

ACCOUNTS_MAX = 64
"""Devices that a conference remembers, left ones included."""
DEVICES_MAX = 4
"""Of one user: whoever invents devices takes nobody's place."""
OLD_MS = 120_000
"""An account that is older by so much than a new one makes room for it: a lease and a minute, by which the
new one may be ahead of its time."""


def newer(info: MemberInfo) -> tuple[int, bool, str, int]:
    """Of two accounts of one device the greater stands."""
    return info.at, info.left, info.lease, info.joined_at


def nearer(info: MemberInfo) -> tuple[bool, int, str, int]:
    """Of two devices of one user the greater is where the user is."""
    return not info.left, info.joined_at, info.device, info.at


class Roster:
    """The merged accounts, by user id and device."""

    def __init__(self, infos: Iterable[MemberInfo] = (), *, own: tuple[str, str] | None = None) -> None:
        """``own``: user id and device of this node, whose account always has room and is never forgotten."""
        self._own = own
        self._users: dict[str, dict[str, MemberInfo]] = {}
        for info in infos:
            self.merge(info)

    def __len__(self) -> int:
        return sum(map(len, self._users.values()))

    def merge(self, info: MemberInfo) -> bool:
        """Takes an account; whether the user is now said to be elsewhere, or later, than before."""
        user_id = fingerprint(info.pub)
        devices = self._users.get(user_id, {})
        known = devices.get(info.device)
        if known is not None and newer(info) <= newer(known):
            return False
        full = known is None and len(self) >= ACCOUNTS_MAX and not self._make_room(info)
        if full and (user_id, info.device) != self._own:
            return False
        before = self.get(user_id)
        devices = self._users.setdefault(user_id, devices)
        devices[info.device] = info
        if len(devices) > DEVICES_MAX:
            others = (device for device in devices if (user_id, device) != self._own)
            del devices[min(others, key=lambda device: (newer(devices[device]), device))]
        return self.get(user_id) != before

    def _make_room(self, info: MemberInfo) -> bool:
        """Forgets the oldest account that says nothing any more; whether there was one."""
        here = ((user_id, known) for user_id, devices in self._users.items() for known in devices.values())
        old = [(user_id, known) for user_id, known in here if known.left or known.at < info.at - OLD_MS]
        idle = [item for item in old if (item[0], item[1].device) != self._own]
        if not idle:
            return False
        user_id, oldest = min(idle, key=lambda item: (newer(item[1]), item[1].device))
        del self._users[user_id][oldest.device]
        if not self._users[user_id]:
            del self._users[user_id]
        return True

    def is_news(self, info: MemberInfo) -> bool:
        """Whether an account says more than what is known."""
        known = self._users.get(fingerprint(info.pub), {}).get(info.device)
        return known is None or newer(info) > newer(known)

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

    def proven(self) -> list[MemberInfo]:
        """Every account that its member has signed, for others to merge."""
        return [info for devices in self._users.values() for info in devices.values() if info.sig]


def rank(user_id: str, info: MemberInfo) -> tuple[int, str]:
    """The order in which members count against the limit of a conference: everybody computes the same."""
    return info.joined_at, user_id
