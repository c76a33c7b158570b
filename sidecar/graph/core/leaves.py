"""Content-addressed leaves: cells nobody can alter, and souls whose content ends (gun.md section 9).

In a soul that contains ``#`` gun.js accepts a value only under a key whose part after its last ``#`` is the
SHA-256 of the value. Relays forward junk all the same, so every reader checks again with :func:`is_leaf`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Any

MAX_SOUL_BYTES = 512 * 1024
"""Cap of one leaf soul, for readers and for our relay: gun.js loses reads above about 1 MB."""

_LIFETIME = re.compile(r"<\?(\d{1,12}(?:\.\d{1,6})?)")


def make_key(random16: bytes, value: str) -> str:
    """``<random hex>#<base64 SHA-256>``, the key of a new leaf; the random part makes it unique."""
    return f"{random16.hex()}#{digest(value)}"


def digest(value: str) -> str:
    """Standard base64 with padding: gun.js refuses any other spelling."""
    return base64.b64encode(hashlib.sha256(value.encode()).digest()).decode("ascii")


def is_leaf(key: str, value: Any) -> bool:
    """Whether the key names exactly this text."""
    if not isinstance(value, str):
        return False
    named = key.rpartition("#")[2]
    return hmac.compare_digest(named.encode(), digest(value).encode())


def is_hex_leaf(key: str, value: Any) -> bool:
    """The other spelling gun.js takes; a relay keeps such leaves, our readers do not use them."""
    if not isinstance(value, str):
        return False
    return key.rpartition("#")[2] == hashlib.sha256(value.encode()).hexdigest()


def is_leaf_soul(soul: str) -> bool:
    """Content addressing rules this soul: a ``#`` and no owner, whose signature would rule instead."""
    return "#" in soul and "~" not in soul


def lifetime_s(soul: str) -> float | None:
    """N of ``<?N``: seconds after its state at which a cell of this soul ends; None for ever."""
    found = _LIFETIME.search(soul) if "<?" in soul else None
    return (float(found[1]) or None) if found else None


def expires_ms(soul: str, state: float) -> float | None:
    """When a cell with this state ends, network time; None for ever."""
    lifetime = lifetime_s(soul)
    return None if lifetime is None else state + lifetime * 1000


def is_expired(soul: str, state: float, now_ms: float) -> bool:
    """Whether a time-limited soul no longer holds a cell with this state."""
    ends = expires_ms(soul, state)
    return ends is not None and ends < now_ms
