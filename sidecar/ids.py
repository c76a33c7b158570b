"""Pure formats of the identifiers that travel: no randomness in here, bytes come in as arguments."""

from __future__ import annotations

import base64
import hashlib
import re

_USER_ID = re.compile(r"[0-9a-f]{16}\Z")


def fingerprint(pub_spki_base64: str) -> str:
    """A user id: the first 16 hex digits of SHA-256 over the *base64 text* of the SPKI public key.

    It is an address, not a proof (64 bits): full keys are compared and pinned (alephnet.md section 2).
    """
    return hashlib.sha256(pub_spki_base64.encode("ascii")).hexdigest()[:16]


def is_user_id(text: str) -> bool:
    """Whether a text can be the fingerprint of a key."""
    return _USER_ID.match(text) is not None


def call_id(random16: bytes) -> str:
    """``call_`` and 26 lower-case base32 characters of 128 random bits."""
    return "call_" + base64.b32encode(random16).decode("ascii").rstrip("=").lower()


def hex_id(random_bytes: bytes) -> str:
    """Lower-case hex: epochs, nonces, devices, sessions."""
    return random_bytes.hex()
