"""The nonces already used: a signed message acts once, however often its leaf is written (FAULTS S02, S03).

A nonce is remembered until its message has expired, because an expired one fails on its age anyway. Bounded
per sender and in all; a full window refuses rather than forgets, and one sender cannot fill it for another.
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_PER_SENDER = 4096
"""More than the rates let one sender say (20 a second) while its messages live (180 s)."""
MAX_SENDERS = 4096
MAX_NONCES = 65_536


class ReplayWindow:
    """Burnt nonces by sender, with the network time in milliseconds at which each may be forgotten."""

    def __init__(
        self,
        max_per_sender: int = MAX_PER_SENDER,
        max_senders: int = MAX_SENDERS,
        max_nonces: int = MAX_NONCES,
    ) -> None:
        self._max_per_sender = max_per_sender
        self._max_senders = max_senders
        self._max_nonces = max_nonces
        self._size = 0
        self._senders: dict[str, dict[str, int]] = {}

    def burn(self, sender: str, nonce: str, expires_at_ms: int, now_ms: int) -> bool:
        """Marks the nonce used; False if it was, or if there is no room to remember it."""
        if self.holds(sender, nonce):
            return False
        if self._is_full_for(sender):
            self._forget_expired(now_ms)
        if self._is_full_for(sender):
            return False
        self._senders.setdefault(sender, {})[nonce] = expires_at_ms
        self._size += 1
        return True

    def holds(self, sender: str, nonce: str) -> bool:
        """Whether this one was burnt, and has not been forgotten since."""
        return nonce in self._senders.get(sender, ())

    def __len__(self) -> int:
        return self._size

    def _is_full_for(self, sender: str) -> bool:
        used = self._senders.get(sender)
        if used is None:
            return len(self._senders) >= self._max_senders or self._size >= self._max_nonces
        return len(used) >= self._max_per_sender or self._size >= self._max_nonces

    def export(self, now_ms: int) -> list[tuple[str, str, int]]:
        """(sender, nonce, expires_at_ms) of everything that still matters, for the next run."""
        self._forget_expired(now_ms)
        return [(sender, nonce, at) for sender, used in self._senders.items() for nonce, at in used.items()]

    def restore(self, saved: Iterable[tuple[str, str, int]], now_ms: int) -> None:
        """Takes back what :meth:`export` gave."""
        for sender, nonce, expires_at_ms in saved:
            if expires_at_ms > now_ms:
                self.burn(sender, nonce, expires_at_ms, now_ms)

    def _forget_expired(self, now_ms: int) -> None:
        for sender, used in list(self._senders.items()):
            for nonce in [nonce for nonce, expires_at_ms in used.items() if expires_at_ms <= now_ms]:
                del used[nonce]
                self._size -= 1
            if not used:
                del self._senders[sender]
