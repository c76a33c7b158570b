"""The RTP sender: pictures arrive encoded, so a keyframe request must reach whoever encodes."""

from __future__ import annotations

from collections.abc import Callable

from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpsender import RTCRtpSender


class Sender(RTCRtpSender):
    """``on_keyframe_wanted`` is called on the loop when the peer lost a picture (PLI or FIR)."""

    def __init__(self, trackOrKind: MediaStreamTrack | str, transport: RTCDtlsTransport) -> None:
        super().__init__(trackOrKind, transport)
        self.on_keyframe_wanted: Callable[[], None] | None = None

    @property
    def packets_sent(self) -> int:
        """RTP packets sent, retransmissions not counted."""
        count: int = self._RTCRtpSender__packet_count  # type: ignore[attr-defined]
        return count

    @property
    def rtt_s(self) -> float | None:
        """Round trip from receiver reports, smoothed."""
        rtt: float | None = self._RTCRtpSender__rtt  # type: ignore[attr-defined]
        return rtt

    def _send_keyframe(self) -> None:
        if self.on_keyframe_wanted is not None:
            self.on_keyframe_wanted()
