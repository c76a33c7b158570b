"""Timers of a connection; apart from the path itself, so that ``rules`` can hold them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRules:
    """Timers of a path, in seconds."""

    build_s: float = 10.0
    """For a new generation to come up; then the next is tried."""
    renew_every_s: float = 5.0
    """Between two generations (or two requests for one)."""
    renews_per_minute: int = 5
    """Jicofo's limit for restarts."""
    grace_s: float = 1.0
    """A connection that closes may be a hang-up whose word is slower than its DTLS close."""
    lost_s: float = 30.0
    """From the first sign of silence to giving up."""
