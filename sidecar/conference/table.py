"""The transition table of a conference as one node sees it; every (state, trigger) pair is decided.

``IGNORE``: already so, or nothing to do. ``WRONG``: the command makes no sense now (``call.wrong-state``).
``ENDED`` is final.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    """Where this node is with a conference."""

    KNOWN = "known"
    """It lives, and our user is not in it: it may be looked at and joined."""
    RINGING = "ringing"
    """Our user is being asked."""
    JOINED = "joined"
    """Our user is in it, alone or not."""
    ENDED = "ended"
    """Over for this node; one that was left only is known, and may be joined again."""


class Trigger(Enum):
    """What can happen to it."""

    RING = "announced with a ring"
    JOIN = "join"
    DECLINE = "decline"
    LEAVE = "leave"
    USE = "use media"
    TAKEN = "joined on another device"
    RUNG_OUT = "nobody answered"
    STALE = "announced no more"
    ALONE = "everybody left"
    FULL = "full"
    REMOVED = "removed"
    REPLACED = "replaced"
    MEDIA_LOST = "media lost"
    SHUTDOWN = "shutdown"


class Verdict(Enum):
    """A decision that is not a transition."""

    IGNORE = "ignore"
    WRONG = "wrong"


IGNORE, WRONG = Verdict.IGNORE, Verdict.WRONG
Decision = State | Verdict
S, T = State, Trigger

TABLE: Mapping[State, Mapping[Trigger, Decision]] = {
    S.KNOWN: {
        T.RING: S.RINGING,
        T.JOIN: S.JOINED,
        T.DECLINE: IGNORE,
        T.LEAVE: IGNORE,
        T.USE: WRONG,
        T.TAKEN: IGNORE,
        T.RUNG_OUT: IGNORE,
        T.STALE: S.ENDED,
        T.ALONE: IGNORE,
        T.FULL: IGNORE,
        T.REMOVED: S.ENDED,
        T.REPLACED: S.ENDED,
        T.MEDIA_LOST: IGNORE,
        T.SHUTDOWN: S.ENDED,
    },
    S.RINGING: {
        T.RING: IGNORE,
        T.JOIN: S.JOINED,
        T.DECLINE: S.KNOWN,
        T.LEAVE: S.KNOWN,
        T.USE: WRONG,
        T.TAKEN: S.KNOWN,
        T.RUNG_OUT: S.KNOWN,
        T.STALE: S.ENDED,
        T.ALONE: IGNORE,
        T.FULL: IGNORE,
        T.REMOVED: S.ENDED,
        T.REPLACED: S.ENDED,
        T.MEDIA_LOST: IGNORE,
        T.SHUTDOWN: S.ENDED,
    },
    S.JOINED: {
        T.RING: IGNORE,
        T.JOIN: IGNORE,
        T.DECLINE: WRONG,
        T.LEAVE: S.KNOWN,
        T.USE: IGNORE,
        T.TAKEN: S.KNOWN,
        T.RUNG_OUT: IGNORE,
        T.STALE: IGNORE,
        T.ALONE: S.KNOWN,
        T.FULL: S.KNOWN,
        T.REMOVED: S.ENDED,
        T.REPLACED: S.ENDED,
        T.MEDIA_LOST: S.KNOWN,
        T.SHUTDOWN: S.ENDED,
    },
    S.ENDED: dict.fromkeys(T, IGNORE) | {T.JOIN: WRONG, T.USE: WRONG, T.DECLINE: IGNORE},
}


def decide(state: State, trigger: Trigger) -> Decision:
    """The one decision for this pair."""
    return TABLE[state][trigger]
