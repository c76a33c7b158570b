"""What our social copy says about a conference: who may be in it, how many, and who moderates.

Asked anew each time, because the copy changes while a conference lives; every member asks its own copy, so
that nobody has to trust another one's door (S21).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from sidecar.errors import DeniedError, RemoteError
from sidecar.ids import fingerprint
from sidecar.signaling.messages import MemberInfo
from sidecar.trust.domains import Refusal
from sidecar.trust.gate import ConferenceVerdict

from .facts import ConferenceFacts


class Gate(Protocol):
    """Verdicts of the social copy, as ``sidecar.trust.gate.TrustGate`` gives them."""

    def create(self, user_id: str, room_id: str, domain_id: str | None = None) -> ConferenceVerdict: ...
    def join(self, user_id: str, room_id: str | None, domain_id: str | None = None) -> ConferenceVerdict: ...
    def moderates(
        self, user_id: str, *, initiator_id: str, room_id: str | None = None, domain_id: str | None = None
    ) -> bool: ...


class Place:
    """The room and domain of one conference. Without a gate nothing is forbidden: nobody has said a thing."""

    def __init__(self, gate: Gate | None, facts: ConferenceFacts) -> None:
        self._gate = gate
        self._facts = facts

    def refusal(self, user_id: str, *, founding: bool = False) -> Refusal | None:
        """Why this user may not be in it, None for those who may. ``founding``: may not have opened it,
        because guests do not lead."""
        facts = self._facts
        if self._gate is None:
            return None
        if founding and facts.room_id is not None:
            return self._gate.create(user_id, facts.room_id, facts.domain_id).refusal
        return self._gate.join(user_id, facts.room_id, facts.domain_id).refusal

    def must_admit(self, user_id: str, *, founding: bool = False) -> None:
        """Raises DeniedError for a user who may not."""
        refusal = self.refusal(user_id, founding=founding)
        if refusal is not None:
            raise DeniedError("the room or its domain does not allow this", details={"reason": refusal.value})

    def must_be_open(self, teller: str, our_id: str, members: Iterable[MemberInfo]) -> None:
        """Somebody tells us of it for the first time. Raises RemoteError if our copy keeps him or us out."""
        alone = all(fingerprint(info.pub) == teller for info in members)
        if self.refusal(teller, founding=alone) is not None or self.refusal(our_id) is not None:
            raise RemoteError("refused-conference")

    def participants_max(self, user_id: str) -> int | None:
        """The ceiling that its domain sets, None for none. ``user_id``: ours."""
        facts = self._facts
        return self._gate.join(user_id, facts.room_id, facts.domain_id).max_size if self._gate else None

    def moderates(self, user_id: str) -> bool:
        """Whether room or domain make this user a moderator."""
        facts = self._facts
        return self._gate is not None and self._gate.moderates(
            user_id, initiator_id=facts.initiator_id, room_id=facts.room_id, domain_id=facts.domain_id
        )
