"""Where signals lie in the graph (DESIGN D3): soul names, time buckets, leaf keys.

Every soul ends in ``#<?N``: content-addressed, and dropped by relays N seconds after a leaf's state. Writers
use the bucket of now; readers also the one before, and near its end the one after, because network time is
only good to about a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from sidecar.graph.core.leaves import make_key
from sidecar.trust.pairwise import inbox_name

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
EARLY_MS = 60_000
"""How long before a bucket begins it is read."""
SIGNAL_LIFE_S = 172_800
CARD_LIFE_S = 2_678_400

_LEAF_KEY = re.compile(r"[0-9a-f]{32}#[A-Za-z0-9+/]{43}=\Z")

leaf_key = make_key
"""``<128-bit random>#<base64 SHA-256 of the value>``."""


def pairwise_soul(shared: bytes, to_fingerprint: str, now_ms: int) -> str:
    """What one contact writes to the other today; only the two can compute the name."""
    return f"calls/p/{inbox_name(shared, _text(now_ms, '%Y-%m-%d'), to_fingerprint)}#<?{SIGNAL_LIFE_S}"


def stranger_soul(to_fingerprint: str, now_ms: int) -> str:
    """Where anybody may knock this hour."""
    return f"calls/inbox/{to_fingerprint}/{_text(now_ms, '%Y-%m-%dT%H')}#<?{SIGNAL_LIFE_S}"


def session_soul(session: str) -> str:
    """Where a call runs after its invitation."""
    return f"calls/s/{session}#<?{SIGNAL_LIFE_S}"


def keys_soul(fingerprint: str) -> str:
    """The key cards of a user's devices."""
    return f"calls/keys/{fingerprint}#<?{CARD_LIFE_S}"


def pairwise_souls(shared: bytes, to_fingerprint: str, now_ms: int) -> tuple[str, ...]:
    """Those to read now."""
    return _around(now_ms, DAY_MS, lambda at_ms: pairwise_soul(shared, to_fingerprint, at_ms))


def stranger_souls(to_fingerprint: str, now_ms: int) -> tuple[str, ...]:
    """Those to read now."""
    return _around(now_ms, HOUR_MS, lambda at_ms: stranger_soul(to_fingerprint, at_ms))


def next_change_ms(now_ms: int) -> int:
    """When the souls to read change next: a bucket begins, or is about to."""
    begins = (now_ms // HOUR_MS + 1) * HOUR_MS
    return begins - EARLY_MS if now_ms < begins - EARLY_MS else begins


def leaf_id(key: str) -> str | None:
    """The random part of a leaf's key, None if the key is not one of ours."""
    return key[:32] if _LEAF_KEY.match(key) else None


def _around(now_ms: int, period_ms: int, soul_at: Callable[[int], str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(soul_at, (now_ms, now_ms - period_ms, now_ms + EARLY_MS))))


def _text(at_ms: int, form: str) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime(form)
