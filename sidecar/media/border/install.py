"""Puts every change in place, once, and refuses a library version that was not looked at."""

from __future__ import annotations

import aiortc
from aiortc import rtcicetransport, rtcpeerconnection

from sidecar.errors import InternalError
from sidecar.media.border import tables
from sidecar.media.border.gather import GatherConnection
from sidecar.media.border.receiver import Receiver
from sidecar.media.border.sender import Sender
from sidecar.media.border.transport import Transport

AIORTC = "1.16."

REPLACED = (
    (rtcicetransport, "Connection", GatherConnection),
    (rtcpeerconnection, "RTCDtlsTransport", Transport),
    (rtcpeerconnection, "RTCRtpReceiver", Receiver),
    (rtcpeerconnection, "RTCRtpSender", Sender),
)
"""Module, the name it looks up, and the subclass it finds from then on."""

_installed = False


def install() -> None:
    """Idempotent; InternalError for another aiortc."""
    global _installed
    if _installed:
        return
    if not aiortc.__version__.startswith(AIORTC):
        raise InternalError(
            f"aiortc {aiortc.__version__} is not {AIORTC}x: its private parts were not checked"
        )
    for module, name, replacement in REPLACED:
        setattr(module, name, replacement)
    tables.install()
    _installed = True
