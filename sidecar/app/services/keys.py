"""Whose keys we know: contacts by our social copy, everyone else by their key cards in the graph."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol

from sidecar.calls.events import Relation
from sidecar.clock import Clock
from sidecar.errors import Code, DeniedError, RemoteError, UnavailableError
from sidecar.log import Logger
from sidecar.signaling import layout
from sidecar.signaling.inbox import Peer
from sidecar.signaling.outbox import Recipient
from sidecar.trust import cards, pairwise
from sidecar.trust.boxkeys import BoxKey
from sidecar.trust.identity import Identity, raw_public_key
from sidecar.trust.pins import KeyChange, Pin, Pins, PinState
from sidecar.trust.social import SocialState

FETCH_WITHIN_S = 3.0
"""A whole soul answers in tens of milliseconds; this is for a relay that is just being connected."""
MAX_SECRETS = 4096
CONTACTS_AT_A_TIME = 64
"""Key agreements (0.15 ms each) between two turns of the loop."""


class Graph(Protocol):
    """What signaling asks of the graph client."""

    async def put_leaf(self, soul: str, key: str, value: str) -> None: ...
    def watch_leaves(self, soul: str, on_leaf: Callable[[str, str, int], None]) -> Callable[[], None]: ...
    async def read_leaves(self, soul: str, *, timeout_s: float) -> dict[str, str]: ...
    def wake(self) -> None: ...
    def keep_close(self, close: bool) -> None: ...


class Device(Protocol):
    """The device's own keys, as ``device_file.DeviceFile`` holds them."""

    device: str

    def box_keys(self, now_ms: int) -> tuple[BoxKey, ...]: ...
    def card(self, identity: Identity, now_ms: int) -> Any: ...


Burnt = tuple[str, str, int]
"""(sender, nonce, expires_at_ms) of the replay window."""


class Memory(Protocol):
    """What trust must not forget when this process ends, as ``trust_store.TrustStore`` keeps it."""

    def pins(self) -> Mapping[str, Pin]: ...
    def save_pins(self, pins: Mapping[str, Pin | None], now_ms: int) -> None: ...
    def nonces(self) -> Sequence[Burnt]: ...
    def burn(self, nonces: Sequence[Burnt], now_ms: int, on_done: Callable[[bool], None]) -> None: ...


class KeyDirectory:
    """Full keys, cards and shared secrets by user id."""

    def __init__(
        self,
        graph: Graph,
        identity: Identity,
        social: SocialState,
        memory: Memory,
        on_key_changed: Callable[[KeyChange], None],
        *,
        clock: Clock,
        counters: MutableMapping[str, int],
        log: Logger,
    ) -> None:
        self.pins = Pins()
        self._graph = graph
        self._identity = identity
        self._social = social
        self._memory = memory
        self._on_key_changed = on_key_changed
        self._held: frozenset[str] = frozenset()
        self._clock = clock
        self._counters = counters
        self._log = log
        self._secrets: OrderedDict[str, bytes] = OrderedDict()

    async def start(self) -> None:
        """Takes back the pins of earlier runs, then the contacts' keys."""
        self.pins.restore(self._memory.pins())
        self.follow_contacts()
        await self.agree()

    async def agree(self) -> None:
        """Computes what we share with every contact, a few at a time."""
        for index, contact in enumerate(self._social.contacts()):
            self.peer(contact.user_id)
            if index % CONTACTS_AT_A_TIME == 0:
                await asyncio.sleep(0)

    def follow_contacts(self) -> None:
        """Pins the keys of all contacts as our social copy has them now; whoever is none any more may go."""
        contacts = self._social.contacts()
        for contact in contacts:
            self.pins.hold(contact.user_id, contact.pub)
        held = frozenset(contact.user_id for contact in contacts)
        for user_id in self._held - held:
            self.pins.release(user_id)
        self._held = held
        self.flush()

    def flush(self) -> None:
        """Stores what has changed about pins and reports foreign keys; after everything that may pin."""
        changes = self.pins.take_changes()
        if changes:
            self._memory.save_pins(changes, self._clock.network_ms())
        for report in self.pins.take_reports():
            self._log.warning("a known user has another key")
            self._on_key_changed(report)

    def peer(self, user_id: str) -> Peer | None:
        """The user as a possible author of leaves; None while no usable key is known."""
        pub = self.pins.pub(user_id)
        if pub is None or user_id == self._identity.fingerprint:
            return None
        shared = self._secrets.get(pub) or self._agree(pub)
        return None if shared is None else Peer(user_id, pub, shared)

    async def recipient(self, user_id: str, *, parting: bool = False) -> Recipient:
        """Whom to seal to; a stranger's cards are fetched if none is known. ``parting``: to end a call that
        our user was in when it blocked the other one, who would otherwise wait for nothing.

        Raises DeniedError for a blocked user or our own id, UnavailableError if no key can be found.
        """
        blocked = self._social.is_blocked(user_id) and not parting
        if user_id == self._identity.fingerprint or blocked:
            raise DeniedError("this user cannot be called", code=Code.POLICY_BLOCKED)
        await self.meet(user_id)
        peer = self.peer(user_id)
        if peer is None:
            raise UnavailableError("no key of this user is known", code=Code.GRAPH_UNREACHABLE)
        known = self.pins.cards(user_id, self._clock.network_ms())
        contact = self._social.contact(user_id) is not None
        return Recipient(user_id, peer.pub, contact, peer.shared, known)

    async def relation(self, user_id: str) -> Relation:
        """What we know of a user; fetches the cards of an unknown one, and raises as :meth:`fetch` does."""
        if self._social.is_blocked(user_id):
            return Relation.BLOCKED
        if self._social.contact(user_id) is not None:
            return Relation.CONTACT
        await self.meet(user_id)
        return Relation.UNKNOWN if self.peer(user_id) is None else Relation.STRANGER

    async def meet(self, user_id: str) -> None:
        """Learns the key of a user who may write to us; raises as :meth:`fetch` does."""
        if self.pins.pub(user_id) is None:
            await self.fetch(user_id)

    async def fetch(self, user_id: str) -> None:
        """Reads the user's cards from the graph. Raises UnavailableError if no relay answered."""
        found = await self._graph.read_leaves(layout.keys_soul(user_id), timeout_s=FETCH_WITHIN_S)
        for key, text in found.items():
            self.take_card(user_id, key, text)

    def take_card(self, user_id: str, key: str, text: str) -> None:
        """Checks a card found under the user's id and keeps it if it is newer than the one we have."""
        try:
            if layout.leaf_id(key) is None:
                raise RemoteError("card-shape")
            card = cards.read(text, user_id, self._clock.network_ms())
            if self.pins.check(user_id, card.pub) is PinState.CHANGED:
                raise RemoteError("card-pin")
            self.pins.take_card(user_id, card)
        except RemoteError as error:
            name = f"signal.dropped.{error.reason}"
            self._counters[name] = self._counters.get(name, 0) + 1
            self._log.debug("key card dropped", reason=error.reason)
        self.flush()

    def _agree(self, pub: str) -> bytes | None:
        raw = raw_public_key(pub)
        shared = None if raw is None else pairwise.shared_secret(self._identity.seed, raw)
        if shared is not None:
            self._secrets[pub] = shared
            if len(self._secrets) > MAX_SECRETS:
                self._secrets.popitem(last=False)
        return shared
