"""Flow control of one direction of a channel: items are sent only against credit the receiver granted.

Both ends start at 1, so the first item goes out unasked; the receiver grants more with ``_zpc_more [n]``.
"""

from __future__ import annotations

from typing import Final

import msgspec

MAX_CREDIT: Final = 16_384
"""Items; what a receiver may have granted and not yet received. Larger grants are cut: credit is a promise of
the receiver's memory, but what was sent against it waits in ours."""

WINDOW: Final = 128
"""Items our own client grants: enough to keep a local stream busy, little enough to stop it quickly."""


class Allowance(msgspec.Struct, eq=False):
    """The sender's side: how much may still be sent."""

    left: int = 1

    def add(self, granted: object) -> bool:
        """Takes a grant as it came off the wire; False when it is none."""
        if not isinstance(granted, int) or isinstance(granted, bool) or granted < 0:
            return False
        self.left = min(self.left + granted, MAX_CREDIT)
        return True

    def spend(self) -> None:
        """One item goes out. Sending without credit is a bug of the caller."""
        if self.left <= 0:
            raise AssertionError("sent without credit")
        self.left -= 1


class Window:
    """The receiver's side: how much the other end may still send, and how much is due to be granted.

    Grants are made for items the application has *taken*, never for those that wait in a buffer, so what
    waits stays under ``size``.
    """

    __slots__ = ("_reserved", "_size", "_waiting")

    def __init__(self, size: int = WINDOW) -> None:
        self._size = size
        self._reserved = 1
        self._waiting = 0

    def received(self) -> bool:
        """One item arrived; False when it was not covered by credit."""
        if self._reserved <= 0:
            return False
        self._reserved -= 1
        self._waiting += 1
        return True

    def taken(self) -> int:
        """The application took one item; how much to grant now, 0 until half a window is free."""
        self._waiting -= 1
        room = self._size - self._reserved - self._waiting
        if room < max(1, self._size // 2):
            return 0
        self._reserved += room
        return room
