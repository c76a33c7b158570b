"""Receives encoded frames and hands them to a callback; decoding is somebody else's business.

The library decodes into an unbounded asyncio queue (an unread 720p track grew 204 MB in 5 s) from a
non-daemon thread that it joins on the loop, and an RTCP BYE stops it for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiortc.codecs import is_rtx
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtp import AnyRtcpPacket, RtcpByePacket, RtpPacket

from sidecar.media.border.jitter import AudioBuffer, VideoBuffer

FrameHandler = Callable[[bytes, int], None]
"""Called on the loop with one encoded frame and its RTP timestamp, mapped to start at 0 and not to wrap."""


class _FrameGate:
    """Stands where the library keeps its decoder queue and its thread."""

    def __init__(self) -> None:
        self.handler: FrameHandler | None = None

    def put(self, item: tuple[RTCRtpCodecParameters, JitterFrame]) -> None:
        if self.handler is not None:
            self.handler(item[1].data, item[1].timestamp)


class Receiver(RTCRtpReceiver):
    """``on_frame`` is set before the connection starts."""

    def __init__(self, kind: str, transport: RTCDtlsTransport) -> None:
        super().__init__(kind, transport)
        self._gate = _FrameGate()
        self.buffer: VideoBuffer | AudioBuffer = VideoBuffer() if kind == "video" else AudioBuffer()
        self._set("jitter_buffer", self.buffer)
        self._set("remote_bitrate_estimator", None)
        self._set("decoder_queue", self._gate)

    def on_frame(self, handler: FrameHandler | None) -> None:
        """Who gets the encoded frames."""
        self._gate.handler = handler

    def picture_lost(self) -> None:
        """Any thread: with the next packet a keyframe is asked for (RFC 4585 section 6.3.1)."""
        self._get("decoder_error").set()

    @property
    def received(self) -> tuple[int, int, float]:
        """Packets received, packets lost, jitter in seconds; retransmissions are not counted."""
        streams = [s for ssrc, s in self._get("remote_streams").items() if ssrc not in self._get("rtx_ssrc")]
        if not streams:
            return 0, 0, 0.0
        jitter = max(stream.jitter / stream._clockrate for stream in streams)
        return sum(s.packets_received for s in streams), sum(s.packets_lost for s in streams), jitter

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """As the library's, without its decoder thread."""
        if self._get("started"):
            return
        self._get("codecs").update({codec.payloadType: codec for codec in parameters.codecs})
        for encoding in parameters.encodings:
            if encoding.rtx:
                self._get("rtx_ssrc")[encoding.rtx.ssrc] = encoding.ssrc
        self._set("decoder_thread", self._gate)
        self.transport._register_rtp_receiver(self, parameters)
        self._set("rtcp_task", asyncio.ensure_future(self._run_rtcp()))
        self._set("started", True)

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        await super()._handle_rtp_packet(packet, arrival_time_ms)
        codec = self._get("codecs").get(packet.payload_type)
        if codec is None or self._get("decoder_thread") is None:
            return
        if is_rtx(codec):
            codec = self._get("codecs")[codec.parameters["apt"]]
        while (frame := self.buffer.pop()) is not None:
            frame.timestamp = self._get("timestamp_mapper").map(frame.timestamp)
            self._gate.put((codec, frame))

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if not isinstance(packet, RtcpByePacket):
            await super()._handle_rtcp_packet(packet)

    def _RTCRtpReceiver__stop_decoder(self) -> None:
        self._gate.handler = None
        self._set("decoder_thread", None)

    def _get(self, name: str) -> Any:
        return getattr(self, f"_RTCRtpReceiver__{name}")

    def _set(self, name: str, value: Any) -> None:
        setattr(self, f"_RTCRtpReceiver__{name}", value)
