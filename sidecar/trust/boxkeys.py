"""The X25519 keys that others seal to: one a week, each forgotten 48 h after it ends (DESIGN D3).

A recording of the graph stays closed once the private half is deleted. The identity key's own X25519 form is
the last resort, for a sender that has no card: it never expires, so it does not forget.
"""

from __future__ import annotations

from typing import NamedTuple

from sidecar.trust import sodium
from sidecar.trust.pairwise import box_kid

HOUR_MS = 3_600_000
LIFETIME_MS = 7 * 24 * HOUR_MS
"""A new key every week: how much of the past one stolen key opens."""
GRACE_MS = 48 * HOUR_MS
"""As long as a leaf can wait in an inbox."""


class BoxKey(NamedTuple):
    """A key pair; ``not_after_ms`` is when senders stop using it."""

    kid: str
    public: bytes
    private: bytes
    not_after_ms: int


def make(private: bytes, not_after_ms: int) -> BoxKey:
    """The box key of 32 random bytes."""
    public = sodium.x25519_public(private)
    return BoxKey(box_kid(public), public, private, not_after_ms)


def of_identity(seed: bytes) -> BoxKey:
    """The box key everybody can derive from the identity's public key."""
    return make(sodium.to_x25519_private(seed), 2**63)


def usable(keys: tuple[BoxKey, ...], now_ms: int) -> tuple[BoxKey, ...]:
    """Those a card may offer."""
    return tuple(key for key in keys if key.not_after_ms > now_ms)


def due(keys: tuple[BoxKey, ...], now_ms: int) -> bool:
    """Whether :func:`rotate` would change anything."""
    return not usable(keys, now_ms) or any(_forgotten(key, now_ms) for key in keys)


def rotate(keys: tuple[BoxKey, ...], now_ms: int, random32: bytes) -> tuple[BoxKey, ...]:
    """The keys to hold from now on, newest first: a new one if none is usable, none past its grace."""
    kept = tuple(key for key in keys if not _forgotten(key, now_ms))
    if usable(kept, now_ms):
        return kept
    return (make(random32, now_ms + LIFETIME_MS), *kept)


def _forgotten(key: BoxKey, now_ms: int) -> bool:
    return key.not_after_ms + GRACE_MS <= now_ms
