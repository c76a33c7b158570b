"""Who has been heard, by us or by a member that we hear: gossip over the control channels (DESIGN D5).

A member that has crashed is shown as disconnected within 15 s, however its lease stands; the first word of it
puts it back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .rules import SUSPECT_S

SILENT_S = 14.5
"""What media takes to notice silence, and we to hear of it, must fit into the 15 s (FAULTS K02)."""


class Presence:
    """When each member was last heard, in our monotonic seconds."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}
        self._hearing: set[str] = set()

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._heard

    def expect(self, user_id: str, now: float) -> None:
        """A member that has just become known counts as heard, until it has had its time to connect."""
        self._heard.setdefault(user_id, now)

    def hear(self, user_id: str, now: float) -> None:
        """Our own connection to it carries."""
        self._hearing.add(user_id)
        self._heard[user_id] = now

    def miss(self, user_id: str, now: float) -> None:
        """Our own connection to it has stopped carrying."""
        if user_id in self._hearing:
            self._hearing.discard(user_id)
            self._heard[user_id] = now

    def forget(self, user_id: str) -> None:
        """It has left."""
        self._hearing.discard(user_id)
        self._heard.pop(user_id, None)

    def gossip(self, now: float) -> dict[str, int]:
        """Milliseconds since each member that we hear ourselves was heard: what we tell the others.

        Media says that a member is silent only after a while. Until then it may have been silent as long:
        telling less would keep a crashed member in the rosters of those who have noticed before us.
        """
        age_ms = int(SUSPECT_S * 1000)
        return {user_id: age_ms for user_id in self._hearing if self._heard[user_id] <= now}

    def told(self, ages_ms: Mapping[str, int], now: float) -> None:
        """What another member says that it heard; the future and unknown users do not count."""
        for user_id, age_ms in ages_ms.items():
            if user_id in self._heard:
                self._heard[user_id] = max(self._heard[user_id], now - max(0, age_ms) / 1000)

    def silent(self, user_id: str, now: float) -> bool:
        """Whether nobody has heard it for too long."""
        if user_id in self._hearing:
            return False
        return now >= self._heard.get(user_id, now) + SILENT_S

    def next_silence(self, users: Collection[str]) -> float | None:
        """When the next of these members falls silent, if nobody hears it before."""
        waiting = [self._heard[user] for user in users if user in self._heard and user not in self._hearing]
        return min(waiting) + SILENT_S if waiting else None
