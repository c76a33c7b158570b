"""Many nodes with the real machines over a seeded network and graph, in virtual time: same seed, same life.

A user may have several nodes (devices). Broken promises raise ``Broken``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from sidecar.calls import effects as cf
from sidecar.conference.facts import Room

from .accounts import START, Account, NodeClock, Owner, numbered
from .graph import Graph
from .media import Media
from .network import Agenda, Dice, Preset, Seeded
from .nodes import Node
from .promises import Promises
from .shared import Shared


class World:
    """Make users and nodes, plan what happens with ``at``, then ``run``."""

    def __init__(
        self,
        seed: int,
        preset: Preset,
        *,
        sealed: bool = False,
        on_effect: Callable[[Node, cf.Effect], None] = lambda node, effect: None,
    ) -> None:
        """``sealed``: signals go through the real outbox and inbox. ``on_effect`` is a front end's ear."""
        agenda, dice, counts = Agenda(START), Dice(seed, preset), Counter[str]()
        media = Media(agenda, dice, lambda name, event: self.nodes[name].hear(event))
        self.shared = Shared(
            agenda=agenda,
            dice=dice,
            random=Seeded(f"keys {seed}"),
            graph=Graph(agenda, dice, counts),
            media=media,
            promises=Promises(),
            counts=counts,
            sealed=sealed,
            on_effect=on_effect,
        )

    @property
    def nodes(self) -> dict[str, Node]:
        return self.shared.nodes

    @property
    def now_s(self) -> float:
        """Seconds since the world began."""
        return self.shared.agenda.now - START

    # --- people ----------------------------------------------------------------------------------------

    def user(self, name: str, number: int) -> Account:
        """A user with the keys of that number; befriend it before its nodes start."""
        account = Account(name, numbered(number))
        self.shared.users[account.user_id] = account
        return account

    def device(self, account: Account, *, skew_ms: int = 0, offset_ms: int = 0) -> Node:
        """One more device of a user, not started yet."""
        name = f"{account.name}.{len(account.devices) + 1}"
        device = self.shared.random.bytes(8).hex()
        clock = NodeClock(self.shared.agenda, skew_ms, offset_ms)
        account.devices[name] = device
        node = Node(self.shared, Owner(name, account, device, "", clock))
        self.nodes[name] = node
        return node

    def befriend(self, *accounts: Account) -> None:
        """Makes friends of all of them."""
        for account in accounts:
            account.befriend([other for other in accounts if other is not account], [])

    def set_rooms(self, rooms: Mapping[str, Room]) -> None:
        """What every social copy says; before the nodes start."""
        self.shared.rooms = rooms
        told = [
            {"id": room.room_id, "name": room.room_id, "members": [guest.user_id for guest in room.members]}
            for room in rooms.values()
        ]
        for account in self.shared.users.values():
            account.social.merge({"rooms": told})

    def start(self) -> None:
        """Starts every node that does not run."""
        for node in self.nodes.values():
            if node.dead:
                node.start()

    def restart(self, name: str) -> None:
        """The same device comes back as another process, and reads what the graph still has."""
        if self.nodes[name].dead:
            self.shared.note(f"{name} restarts")
            self.nodes[name].start()

    # --- time ------------------------------------------------------------------------------------------

    def at(self, after_s: float, do: Callable[[], None]) -> None:
        """Plans something, in seconds since the beginning."""
        self.shared.agenda.at(START + after_s, do)

    def run(self, until_s: float) -> None:
        """Lets everything happen until then."""
        agenda, until = self.shared.agenda, START + until_s
        while (due := agenda.next()) is not None and due <= until:
            agenda.run_next()
        agenda.now = until

    def calm(self) -> None:
        """From now on the network works and loses nothing."""
        self.shared.note("calm")
        self.shared.dice.calm()
        self.shared.graph.divide(frozenset())
