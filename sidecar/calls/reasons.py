"""End reasons as the two ends of one call see them.

The end that finishes a call says its own reason; the other end records the mirror of it, so that both
histories tell the same story: my ``local-hangup`` is your ``remote-hangup``, ``declined`` is ``declined``.
"""

from __future__ import annotations

from sidecar.schema import EndReason
from sidecar.signaling.messages import Kind

_BY_KIND: dict[Kind, tuple[EndReason, frozenset[EndReason]]] = {
    Kind.REJECT: (
        EndReason.DECLINED,
        frozenset({EndReason.MEDIA_FAILED, EndReason.APP_GONE, EndReason.SHUTDOWN}),
    ),
    Kind.BUSY: (EndReason.BUSY, frozenset()),
    Kind.CANCEL: (
        EndReason.CANCELLED,
        frozenset(
            {
                EndReason.NO_ANSWER,
                EndReason.BUSY,
                EndReason.UNREACHABLE,
                EndReason.MEDIA_FAILED,
                EndReason.APP_GONE,
                EndReason.SHUTDOWN,
                EndReason.ANSWERED_ELSEWHERE,
                EndReason.DECLINED_ELSEWHERE,
                EndReason.GLARE,
            }
        ),
    ),
    Kind.END: (
        EndReason.REMOTE_HANGUP,
        frozenset(
            {
                EndReason.UNREACHABLE,
                EndReason.CONNECT_FAILED,
                EndReason.CONNECTION_LOST,
                EndReason.MEDIA_FAILED,
                EndReason.APP_GONE,
                EndReason.SHUTDOWN,
                EndReason.SECURITY,
                EndReason.INTERNAL_ERROR,
                EndReason.REPLACED,
            }
        ),
    ),
}
"""Per kind: what it means by itself, and which other reasons a peer may give with it. A peer cannot make
us record a reason that only we can know (``policy-denied``)."""


def mirrored(kind: Kind, said: str) -> EndReason:
    """Our reason for a call that the peer ended with ``kind`` and ``said``; unknown words mean the kind."""
    plain, allowed = _BY_KIND[kind]
    return EndReason(said) if said in allowed else plain


def parsed(reason: str, otherwise: EndReason) -> EndReason:
    """The ``EndReason`` of that name; ``otherwise`` for a name this version does not know."""
    try:
        return EndReason(reason)
    except ValueError:
        return otherwise
