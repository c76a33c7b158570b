"""Answers that a peer has not taken yet, bounded in number and bytes, per peer and in total."""

from __future__ import annotations

from collections import deque
from enum import Enum

from sidecar.ipc.wire.limits import Limits


class Admission(Enum):
    """What to do with a new request of a peer that reads slowly."""

    SERVE = "serve"
    REFUSE = "refuse"
    DROP = "drop"


class Total:
    """Bytes that wait for all peers together."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Outbox:
    """First in, first out; ``blocked_since`` is when the head began to wait."""

    __slots__ = ("_limits", "_queue", "_total", "blocked_since", "bytes")

    def __init__(self, limits: Limits, total: Total) -> None:
        self._limits = limits
        self._total = total
        self._queue: deque[bytes] = deque()
        self.bytes = 0
        self.blocked_since: float | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def admission(self) -> Admission:
        """Whether a new request may run; nothing runs whose answer could not be kept."""
        waiting = len(self._queue)
        if waiting >= self._limits.outbox_drop:
            return Admission.DROP
        if waiting >= self._limits.outbox_refuse or self.bytes >= self._limits.outbox_bytes:
            return Admission.REFUSE
        return Admission.SERVE

    def fits(self, size: int) -> bool:
        """Whether ``size`` more bytes may wait."""
        return (
            self.bytes + size <= self._limits.outbox_bytes
            and self._total.bytes + size <= self._limits.outbox_total_bytes
        )

    def push(self, payload: bytes, now: float) -> None:
        """Adds one answer to the end; the caller has asked ``fits`` or knows it to be small."""
        if not self._queue:
            self.blocked_since = now
        self._queue.append(payload)
        self._count(len(payload))

    def head(self) -> bytes:
        """The answer that goes next."""
        return self._queue[0]

    def pop(self, now: float) -> None:
        """The head went out."""
        self._count(-len(self._queue.popleft()))
        self.blocked_since = now if self._queue else None

    def clear(self) -> None:
        """The peer is gone."""
        self._count(-self.bytes)
        self._queue.clear()
        self.blocked_since = None

    def stalled(self, now: float) -> bool:
        """Whether the peer has taken nothing for so long that it counts as gone."""
        return self.blocked_since is not None and now - self.blocked_since > self._limits.stalled_s

    def _count(self, size: int) -> None:
        self.bytes += size
        self._total.bytes += size
