"""The one error tree, split by who is to blame; every class carries a stable wire code.

    SidecarError(code, message, details)
      LocalError         the caller's mistake            invalid-params call.not-found call.wrong-state ...
      RemoteError        a peer misbehaved               never crosses IPC, dropped and counted
      DeniedError        policy said no                  policy.blocked policy.rate-limited ...
      UnavailableError   the environment is missing it   graph.unreachable media.no-device resource ...
      InternalError      a bug of ours                   internal, with an id found in the log

Codes are those of DESIGN section 6. Foreign exceptions are mapped at the adapter's border and never leak.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Every code that may cross the wire."""

    INVALID_PARAMS = "invalid-params"
    NOT_IMPLEMENTED = "not-implemented"
    CALL_NOT_FOUND = "call.not-found"
    CALL_WRONG_STATE = "call.wrong-state"
    CONFERENCE_FULL = "conference.full"
    POLICY_BLOCKED = "policy.blocked"
    POLICY_RATE_LIMITED = "policy.rate-limited"
    POLICY_PERMISSION_MISSING = "policy.permission-missing"
    MEDIA_NO_DEVICE = "media.no-device"
    MEDIA_NO_SOURCE = "media.no-source"
    MEDIA_BAD_SDP = "media.bad-sdp"
    GRAPH_UNREACHABLE = "graph.unreachable"
    RESOURCE = "resource"
    TOO_LARGE = "too-large"
    INTERNAL = "internal"


class SidecarError(Exception):
    """Base of all errors this project raises on purpose."""

    code: Code = Code.INTERNAL

    def __init__(
        self, message: str, *, code: Code | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.message = message
        self.details = dict(details) if details else None

    def to_wire(self) -> dict[str, Any]:
        """The ``{code, message, details?}`` object of the wire."""
        wire: dict[str, Any] = {"code": self.code.value, "message": self.message}
        if self.details is not None:
            wire["details"] = self.details
        return wire


class LocalError(SidecarError):
    """The caller asked for something that cannot be: its message names the field or the state."""

    code = Code.INVALID_PARAMS


class RemoteError(SidecarError):
    """A peer sent something malformed, forged or out of place; it is dropped and counted, never shown.

    ``reason`` is a short static word that names the counter.
    """

    def __init__(self, reason: str, message: str = "", *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message or reason, details=details)
        self.reason = reason


class DeniedError(SidecarError):
    """Policy refuses: a block, a rate limit, a missing permission."""

    code = Code.POLICY_BLOCKED


class UnavailableError(SidecarError):
    """Something outside this process is missing: a relay, a device, memory, a file descriptor."""

    code = Code.RESOURCE


class InternalError(SidecarError):
    """A bug of ours; ``details.id`` is found in the log."""

    code = Code.INTERNAL
