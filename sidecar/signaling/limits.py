"""How much may arrive (FAULTS S16, constants in its section 1): every number is a default.

The budgets are taken before a leaf is decrypted and belong to the place it lay in, so that a flood of the
stranger inbox takes nothing from a friend. The rates come after and belong to the sender.
"""

from __future__ import annotations

from typing import NamedTuple

from sidecar.trust.rates import Rate, per_hour, per_minute


class Limits(NamedTuple):
    """Budgets and rates of the inbox."""

    contact_invites: Rate = per_minute(6, burst=12)
    """Calls of one friend that our user did not take; an accepted call gives its token back."""
    stranger_invites: Rate = per_minute(2)
    """Of one sender, in the stranger inbox."""
    stranger_invites_long: Rate = per_hour(10)
    signals: Rate = Rate(120, 20)
    """Everything else of one sender."""
    pairwise_budget: Rate = Rate(200, 10)
    """Leaves of one contact's inbox that are opened."""
    session_budget: Rate = Rate(400, 50)
    """Leaves of one call's session that are opened."""
    stranger_leaves: Rate = per_hour(200)
    """Leaves of the stranger inbox that are opened, whoever they come from."""
    stranger_chars: Rate = per_hour(256 * 1024)
    """And their characters."""
    seen_leaves: int = 8192
    """Leaves remembered so that a second delivery is silent."""
    generations: int = 1024
    """(call, device) pairs whose newest generation is remembered."""
    parked_leaves: int = 64
    """Leaves of one session that wait until we know who may have written them: in a conference of eight each
    member also sees what the others write to each other."""
    parked_chars: int = 512 * 1024
    """And their characters."""
    parked_chars_total: int = 1024 * 1024
    """Of all sessions together."""
    parked_s: float = 60.0
    """How long they wait: as long as signals of a session live."""

    def rates(self) -> dict[str, Rate]:
        return {name: value for name, value in self._asdict().items() if isinstance(value, Rate)}
