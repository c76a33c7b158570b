"""What to write where (DESIGN D3): composes signals, chooses souls and keys, and knocks twice if it must.

An invitation goes to a contact's pairwise inbox, to a stranger's inbox without its SDP; everything else goes
to the session of the call. A contact that has not answered in 3 s may not have us as a friend, or may not
read that inbox: the stranger form follows, with the same call id, so that the other end rings once.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import msgspec

from sidecar.clock import Random
from sidecar.signaling import layout, sealing
from sidecar.signaling.messages import AnyBody, InviteBody, Kind, Party, Signal
from sidecar.signaling.sealing import Leaf, Lock, OnEnvelope
from sidecar.trust import pairwise, sodium
from sidecar.trust.cards import CardKey, KeyCard
from sidecar.trust.identity import Identity, raw_public_key

RECEIPT_WITHIN_S = 3.0
"""A receipt takes two graph round trips; a relay that is slower than this is as good as absent."""
MAX_CALLS = 256
"""Calls whose message numbers, and invitations whose receipts, are kept in mind."""


class Recipient(NamedTuple):
    """Whom to seal to. ``shared``: our X25519 secret with that user; ``cards``: of the devices meant."""

    user_id: str
    pub: str
    contact: bool
    shared: bytes
    cards: tuple[KeyCard, ...] = ()


class Message(NamedTuple):
    """What one side wants to say; the outbox adds who, to whom, when and in which order."""

    call_id: str
    kind: Kind
    body: AnyBody
    gen: int
    ttl_s: float
    session: str | None
    device: str | None = None
    room_id: str | None = None
    domain_id: str | None = None


class _Unanswered(NamedTuple):
    message: Message
    recipient: Recipient
    due_s: float
    expires_at_ms: int


class Outbox:
    """Signs and seals what this device says; remembers invitations that nobody has opened yet."""

    def __init__(
        self,
        identity: Identity,
        device: str,
        *,
        epoch: str,
        random: Random,
        on_envelope: OnEnvelope | None = None,
    ) -> None:
        self._identity = identity
        self._device = device
        self._epoch = epoch
        self._random = random
        self._on_envelope = on_envelope
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._unanswered: OrderedDict[str, _Unanswered] = OrderedDict()

    def write(self, message: Message, recipient: Recipient, now_ms: int, now_s: float) -> list[Leaf]:
        """The leaves that carry a message, one per device of the recipient.

        ``now_ms`` is network time, ``now_s`` monotonic. Raises LocalError ``too-large``.
        """
        expires_at_ms = now_ms + round(message.ttl_s * 1000)
        if message.kind is not Kind.INVITE:
            self._unanswered.pop(message.call_id, None)
        elif recipient.contact:
            waiting = _Unanswered(message, recipient, now_s + RECEIPT_WITHIN_S, expires_at_ms)
            _remember(self._unanswered, message.call_id, waiting)
        return self._leaves(message, recipient, now_ms, expires_at_ms, knock=not recipient.contact)

    def answered(self, call_id: str) -> None:
        """The other side has opened the invitation of this call."""
        self._unanswered.pop(call_id, None)

    def next_deadline(self) -> float | None:
        """Monotonic time at which :meth:`knock_again` has something to say."""
        return min((waiting.due_s for waiting in self._unanswered.values()), default=None)

    def knock_again(self, now_ms: int, now_s: float) -> list[Leaf]:
        """The stranger form of every invitation that nobody has opened in time."""
        leaves: list[Leaf] = []
        for call_id, waiting in list(self._unanswered.items()):
            if waiting.due_s > now_s:
                continue
            del self._unanswered[call_id]
            if waiting.expires_at_ms > now_ms:
                leaves += self._leaves(
                    waiting.message, waiting.recipient, now_ms, waiting.expires_at_ms, knock=True
                )
        return leaves

    def _leaves(
        self, message: Message, recipient: Recipient, now_ms: int, expires_at_ms: int, *, knock: bool
    ) -> list[Leaf]:
        """``knock``: an invitation takes the stranger form, whoever it is for."""
        openly = knock and message.session is None
        soul = self._soul(message, recipient, now_ms, openly=openly)
        leaves = []
        for device, kid, public in _targets(recipient, message.device, now_ms):
            signal = self._signal(message, recipient, now_ms, expires_at_ms, device)
            if openly:
                signal = _without_sdp(signal)
            lock = Lock(kid, public, None if openly else recipient.shared)
            text = sealing.sign_signal(signal, self._identity, lock)
            leaves.append(sealing.seal_text(text, lock, soul, self._random))
            if self._on_envelope is not None:
                self._on_envelope(message.call_id, text, True)
        return leaves

    def _soul(self, message: Message, recipient: Recipient, now_ms: int, *, openly: bool) -> str:
        if message.session is not None:
            return layout.session_soul(message.session)
        if openly:
            return layout.stranger_soul(recipient.user_id, now_ms)
        return layout.pairwise_soul(recipient.shared, recipient.user_id, now_ms)

    def _signal(
        self, message: Message, recipient: Recipient, now_ms: int, expires_at_ms: int, device: str | None
    ) -> Signal:
        number = self._numbers.get(message.call_id, 0)
        _remember(self._numbers, message.call_id, number + 1)
        return Signal(
            kind=message.kind,
            call_id=message.call_id,
            sender=Party(self._identity.pub, self._device),
            recipient=Party(recipient.pub, device),
            body=message.body,
            epoch=self._epoch,
            gen=message.gen,
            seq=number,
            issued_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
            nonce=self._random.bytes(16).hex(),
            room_id=message.room_id,
            domain_id=message.domain_id,
        )


def _targets(recipient: Recipient, device: str | None, now_ms: int) -> list[tuple[str | None, str, bytes]]:
    """(device, kid, public key) to seal to: the current box key of each device meant.

    A device whose card is missing or has run out is reached through the identity key, which all devices hold:
    a missing card never means that nothing is said.
    """
    identity_key = sodium.to_x25519_public(raw_public_key(recipient.pub) or b"")
    if identity_key is None:
        return []
    fallback = CardKey(pairwise.box_kid(identity_key), identity_key, 0)
    meant = [card for card in recipient.cards if device in (None, card.device)]
    keys: list[tuple[str | None, CardKey]] = [(c.device, c.box_key(now_ms) or fallback) for c in meant]
    return [(name, key.kid, key.public) for name, key in keys or [(device, fallback)]]


def _without_sdp(signal: Signal) -> Signal:
    body = signal.body
    if isinstance(body, InviteBody):
        body = msgspec.structs.replace(body, sdp=None)
    return msgspec.structs.replace(signal, body=body)


def _remember(table: OrderedDict[str, Any], key: str, value: Any) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > MAX_CALLS:
        table.popitem(last=False)
