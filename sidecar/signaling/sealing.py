"""Signal -> signed envelope -> sealed leaf, and the first half of the way back (DESIGN D3).

Signed first, then sealed: the signature is as private as the rest, and a relay sees random ids, one of four
sizes and a time. The value of a leaf is ``{"v":1,"kid":...,"box":...}``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from sidecar.clock import Random
from sidecar.errors import RemoteError
from sidecar.signaling import layout, payload
from sidecar.signaling.messages import Signal
from sidecar.trust import canonical, envelope, pairwise, seal
from sidecar.trust.identity import Identity

LEAF_VERSION = 1
ARTIFACT_TYPE = "service"
"""Upstream's nearest type; it is not signed, so nothing depends on it."""
MAX_VALUE_CHARS = 24 * 1024
MAX_KEY_CHARS = 128


class Leaf(NamedTuple):
    """What is put into the graph."""

    soul: str
    key: str
    value: str


class Lock(NamedTuple):
    """A key to seal to. ``shared`` is the secret of the two users; None only for the stranger inbox, where
    the leaf must name the key openly because the reader cannot know who knocks.
    """

    kid: str
    public: bytes
    shared: bytes | None


OnEnvelope = Callable[[str, str, bool], None]
"""Is told of every envelope that was sealed or passed all checks: its call, its text, whether it is ours."""


class SealedLeaf(msgspec.Struct, frozen=True):
    """The value of a leaf."""

    v: int
    kid: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    box: Annotated[str, Meta(max_length=seal.MAX_BOX_CHARS)]


_decode_value = msgspec.json.Decoder(SealedLeaf).decode


def seal_signal(signal: Signal, identity: Identity, lock: Lock, soul: str, random: Random) -> Leaf:
    """Signs and seals. Takes 48 random bytes. Raises LocalError ``too-large`` above 16 KiB."""
    return seal_text(sign_signal(signal, identity, lock), lock, soul, random)


def sign_signal(signal: Signal, identity: Identity, lock: Lock) -> str:
    """The text of the envelope that is sealed."""
    signed = envelope.sign(
        payload.build(signal, lock.kid),
        identity,
        artifact_type=ARTIFACT_TYPE,
        created_at_ms=signal.issued_at_ms,
    )
    return envelope.to_text(signed)


def seal_text(text: str, lock: Lock, soul: str, random: Random) -> Leaf:
    """Seals the text of an envelope under a new leaf id. As ``seal_signal``."""
    leaf_id = random.bytes(16)
    kid = lock.kid if lock.shared is None else pairwise.leaf_kid(lock.shared, lock.kid, leaf_id.hex())
    box = seal.seal(text, lock.public, random.bytes(32))
    value = msgspec.json.encode(SealedLeaf(LEAF_VERSION, kid, box)).decode("ascii")
    return Leaf(soul, layout.leaf_key(leaf_id, value), value)


def read_value(key: str, value: str) -> tuple[str, SealedLeaf, bytes]:
    """The leaf id, the value's members and the bytes of the box; nothing is decrypted yet.

    Raises RemoteError with reason ``size`` or ``shape``.
    """
    if len(value) > MAX_VALUE_CHARS or len(key) > MAX_KEY_CHARS:
        raise RemoteError("size")
    leaf_id = layout.leaf_id(key)
    try:
        sealed = _decode_value(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise RemoteError("shape") from error
    box = seal.box_bytes(sealed.box)
    if leaf_id is None or box is None or sealed.v != LEAF_VERSION:
        raise RemoteError("shape")
    return leaf_id, sealed, box


def read_envelope(text: str) -> dict[str, Any]:
    """The envelope in an opened box, not verified yet.

    Raises RemoteError ``envelope``, also for half a surrogate pair: JavaScript can sign one, but nothing of
    ours could pass it on.
    """
    try:
        parsed = canonical.parse(text)
        if "\\u" in text:
            json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise RemoteError("envelope") from error
    if not isinstance(parsed, dict):
        raise RemoteError("envelope")
    return parsed
