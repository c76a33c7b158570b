"""The real door of a node: outbox, sealing and inbox, on the souls of the real layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sidecar.calls import effects as cf
from sidecar.signaling import layout
from sidecar.signaling.inbox import Inbox, Peer, Place, PlaceKind
from sidecar.signaling.messages import Kind
from sidecar.signaling.outbox import Message, Outbox, Recipient
from sidecar.signaling.sealing import Leaf
from sidecar.trust import boxkeys
from sidecar.trust.pins import Pins

from .accounts import box_key, shared
from .doors import Around


@dataclass
class _Session:
    """The soul of a call: who is heard there, and what lies there for others who may be heard later."""

    soul: str
    peers: dict[str, Peer] = field(default_factory=dict)
    leaves: dict[str, Any] = field(default_factory=dict)


class SealedDoor:
    """As ``services.signaling`` does it, without a loop."""

    def __init__(self, around: Around) -> None:
        self._owner, self._users, self._graph = around.owner, around.users, around.graph
        self._agenda, self._counts, self._on_signal = around.agenda, around.counts, around.on_signal
        owner = around.owner
        me = owner.account
        self._outbox = Outbox(me.identity, owner.device, epoch=owner.epoch, random=around.random)
        pins = Pins()
        for contact in me.social.contacts():
            pins.hold(contact.user_id, contact.pub)
        self._inbox = Inbox(
            me.identity,
            owner.device,
            social=me.social,
            pins=pins,
            on_drop=self._dropped,
            replay=owner.replay,
        )
        self._inbox.set_box_keys((box_key(owner.device), boxkeys.of_identity(me.identity.seed)))
        self._souls: set[str] = set()
        self._sessions: dict[str, _Session] = {}
        self._open = True

    def open(self) -> None:
        """Reads the inboxes of this hour and day, and goes on to the next."""
        owner, now_ms = self._owner, self._owner.clock.network_ms()
        wanted = dict.fromkeys(
            layout.stranger_souls(owner.account.user_id, now_ms), Place(PlaceKind.STRANGERS)
        )
        for contact in owner.account.social.contacts():
            peer = self._peer(contact.user_id)
            place = Place(PlaceKind.PAIRWISE, contact.user_id, (peer,))
            wanted |= dict.fromkeys(layout.pairwise_souls(peer.shared, owner.account.user_id, now_ms), place)
        for soul, place in wanted.items():
            if soul not in self._souls:
                self._graph.watch(owner.name, soul, partial(self._read, place))
        self._souls = set(wanted)
        change_s = (layout.next_change_ms(now_ms) - now_ms) / 1000 + 0.01
        self._agenda.at(self._agenda.now + change_s, self._roll)

    def _roll(self) -> None:
        if self._open:
            self.open()

    def _peer(self, user_id: str) -> Peer:
        other = self._users[user_id].identity
        return Peer(user_id, other.pub, shared(self._owner.account.identity.priv, other.pub))

    def join(self, call_id: str, session: str, user_id: str) -> None:
        """Reads a session, and takes what this user writes there; a call that has grown has another one."""
        soul = layout.session_soul(session)
        if call_id in self._sessions and self._sessions[call_id].soul != soul:
            self.leave(call_id)
        if call_id not in self._sessions:
            self._sessions[call_id] = _Session(soul)
            self._graph.watch(self._owner.name, soul, partial(self._read_session, call_id))
        joined = self._sessions[call_id]
        if user_id not in joined.peers:
            joined.peers[user_id] = self._peer(user_id)
            for key, value in joined.leaves.items():
                self._agenda.at(self._agenda.now, partial(self._read_session, call_id, key, value))

    def leave(self, call_id: str) -> None:
        joined = self._sessions.pop(call_id, None)
        if joined is not None:
            self._graph.unwatch(self._owner.name, joined.soul)

    def close(self) -> None:
        """The process is gone."""
        self._open = False

    def send(self, effect: cf.SendSignal, near: str | None) -> None:
        """``near``: the node that a control channel reaches."""
        social, clock = self._owner.account.social, self._owner.clock
        peer, user = self._peer(effect.user_id), self._users[effect.user_id]
        contact = social.contact(effect.user_id) is not None
        to = Recipient(effect.user_id, peer.pub, contact, peer.shared, user.cards())
        message = Message(
            effect.call_id, effect.kind, effect.body, effect.gen, effect.ttl_s, effect.session,
            effect.device, effect.room_id, effect.domain_id,
        )  # fmt: skip
        if effect.kind is Kind.ACCEPT:
            self._inbox.taken(effect.user_id)
        self._put(self._outbox.write(message, to, clock.network_ms(), clock.monotonic()), near)
        due = self._outbox.next_deadline()
        if due is not None:
            self._agenda.at(due, self._knock)

    def _knock(self) -> None:
        if self._open:
            clock = self._owner.clock
            self._put(self._outbox.knock_again(clock.network_ms(), clock.monotonic()))

    def _put(self, leaves: list[Leaf], near: str | None = None) -> None:
        for leaf in leaves:
            self._inbox.ignore(leaf.key)
            self._graph.put(self._owner.name, *leaf, near)

    def _read_session(self, call_id: str, key: str, value: Any) -> None:
        joined = self._sessions.get(call_id)
        if joined is not None and self._open:
            joined.leaves[key] = value
            self._read(Place(PlaceKind.SESSION, call_id, tuple(joined.peers.values())), key, value)

    def _read(self, place: Place, key: str, value: Any) -> None:
        clock = self._owner.clock
        incoming = self._inbox.receive(place, key, value, clock.network_ms(), clock.monotonic())
        if incoming is not None:
            self._outbox.answered(incoming.signal.call_id)
            self._on_signal(incoming)

    def _dropped(self, reason: str) -> None:
        self._counts[f"dropped {reason}"] += 1
