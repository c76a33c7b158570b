"""The door of a node without its cryptography: it decides about honest nodes as the real one does, faster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

from sidecar.calls import effects as cf
from sidecar.clock import Random
from sidecar.signaling.inbox import MIN_TO_RING_MS
from sidecar.signaling.messages import Incoming, InviteBody, Kind, Party, Signal

from .accounts import Account, Owner
from .graph import Graph
from .network import Agenda

OnSignal = Callable[[Incoming], None]


class Around(NamedTuple):
    """Whose door it is, and what it stands in."""

    owner: Owner
    users: Mapping[str, Account]
    graph: Graph
    agenda: Agenda
    random: Random
    counts: Counter[str]
    on_signal: OnSignal


class Door(Protocol):
    """What a node says becomes leaves, what it reads becomes signals that passed the checks."""

    def open(self) -> None: ...
    def close(self) -> None: ...
    def join(self, call_id: str, session: str, user_id: str) -> None: ...
    def leave(self, call_id: str) -> None: ...
    def send(self, effect: cf.SendSignal, near: str | None) -> None: ...


@dataclass
class _Session:
    """The soul of a call: who is heard there, and what others said before they were to be heard."""

    soul: str
    users: set[str] = field(default_factory=set)
    early: list[Signal] = field(default_factory=list)


class PlainDoor:
    """Signals as they are, in one inbox per user and one soul per session."""

    def __init__(self, around: Around) -> None:
        self._owner, self._users, self._graph = around.owner, around.users, around.graph
        self._agenda, self._random = around.agenda, around.random
        self._counts, self._on_signal = around.counts, around.on_signal
        self._sessions: dict[str, _Session] = {}
        self._seq = 0

    def open(self) -> None:
        """Begins to read."""
        self._graph.watch(self._owner.name, f"inbox/{self._owner.account.user_id}", self._in_inbox)

    def join(self, call_id: str, session: str, user_id: str) -> None:
        """Reads a session, and takes what this user writes there; a call that has grown has another one."""
        soul = f"session/{session}"
        if call_id in self._sessions and self._sessions[call_id].soul != soul:
            self.leave(call_id)
        if call_id not in self._sessions:
            self._sessions[call_id] = _Session(soul)
            self._graph.watch(self._owner.name, soul, partial(self._in_session, call_id))
        joined = self._sessions[call_id]
        if user_id not in joined.users:
            joined.users.add(user_id)
            early, joined.early = joined.early, []
            for signal in early:
                self._agenda.at(self._agenda.now, partial(self._in_session, call_id, signal.nonce, signal))

    def leave(self, call_id: str) -> None:
        joined = self._sessions.pop(call_id, None)
        if joined is not None:
            self._graph.unwatch(self._owner.name, joined.soul)

    def close(self) -> None:
        """The process is gone; nothing is planned here."""

    def send(self, effect: cf.SendSignal, near: str | None) -> None:
        """``near``: the node that a control channel reaches."""
        owner, to = self._owner, self._users[effect.user_id]
        self._seq += 1
        now_ms = owner.clock.network_ms()
        signal = Signal(
            kind=effect.kind,
            call_id=effect.call_id,
            sender=Party(owner.account.identity.pub, owner.device),
            recipient=Party(to.identity.pub, effect.device),
            body=effect.body,
            epoch=owner.epoch,
            gen=effect.gen,
            seq=self._seq,
            issued_at_ms=now_ms,
            expires_at_ms=now_ms + round(effect.ttl_s * 1000),
            nonce=self._random.bytes(16).hex(),
            room_id=effect.room_id,
            domain_id=effect.domain_id,
        )
        soul = f"inbox/{effect.user_id}" if effect.session is None else f"session/{effect.session}"
        self._graph.put(owner.name, soul, signal.nonce, signal, near)

    def _in_inbox(self, key: str, signal: Signal) -> None:
        sender, social = self._sender(signal), self._owner.account.social
        room = social.room(signal.room_id) if signal.room_id is not None else None
        announced = signal.kind is Kind.ANNOUNCE and room is not None and room.has(sender.user_id)
        known = social.contact(sender.user_id) is not None
        if not known and not announced and not isinstance(signal.body, InviteBody):
            self._counts["dropped place"] += 1
            return
        self._take(signal, sender)

    def _in_session(self, call_id: str, key: str, signal: Signal) -> None:
        sender, joined = self._sender(signal), self._sessions.get(call_id)
        if joined is not None and sender.user_id in joined.users:
            self._take(signal, sender)
        elif joined is not None:
            joined.early.append(signal)
            self._counts["dropped kid"] += 1

    def _sender(self, signal: Signal) -> Account:
        return next(one for one in self._users.values() if one.identity.pub == signal.sender.pub)

    def _take(self, signal: Signal, sender: Account) -> None:
        owner, social = self._owner, self._owner.account.social
        now_ms = owner.clock.network_ms()
        left_ms = signal.expires_at_ms - now_ms
        ours = signal.recipient.pub == owner.account.identity.pub
        if not ours or signal.recipient.device not in (None, owner.device):
            return
        if left_ms <= (MIN_TO_RING_MS if signal.kind is Kind.INVITE else 0):
            self._counts["dropped expired"] += 1
            return
        if social.is_blocked(sender.user_id):
            self._counts["dropped blocked"] += 1
            return
        rang_before = signal.kind is Kind.INVITE and owner.replay.holds(signal.sender.pub, signal.call_id)
        if rang_before or not owner.replay.burn(
            signal.sender.pub, signal.nonce, signal.expires_at_ms, now_ms
        ):
            self._counts["dropped replay"] += 1
            return
        contact = social.contact(sender.user_id) is not None
        name = social.name(sender.user_id)
        self._on_signal(Incoming(signal=signal, user_id=sender.user_id, contact=contact, verified_name=name))
