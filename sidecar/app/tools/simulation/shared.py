"""What all nodes of a simulated world have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.calls import effects as cf
from sidecar.calls.rules import Rules
from sidecar.conference.facts import Room
from sidecar.conference.rules import ConferenceRules

from .accounts import START, Account
from .graph import Graph
from .media import Media
from .network import Agenda, Dice, Seeded
from .promises import Promises

if TYPE_CHECKING:
    from .nodes import Node


@dataclass
class Shared:
    """``on_effect`` is told what front ends would be shown; ``random`` makes ids, nonces and keys."""

    agenda: Agenda
    dice: Dice
    random: Seeded
    graph: Graph
    media: Media
    promises: Promises
    counts: Counter[str]
    sealed: bool
    on_effect: Callable[[Node, cf.Effect], None]
    users: dict[str, Account] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    rooms: Mapping[str, Room] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    rules: Rules = field(default_factory=Rules)
    conference_rules: ConferenceRules = field(default_factory=ConferenceRules)

    def note(self, text: str) -> None:
        """A line of the story, which is also what two runs are compared by."""
        self.log.append(f"{self.agenda.now - START:9.3f} {text}")
