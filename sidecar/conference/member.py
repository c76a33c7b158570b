"""One other member of a conference, as this node sees it."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.calls.path import Path
from sidecar.calls.people import Person
from sidecar.signaling.messages import MemberInfo


@dataclass(slots=True)
class Member:
    """``path`` is None until one of the two offers; at ``until`` (monotonic seconds) its lease runs out."""

    person: Person
    info: MemberInfo
    until: float
    path: Path | None = None
    epoch: str | None = None
    """The life of its process that the path is with."""
    again_at: float = 0.0
    """When it may come with another life next."""
    met: bool = False
    """Its connection was up once: from then on a new offer is a new generation, before that it is a join."""
    shown: bool = False
    """The front end was told that it is there."""
    visible_height: int | None = None

    @property
    def user_id(self) -> str:
        return self.person.user_id
