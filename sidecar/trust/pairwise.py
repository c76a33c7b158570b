"""What only two users can compute: the names of their inboxes, the key hints on their leaves (DESIGN D3).

Everything derives from X25519 of the two identity keys, so two contacts agree on it without a message, and
a watcher of the graph cannot link a leaf to either of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from sidecar.trust import sodium

INBOX_LABEL = "aleph-inbox-1"
INBOX_NAME_CHARS = 26
"""130 bits: nobody meets another pair's inbox by chance or by search."""
KID_BYTES = 8


def shared_secret(my_seed: bytes, their_public: bytes) -> bytes | None:
    """X25519 of two Ed25519 identities; None if theirs is not a usable key."""
    converted = sodium.to_x25519_public(their_public)
    return None if converted is None else sodium.x25519(sodium.to_x25519_private(my_seed), converted)


def inbox_name(shared: bytes, day: str, to_fingerprint: str) -> str:
    """The name of what one writes to the other on a UTC day (``2026-11-22``): each direction has its own."""
    tag = _mac(shared, f"{INBOX_LABEL}|{day}|{to_fingerprint}")
    return base64.b32encode(tag).decode("ascii").lower()[:INBOX_NAME_CHARS]


def leaf_kid(shared: bytes, card_kid: str, leaf_id: str) -> str:
    """The key hint on a leaf between two users: changes with every leaf, so it names nobody."""
    return _mac(shared, f"{card_kid}|{leaf_id}")[:KID_BYTES].hex()


def box_kid(public: bytes) -> str:
    """The plain name of a box key: on key cards and on leaves of the stranger inbox."""
    return hashlib.sha256(public).digest()[:KID_BYTES].hex()


def _mac(shared: bytes, text: str) -> bytes:
    return hmac.digest(shared, text.encode("utf-8"), "sha256")
