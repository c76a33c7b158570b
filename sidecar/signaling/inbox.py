"""The ordered checks that every leaf passes before it becomes a signal (DESIGN D3).

Cheap checks first, so that a flood costs little; the block list and rates before the signature; the nonce is
burned last, so that nothing invalid can use one up. A failed check is counted by its reason and otherwise
silent: who probes us learns nothing, and nothing reaches the front end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, NamedTuple

from sidecar import ids
from sidecar.errors import RemoteError
from sidecar.signaling import payload, sealing
from sidecar.signaling.limits import Limits
from sidecar.signaling.messages import Incoming, InviteBody, Kind, Signal
from sidecar.signaling.parking import Parked, Parking
from sidecar.signaling.sealing import OnEnvelope
from sidecar.trust import envelope, pairwise, seal
from sidecar.trust.boxkeys import BoxKey
from sidecar.trust.identity import Identity, raw_public_key
from sidecar.trust.pins import Pins, PinState
from sidecar.trust.rates import RateLimits
from sidecar.trust.replay import ReplayWindow
from sidecar.trust.social import SocialState

MAX_AHEAD_MS = 60_000
"""How far in the future a signal may have been issued."""
MAX_LIFE_MS = 180_000
"""Longest time between issue and expiry: a ring of 120 s, and a margin."""
MIN_TO_RING_MS = 3_000
"""An invitation with less left is not worth ringing for."""

_CARRYING_SDP = frozenset({Kind.INVITE, Kind.ACCEPT, Kind.ANSWER, Kind.OFFER, Kind.JOIN})


class _Newest(NamedTuple):
    """The newest description of a device in a call."""

    epoch: str
    gen: int
    seq: int
    issued_ms: int


class PlaceKind(Enum):
    """The kinds of soul that signals lie in."""

    PAIRWISE = "pairwise"
    STRANGERS = "strangers"
    SESSION = "session"


class Peer(NamedTuple):
    """Who may have written into a place: full key in SPKI base64, and the secret shared with that user."""

    user_id: str
    pub: str
    shared: bytes


class Place(NamedTuple):
    """The soul a leaf was found in, as far as the checks care.

    ``name`` keys the budget: a user id, a call id, nothing for strangers. ``peers`` is empty for strangers.
    """

    kind: PlaceKind
    name: str = ""
    peers: tuple[Peer, ...] = ()


class Inbox:
    """Checks leaves; holds what the checks must remember, all of it bounded.

    ``on_drop`` is told the reason, a short static word, of every leaf that came to nothing; ``duplicate`` is
    a leaf delivered again.
    """

    def __init__(
        self,
        identity: Identity,
        device: str,
        *,
        social: SocialState,
        pins: Pins,
        on_drop: Callable[[str], None],
        limits: Limits | None = None,
        replay: ReplayWindow | None = None,
        on_envelope: OnEnvelope | None = None,
    ) -> None:
        self._identity = identity
        self._device = device
        self._social = social
        self._pins = pins
        self._on_drop = on_drop
        self._on_envelope = on_envelope
        self._limits = limits or Limits()
        self._rates = RateLimits(self._limits.rates())
        self.replay = replay or ReplayWindow()
        self._box_keys: tuple[BoxKey, ...] = ()
        self._seen: OrderedDict[tuple[PlaceKind | None, str, str], None] = OrderedDict()
        self._generations: OrderedDict[tuple[str, str, str], _Newest] = OrderedDict()
        self._parking = Parking(self._limits, lambda: on_drop("kid"))

    def set_box_keys(self, keys: Iterable[BoxKey]) -> None:
        """The private halves that open leaves from now on, the identity's own included."""
        self._box_keys = tuple(keys)

    def ignore(self, key: str) -> None:
        """A leaf of our own, which the relay will show us too."""
        self._remember((None, "", key))

    def taken(self, user_id: str) -> None:
        """Our user took a call: the invitation was wanted and does not count against its sender."""
        self._rates.refund("contact_invites", user_id)

    def receive(self, place: Place, key: str, value: str, now_ms: int, now_s: float) -> Incoming | None:
        """The signal in a leaf, or None if it is a duplicate or fails a check. Never raises.

        ``now_ms`` is network time, ``now_s`` monotonic. A leaf of a session of which nobody whom we know
        there can be the writer is parked.
        """
        return self._received(place, Parked(key, value, now_s), now_ms, now_s)

    def receive_parked(self, place: Place, now_ms: int, now_s: float) -> list[Incoming]:
        """The signals in what is parked of a session, now that its place names more users."""
        waiting = self._parking.take(place.name, now_s)
        return list(filter(None, [self._received(place, leaf, now_ms, now_s) for leaf in waiting]))

    def forget_parked(self, name: str) -> None:
        """The session of this place is read no more."""
        self._parking.drop(name)

    def judged(self, place: Place, key: str) -> bool:
        """Whether a leaf has been taken or refused for good: told again, it is a duplicate."""
        return (place.kind, place.name, key) in self._seen

    def _received(self, place: Place, leaf: Parked, now_ms: int, now_s: float) -> Incoming | None:
        if self.judged(place, leaf.key) or (None, "", leaf.key) in self._seen:
            self._on_drop("duplicate")
            return None
        try:
            return self._checked(place, leaf.key, leaf.value, now_ms, now_s)
        except RemoteError as dropped:
            if dropped.reason == "kid" and place.kind is PlaceKind.SESSION:
                self._parking.put(place.name, leaf, now_s)
            else:
                self._on_drop(dropped.reason)
            return None

    def _checked(self, place: Place, key: str, value: str, now_ms: int, now_s: float) -> Incoming:
        leaf_id, sealed, box = sealing.read_value(key, value)
        peer, box_key = self._addressed(place, sealed.kid, leaf_id)
        # By place: else a copy put where it does not belong would make the original a duplicate. Not before
        # it is known whose it is: who may write into a session is told of later than he writes.
        self._remember((place.kind, place.name, key))
        self._spend(place, len(value), now_s)
        text = seal.open_box(box, box_key.private, box_key.public)
        _require(text is not None, "open")
        signed = sealing.read_envelope(text or "")
        signal, kid = payload.read(signed.get("payload"))
        self._check_audience(signal, kid, box_key)
        _check_age(signal, now_ms)
        user_id = ids.fingerprint(signal.sender.pub)
        _require(not self._social.is_blocked(user_id), "blocked")
        self._check_rate(place, signal, user_id, now_s)
        self._check_author(place, signed, signal, peer)
        contact = self._social.contact(user_id)
        _require(self._pins.check(user_id, signal.sender.pub) is not PinState.CHANGED, "pin")
        self._check_generation(signal)
        _require(not self._rang_before(signal), "replay")
        fresh = self.replay.burn(signal.sender.pub, signal.nonce, signal.expires_at_ms, now_ms)
        _require(fresh, "replay")
        self._pins.learn(user_id, signal.sender.pub)
        if self._on_envelope is not None:
            self._on_envelope(signal.call_id, text or "", False)
        return Incoming(
            signal=signal,
            user_id=user_id,
            contact=contact is not None and contact.pub == signal.sender.pub,
            verified_name=self._social.name(user_id) or None,
        )

    def _addressed(self, place: Place, kid: str, leaf_id: str) -> tuple[Peer | None, BoxKey]:
        """Which of our keys the leaf names, and who can have named it so; RemoteError ``kid`` if none."""
        for box_key in self._box_keys:
            if place.kind is PlaceKind.STRANGERS:
                if kid == box_key.kid:
                    return None, box_key
                continue
            for peer in place.peers:
                if kid == pairwise.leaf_kid(peer.shared, box_key.kid, leaf_id):
                    return peer, box_key
        raise RemoteError("kid")

    def _spend(self, place: Place, chars: int, now_s: float) -> None:
        match place.kind:
            case PlaceKind.PAIRWISE:
                granted = self._rates.allow("pairwise_budget", place.name, now_s)
            case PlaceKind.SESSION:
                granted = self._rates.allow("session_budget", place.name, now_s)
            case PlaceKind.STRANGERS:
                granted = self._rates.allow("stranger_leaves", "", now_s) and self._rates.allow(
                    "stranger_chars", "", now_s, cost=chars
                )
        _require(granted, "budget")

    def _check_audience(self, signal: Signal, kid: str, box_key: BoxKey) -> None:
        to_us = signal.recipient.pub == self._identity.pub
        to_this_device = signal.recipient.device in (None, self._device)
        _require(to_us and to_this_device and kid == box_key.kid, "audience")

    def _check_rate(self, place: Place, signal: Signal, user_id: str, now_s: float) -> None:
        """In the stranger inbox anybody can claim to be anybody, so its buckets are not the friends'."""
        if signal.kind is not Kind.INVITE:
            granted = self._rates.allow("signals", f"{place.kind.value} {user_id}", now_s)
        elif place.kind is PlaceKind.STRANGERS:
            granted = self._rates.allow("stranger_invites", user_id, now_s) and self._rates.allow(
                "stranger_invites_long", user_id, now_s
            )
        else:
            granted = self._rates.allow("contact_invites", user_id, now_s)
        _require(granted, "rate")

    def _check_author(self, place: Place, signed: dict[str, Any], signal: Signal, peer: Peer | None) -> None:
        """The signature, and that the signer, the named sender and the owner of the place are one."""
        verdict = envelope.verify(signed)
        _require(verdict.valid, "signature" if verdict.reason != "fingerprint" else "fingerprint")
        _require(signed["author"]["pub"] == signal.sender.pub, "fingerprint")
        _require(raw_public_key(signal.sender.pub) is not None, "fingerprint")
        _require(peer is None or peer.pub == signal.sender.pub, "sender")
        _require(signal.sender.pub != self._identity.pub, "sender")
        _require(place.kind is not PlaceKind.STRANGERS or self._is_for_strangers(signal), "place")

    def _is_for_strangers(self, signal: Signal) -> bool:
        """Whether this may lie where anybody may write: an invitation without an offer, or news of a
        conference from somebody who is in a room with us, for not everybody there is a friend."""
        if signal.kind is Kind.INVITE:
            return isinstance(signal.body, InviteBody) and signal.body.sdp is None
        room = self._social.room(signal.room_id) if signal.room_id is not None else None
        together = (signal.sender.pub, self._identity.pub)
        return (
            signal.kind is Kind.ANNOUNCE
            and room is not None
            and all(room.has(ids.fingerprint(pub)) for pub in together)
        )

    def _rang_before(self, signal: Signal) -> bool:
        """Whether an earlier run of ours has had this invitation, perhaps in its other form (C18): only that
        one leaves call ids in the window."""
        return signal.kind is Kind.INVITE and self.replay.holds(signal.sender.pub, signal.call_id)

    def _check_generation(self, signal: Signal) -> None:
        """Of a device's descriptions in a call only those of the generation that was said last count; other
        signals may cross late. By number, as who comes back to a conference begins with generation 0."""
        if signal.kind not in _CARRYING_SDP:
            return
        at = (signal.call_id, signal.sender.pub, signal.sender.device or "")
        newest = self._generations.get(at)
        if newest is None:
            newer = True
        elif newest.epoch == signal.epoch:
            newer = signal.gen == newest.gen or signal.seq > newest.seq
        else:
            newer = signal.issued_at_ms > newest.issued_ms
        _require(newer, "generation")
        self._generations[at] = _Newest(signal.epoch, signal.gen, signal.seq, signal.issued_at_ms)
        self._generations.move_to_end(at)
        if len(self._generations) > self._limits.generations:
            self._generations.popitem(last=False)

    def _remember(self, leaf: tuple[PlaceKind | None, str, str]) -> None:
        self._seen[leaf] = None
        if len(self._seen) > self._limits.seen_leaves:
            self._seen.popitem(last=False)


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise RemoteError(reason)


def _check_age(signal: Signal, now_ms: int) -> None:
    left_ms = signal.expires_at_ms - now_ms
    _require(left_ms > (MIN_TO_RING_MS if signal.kind is Kind.INVITE else 0), "expired")
    _require(signal.issued_at_ms <= now_ms + MAX_AHEAD_MS, "future")
    _require(signal.expires_at_ms - signal.issued_at_ms <= MAX_LIFE_MS, "lifetime")
