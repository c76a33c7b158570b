"""What we have learnt about users' keys and must not unlearn (DESIGN D3).

A fingerprint has 64 bits and is only an address: the full key first seen behind it is pinned, a different
one is reported and never taken silently. Of a device's cards only a newer one replaces the pinned one.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import Any

import msgspec

from sidecar.trust.cards import KeyCard

MAX_USERS = 4096
MAX_DEVICES = 8
"""Devices of one user that are sealed to; the one heard of longest ago makes room."""


class PinState(Enum):
    """How a full key compares with the pinned one."""

    NEW = "new"
    SAME = "same"
    CHANGED = "changed"


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

    def hold(self, user_id: str, pub: str) -> PinState:
        """Pins the key of a contact, which came from our own social copy and so outranks what was learnt."""
        state = self.compare(user_id, pub)
        if state is not PinState.SAME:
            self._pins[user_id] = _Pin(pub)
        self._contacts.add(user_id)
        return state

    def compare(self, user_id: str, pub: str) -> PinState:
        """Compares without pinning."""
        pin = self._pins.get(user_id)
        if pin is None:
            return PinState.NEW
        return PinState.SAME if pin.pub == pub else PinState.CHANGED

    def learn(self, user_id: str, pub: str) -> PinState:
        """Pins a key that has just proven itself, unless another one holds the place."""
        state = self.compare(user_id, pub)
        if state is PinState.NEW:
            self._make_room()
            self._pins[user_id] = _Pin(pub)
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
        if len(cards) > MAX_DEVICES:
            del cards[min(cards, key=lambda device: cards[device].issued_at_ms)]
        return True

    def cards(self, user_id: str, now_ms: int) -> tuple[KeyCard, ...]:
        """The unexpired cards of a user, newest first."""
        pin = self._pins.get(user_id)
        cards = [] if pin is None else [card for card in pin.cards.values() if not card.expired(now_ms)]
        return tuple(sorted(cards, key=lambda card: -card.issued_at_ms))

    def export(self) -> list[dict[str, Any]]:
        """Plain values for storage, least recently used first."""
        return [
            {"userId": user_id, "pub": pin.pub, "cards": [msgspec.to_builtins(c) for c in pin.cards.values()]}
            for user_id, pin in self._pins.items()
        ]

    def restore(self, saved: list[dict[str, Any]]) -> None:
        """Takes back what :meth:`export` gave; keys held meanwhile stay."""
        for entry in saved[-self._max_users :]:
            if self.learn(entry["userId"], entry["pub"]) is PinState.CHANGED:
                continue
            for card in msgspec.convert(entry["cards"], list[KeyCard]):
                self.take_card(entry["userId"], card)

    def _make_room(self) -> None:
        while len(self._pins) >= self._max_users:
            victim = next((user_id for user_id in self._pins if user_id not in self._contacts), None)
            if victim is None:
                return
            del self._pins[victim]
