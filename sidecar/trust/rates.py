"""Token buckets: how much of our time and attention one sender, and all of a kind together, may take.

A bucket belongs to (class, key). The classes are ours and fixed; keys come from outside, so their number is
bounded: when full, the bucket closest to full again, which forgets the least, makes room.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Rate(NamedTuple):
    """``burst`` at once, then ``per_s`` a second."""

    burst: float
    per_s: float


def per_minute(count: float, burst: float | None = None) -> Rate:
    return Rate(burst if burst is not None else count, count / 60)


def per_hour(count: float, burst: float | None = None) -> Rate:
    return Rate(burst if burst is not None else count, count / 3600)


class _Bucket:
    __slots__ = ("at_s", "tokens")

    def __init__(self, tokens: float, at_s: float) -> None:
        self.tokens = tokens
        self.at_s = at_s


class RateLimits:
    """All buckets; monotonic seconds come in with every call."""

    def __init__(self, rates: Mapping[str, Rate], max_keys: int = 4096) -> None:
        self._rates = dict(rates)
        self._max_keys = max_keys
        self._buckets: dict[str, dict[str, _Bucket]] = {name: {} for name in rates}

    def allow(self, name: str, key: str, now_s: float, cost: float = 1.0) -> bool:
        """Takes ``cost`` tokens from the bucket of ``key`` in class ``name`` if it holds them."""
        rate, buckets = self._rates[name], self._buckets[name]
        bucket = buckets.get(key)
        if bucket is None:
            if len(buckets) >= self._max_keys:
                self._make_room(buckets, rate, now_s)
            bucket = buckets[key] = _Bucket(rate.burst, now_s)
        bucket.tokens = _level(bucket, rate, now_s)
        bucket.at_s = now_s
        if bucket.tokens < cost:
            return False
        bucket.tokens -= cost
        return True

    def refund(self, name: str, key: str) -> None:
        """Gives one token back: what it was taken for turned out to be welcome."""
        bucket = self._buckets[name].get(key)
        if bucket is not None:
            bucket.tokens = min(self._rates[name].burst, bucket.tokens + 1)

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def _make_room(self, buckets: dict[str, _Bucket], rate: Rate, now_s: float) -> None:
        for key in [key for key, bucket in buckets.items() if _level(bucket, rate, now_s) >= rate.burst]:
            del buckets[key]
        if len(buckets) >= self._max_keys:
            del buckets[max(buckets, key=lambda key: _level(buckets[key], rate, now_s))]


def _level(bucket: _Bucket, rate: Rate, now_s: float) -> float:
    return min(rate.burst, bucket.tokens + max(0.0, now_s - bucket.at_s) * rate.per_s)
