"""What we have learnt about users' keys and must not unlearn (DESIGN D3).

A fingerprint has 64 bits and is only an address: the full key first seen behind it is pinned, a different
one is reported and never taken silently. Of a device's cards only a newer one replaces the pinned one. What
changed is gathered until somebody takes it, to store and to report it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from sidecar.trust.cards import KeyCard

MAX_USERS = 4096
MAX_DEVICES = 8
"""Devices of one user that are sealed to; the one heard of longest ago makes room."""
MAX_REPORTED = 256
"""Foreign keys that were told of, so that each is told of once."""


class PinState(Enum):
    """How a full key compares with the pinned one."""

    NEW = "new"
    SAME = "same"
    CHANGED = "changed"


class KeyChange(NamedTuple):
    """A known user has appeared with another identity key (both SPKI base64)."""

    user_id: str
    old_key: str
    new_key: str


class Pin(NamedTuple):
    """What is stored of one user."""

    pub: str
    cards: tuple[KeyCard, ...]


class _Pin:
    __slots__ = ("cards", "pub")

    def __init__(self, pub: str) -> None:
        self.pub = pub
        self.cards: dict[str, KeyCard] = {}


class Pins:
    """Full keys and the newest card of each device, by user id; the stranger used longest ago goes first."""

    def __init__(self, max_users: int = MAX_USERS) -> None:
        self._max_users = max_users
        self._pins: OrderedDict[str, _Pin] = OrderedDict()
        self._contacts: set[str] = set()
        self._changed: dict[str, None] = {}
        self._reported: OrderedDict[KeyChange, None] = OrderedDict()
        self._reports: list[KeyChange] = []

    def hold(self, user_id: str, pub: str) -> PinState:
        """Pins the key of a contact, which came from our own social copy and so outranks what was learnt; a
        different one that it replaces is reported all the same."""
        state = self.check(user_id, pub)
        if state is not PinState.SAME:
            self._pins[user_id] = _Pin(pub)
            self._changed[user_id] = None
        self._contacts.add(user_id)
        return state

    def release(self, user_id: str) -> None:
        """The user is no contact any more; the key stays pinned, and may make room for others."""
        self._contacts.discard(user_id)

    def check(self, user_id: str, pub: str) -> PinState:
        """Compares a key that has proven itself, and reports it if it is not the pinned one."""
        state = self.compare(user_id, pub)
        if state is PinState.CHANGED:
            change = KeyChange(user_id, self._pins[user_id].pub, pub)
            if change not in self._reported:
                self._reported[change] = None
                self._reports.append(change)
            if len(self._reported) > MAX_REPORTED:
                self._reported.popitem(last=False)
        return state

    def compare(self, user_id: str, pub: str) -> PinState:
        """Compares without pinning."""
        pin = self._pins.get(user_id)
        if pin is None:
            return PinState.NEW
        return PinState.SAME if pin.pub == pub else PinState.CHANGED

    def learn(self, user_id: str, pub: str) -> PinState:
        """Pins a key that has just proven itself, unless another one holds the place."""
        state = self.check(user_id, pub)
        if state is PinState.NEW:
            self._make_room()
            self._pins[user_id] = _Pin(pub)
            self._changed[user_id] = None
        elif state is PinState.SAME:
            self._pins.move_to_end(user_id)
        return state

    def pub(self, user_id: str) -> str | None:
        """The pinned full key."""
        pin = self._pins.get(user_id)
        return pin.pub if pin else None

    def take_card(self, user_id: str, card: KeyCard) -> bool:
        """Keeps a verified card; False if it is of another key or not newer than the pinned one."""
        if self.learn(user_id, card.pub) is PinState.CHANGED:
            return False
        cards = self._pins[user_id].cards
        known = cards.get(card.device)
        if known is not None and known.issued_at_ms >= card.issued_at_ms:
            return False
        cards[card.device] = card
        self._changed[user_id] = None
        if len(cards) > MAX_DEVICES:
            del cards[min(cards, key=lambda device: cards[device].issued_at_ms)]
        return True

    def cards(self, user_id: str, now_ms: int) -> tuple[KeyCard, ...]:
        """The unexpired cards of a user, newest first."""
        pin = self._pins.get(user_id)
        cards = [] if pin is None else [card for card in pin.cards.values() if not card.expired(now_ms)]
        return tuple(sorted(cards, key=lambda card: -card.issued_at_ms))

    def take_changes(self) -> dict[str, Pin | None]:
        """What is pinned now of every user whose pin has changed since the last time; None: no longer."""
        changed, self._changed = self._changed, {}
        return {user_id: self._saved(user_id) for user_id in changed}

    def take_reports(self) -> list[KeyChange]:
        """The foreign keys that have appeared since the last time, each once."""
        reports, self._reports = self._reports, []
        return reports

    def restore(self, saved: Mapping[str, Pin]) -> None:
        """Takes back what :meth:`take_changes` gave, longest unchanged first; keys held meanwhile stay.
        None of it counts as a change."""
        for user_id, pin in list(saved.items())[-self._max_users :]:
            if self.learn(user_id, pin.pub) is not PinState.CHANGED:
                for card in pin.cards:
                    self.take_card(user_id, card)
        self._changed.clear()

    def _saved(self, user_id: str) -> Pin | None:
        pin = self._pins.get(user_id)
        return None if pin is None else Pin(pin.pub, tuple(pin.cards.values()))

    def _make_room(self) -> None:
        while len(self._pins) >= self._max_users:
            victim = next((user_id for user_id in self._pins if user_id not in self._contacts), None)
            if victim is None:
                return
            del self._pins[victim]
            self._changed[victim] = None
