"""Codec and header-extension tables equal to Chromium's defaults, only what D4's layout uses.

createOffer() writes the library's own numbers over negotiated ones, and Chromium then refuses the
re-offer ("RTP extension ID reassignment not supported"); with equal tables there is nothing to reassign.
Congestion feedback (goog-remb) is left out: it pulled a 720p camera to 300 kbit/s and cost a rebuilt
encoder and a keyframe for each change (10 in 15 s).
"""

from __future__ import annotations

from aiortc import codecs
from aiortc.rtcrtpparameters import (
    RTCRtcpFeedback,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
)

from sidecar.media.core.sdp import EXTENSIONS

OPUS_PAYLOAD_TYPE = 111
VP8_PAYLOAD_TYPE = 96
RTX_PAYLOAD_TYPE = 97

_EXTENSIONS_OF = {"audio": ("ssrc-audio-level", "mid"), "video": ("abs-send-time", "mid")}


def install() -> None:
    """Replaces the contents of the library's tables (the dictionaries are shared by reference)."""
    codecs.CODECS["audio"] = [
        RTCRtpCodecParameters(
            mimeType="audio/opus", clockRate=48000, channels=2, payloadType=OPUS_PAYLOAD_TYPE
        )
    ]
    codecs.CODECS["video"] = [
        RTCRtpCodecParameters(
            mimeType="video/VP8",
            clockRate=90000,
            payloadType=VP8_PAYLOAD_TYPE,
            rtcpFeedback=[RTCRtcpFeedback(type="nack"), RTCRtcpFeedback(type="nack", parameter="pli")],
        ),
        RTCRtpCodecParameters(
            mimeType="video/rtx",
            clockRate=90000,
            payloadType=RTX_PAYLOAD_TYPE,
            parameters={"apt": VP8_PAYLOAD_TYPE},
        ),
    ]
    for kind, names in _EXTENSIONS_OF.items():
        codecs.HEADER_EXTENSIONS[kind] = [
            RTCRtpHeaderExtensionParameters(id=number, uri=uri)
            for uri, number in EXTENSIONS.items()
            if uri.endswith(names)
        ]
