"""What we rely on in aiortc 1.16 and aioice 0.13, private parts included, and our changes to them.

A library update that moves any of it fails here, by name.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import re
import subprocess
import sys
from typing import Any

import aiortc
import pytest
from aioice import ice
from aiortc import RTCPeerConnection, codecs, rtcicetransport, rtcpeerconnection
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtp import RtpPacket

from sidecar.errors import InternalError
from sidecar.media.border import gather, install
from sidecar.media.border.install import REPLACED
from sidecar.media.border.jitter import AUDIO_HOLD_PACKETS, AudioBuffer, VideoBuffer
from sidecar.media.border.peer import LINES, Certificate, Wire, make_wire
from sidecar.media.core.addresses import parse_networks
from sidecar.media.core.sdp import sanitise
from sidecar.media.messages import Line
from sidecar.media.tracks import PacketTrack

LOOPBACK = parse_networks(["127.0.0.0/8"])


def wire() -> Wire:
    tracks: dict[Line, Any] = {
        line: PacketTrack("audio" if line is Line.AUDIO else "video", lambda track: None) for line in LINES
    }
    return make_wire(tracks, Certificate.generateCertificate(), LOOPBACK)


def packet(sequence: int, timestamp: int = 0, *, marker: int = 0, data: bytes = b"x") -> RtpPacket:
    made: Any = RtpPacket(sequence_number=sequence % 65536, timestamp=timestamp, marker=marker)
    made._data = data
    return made


async def test_the_private_parts_we_touch_are_where_they_were() -> None:
    made = wire()
    connection, receiver, sender = made.connection, made.receivers[Line.CAMERA], made.senders[Line.CAMERA]
    for owner, names in (
        (connection, ["_RTCPeerConnection__certificates"]),
        (
            receiver,
            [
                f"_RTCRtpReceiver__{name}"
                for name in (
                    "codecs", "decoder_error", "decoder_queue", "decoder_thread", "jitter_buffer",
                    "remote_bitrate_estimator", "remote_streams", "rtcp_task", "rtx_ssrc", "started",
                    "stop_decoder", "timestamp_mapper",
                )
            ],
        ),
        (sender, ["_RTCRtpSender__packet_count", "_RTCRtpSender__rtt"]),
        (made.transport, ["_rtp_router", "_state", "transport"]),
        (made.ice, ["_nominated", "_queue", "_transport_policy"]),
    ):  # fmt: skip
        for name in names:
            assert hasattr(owner, name), name
    await connection.close()


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (RTCRtpReceiver._handle_rtp_packet, "if encoded_frame is not None and self.__decoder_thread:"),
        (RTCRtpReceiver._handle_rtp_packet, "self.__decoder_queue.put((codec, encoded_frame))"),
        (RTCRtpReceiver._handle_rtp_packet, "if self.__remote_bitrate_estimator is not None:"),
        (RTCRtpReceiver.stop, "self.__stop_decoder()"),
        (RTCRtpReceiver._handle_disconnect, "self.__stop_decoder()"),
        (RTCRtpSender._next_encoded_frame, "payloads, timestamp = self.__encoder.pack(data)"),
        (RTCPeerConnection.close, "await transceiver.stop()"),
        (JitterBuffer.add, "self._remove_frame(packet.sequence_number)"),
        (gather.Connection.connect, "if not self._check_periodic():"),
        (gather.Connection.check_start_task, "pair.task = asyncio.create_task"),
        (gather.Connection.gather_candidates, "self.get_component_candidates(component=component"),
    ],
)
def test_the_code_we_hook_into_reads_as_it_did(function: Any, text: str) -> None:
    assert text in inspect.getsource(function)


def test_replacements_are_found_by_the_library() -> None:
    install.install()
    for module, name, replacement in REPLACED:
        assert getattr(module, name) is replacement
    assert rtcpeerconnection.CODECS is codecs.CODECS
    assert rtcicetransport.Connection is gather.GatherConnection


def test_nothing_of_mdns_is_needed_and_dnspython_stays_out() -> None:
    program = (
        "import sys; from sidecar.app.processes.media import make_engine; make_engine(print);"
        "print([name for name in ('dns', 'numpy', 'mss', 'pulsectl') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    used = set(re.findall(r"\bmdns\.(\w+)", inspect.getsource(gather.Connection) + inspect.getsource(ice)))
    assert used == {"MDnsProtocol", "create_mdns_protocol", "is_mdns_hostname"}


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_installed", False)
    monkeypatch.setattr(aiortc, "__version__", "1.17.0")
    with pytest.raises(InternalError):
        install.install()


async def test_an_offer_has_the_fixed_layout_and_chromiums_numbers() -> None:
    made = wire()
    await made.connection.setLocalDescription(await made.connection.createOffer())
    sdp = made.connection.localDescription.sdp
    assert sanitise(sdp, "offer", loopback=True).candidates == 1
    assert [line.split()[0] for line in sdp.split("\r\n") if line.startswith("m=")] == [
        "m=audio", "m=video", "m=video", "m=application",
    ]  # fmt: skip
    for text in (
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:96 VP8/90000",
        "a=extmap:4 urn:ietf",
        "a=fmtp:97 apt=96",
    ):
        assert text in sdp
    assert "goog-remb" not in sdp
    assert sdp.count("a=fingerprint:sha-256") == sdp.count("a=fingerprint:") == 4
    assert all(" 127.0.0.1 " in line for line in sdp.split("\r\n") if line.startswith("a=candidate"))
    await made.connection.close()


async def test_gathering_is_per_connection() -> None:
    first, second = wire(), wire()
    second.ice.networks = parse_networks(["198.51.100.0/24"])
    for made in (first, second):
        await made.connection.setLocalDescription(await made.connection.createOffer())
    assert [candidate.host for candidate in first.ice.local_candidates] == ["127.0.0.1"]
    assert second.ice.local_candidates == []
    await asyncio.gather(first.connection.close(), second.connection.close())


async def test_a_flood_of_datagrams_is_bounded() -> None:
    made = wire()
    for _ in range(gather.MAX_QUEUED_DATAGRAMS + 100):
        made.ice.data_received(b"x", 1)
    assert made.ice._queue.qsize() == gather.MAX_QUEUED_DATAGRAMS
    await made.connection.close()


async def test_M08_a_packet_handler_that_fails_does_not_end_the_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = wire()

    async def fail(*args: object, **named: object) -> None:
        raise IndexError

    monkeypatch.setattr("aiortc.rtcdtlstransport.RTCDtlsTransport._handle_rtp_data", fail)
    await made.transport._handle_rtp_data(b"x", 0)
    assert made.transport.malformed == 1
    await made.transport._handle_rtcp_data(b"\x80")
    await made.connection.close()


def test_a_picture_is_released_with_its_marker_not_with_the_next_one() -> None:
    buffer = VideoBuffer()
    assert buffer.add(packet(10, 1, data=b"a")) == (False, None)
    _, frame = buffer.add(packet(11, 1, marker=1, data=b"b"))
    assert frame is not None
    assert (frame.data, frame.timestamp) == (b"ab", 1)
    assert buffer.pop() is None


def test_a_late_packet_completes_several_pictures() -> None:
    buffer = VideoBuffer()
    buffer.add(packet(10, 1, marker=1))
    assert buffer.add(packet(12, 2, marker=1, data=b"2"))[1] is None
    assert buffer.add(packet(13, 3, marker=1, data=b"3"))[1] is None
    _, frame = buffer.add(packet(11, 2, data=b"1"))
    assert frame is not None
    assert frame.data == b"12"
    later = buffer.pop()
    assert later is not None
    assert later.data == b"3"
    assert buffer.pop() is None


def test_a_picture_without_marker_ends_with_the_next() -> None:
    buffer = VideoBuffer()
    buffer.add(packet(1, 1, data=b"a"))
    _, frame = buffer.add(packet(2, 2, data=b"b"))
    assert frame is not None
    assert frame.data == b"a"


def drain(buffer: AudioBuffer, first: Any) -> list[bytes]:
    frames = [first[1]] if first[1] is not None else []
    while (frame := buffer.pop()) is not None:
        frames.append(frame)
    return [frame.data for frame in frames]


def test_sound_in_order_goes_straight_through() -> None:
    buffer = AudioBuffer()
    for n in range(65530, 65545):
        assert drain(buffer, buffer.add(packet(n, data=b"%d" % n))) == [b"%d" % n]
    assert buffer.skipped == 0


def test_a_hole_in_the_sound_delays_it_shortly_and_once() -> None:
    buffer = AudioBuffer()
    drain(buffer, buffer.add(packet(0)))
    released = [drain(buffer, buffer.add(packet(n, data=b"%d" % n))) for n in range(2, 8)]
    assert [len(group) for group in released] == [0] * AUDIO_HOLD_PACKETS + [AUDIO_HOLD_PACKETS + 1, 1, 1]
    assert buffer.skipped == 1


def test_sound_out_of_order_is_put_in_order_and_late_sound_dropped() -> None:
    buffer = AudioBuffer()
    drain(buffer, buffer.add(packet(0)))
    assert drain(buffer, buffer.add(packet(2, data=b"2"))) == []
    assert drain(buffer, buffer.add(packet(1, data=b"1"))) == [b"1", b"2"]
    assert drain(buffer, buffer.add(packet(1, data=b"1"))) == []


def test_sound_from_far_away_restarts() -> None:
    buffer = AudioBuffer()
    drain(buffer, buffer.add(packet(0)))
    assert drain(buffer, buffer.add(packet(30_000, data=b"x"))) == [b"x"]
    assert drain(buffer, buffer.add(packet(29_000, data=b"y"))) == [b"y"]


def test_any_order_of_sound_holds_a_few_packets_at_most() -> None:
    source = random.Random(7)
    buffer = AudioBuffer()
    for _ in range(5000):
        buffer.add(packet(source.randrange(65536)))
        assert len(buffer._held) <= AUDIO_HOLD_PACKETS + 1
