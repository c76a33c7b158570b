"""The DTLS transport: what was heard and when, why an identity was refused, and no death by bad RTP.

aioice notices a dead peer after 32 s, so liveness counts authenticated packets itself; one exception in a
packet handler ends aiortc's receive loop, so handlers are guarded here.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from time import monotonic

from aiortc.rtcdtlstransport import RTCDtlsParameters, RTCDtlsTransport, State

logger = logging.getLogger(__name__)


class Transport(RTCDtlsTransport):
    """``heard_at`` is the monotonic time of the last RTP or RTCP packet that passed SRTP, 0 before any."""

    heard_at = 0.0
    identity_refused = False
    """The certificate did not match the fingerprint of the signed description (FAULTS M03, P01)."""
    malformed = 0

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self.heard_at = monotonic()
        await self._guarded(super()._handle_rtp_data(data, arrival_time_ms))

    async def _handle_rtcp_data(self, data: bytes) -> None:
        self.heard_at = monotonic()
        await self._guarded(super()._handle_rtcp_data(data))

    async def _guarded(self, handling: Awaitable[None]) -> None:
        try:
            await handling
        except ConnectionError:
            raise
        except Exception:
            self.malformed += 1
            logger.debug("packet handler failed", exc_info=True)

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:
        self.identity_refused = True  # before the state changes, which is when somebody looks
        super()._validate_peer_identity(remoteParameters)
        self.identity_refused = self._state == State.FAILED
