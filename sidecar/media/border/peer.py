"""A peer connection with the fixed layout of D4, and the few private members one needs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from aiortc import (
    RTCBundlePolicy,
    RTCCertificate,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
)
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from aiortc.rtcdtlstransport import RTCDtlsFingerprint

from sidecar.media.border.gather import GatherConnection, local_addresses
from sidecar.media.border.install import install
from sidecar.media.border.receiver import Receiver
from sidecar.media.border.sender import Sender
from sidecar.media.border.transport import Transport
from sidecar.media.core import control
from sidecar.media.core.addresses import IpNetwork
from sidecar.media.messages import IceServer, Line

LINES = (Line.AUDIO, Line.CAMERA, Line.SCREEN)
"""Order of the media sections."""


class Certificate(RTCCertificate):
    """One per (call, peer) across generations; says its SHA-256 only, which is all that is ever checked."""

    def getFingerprints(self) -> list[RTCDtlsFingerprint]:
        return [f for f in super().getFingerprints() if f.algorithm == "sha-256"]


@dataclass(frozen=True, slots=True)
class Wire:
    """A connection and its parts by line."""

    connection: RTCPeerConnection
    senders: dict[Line, Sender]
    receivers: dict[Line, Receiver]
    channel: RTCDataChannel
    transport: Transport
    ice: GatherConnection


def make_wire(
    tracks: dict[Line, MediaStreamTrack],
    certificate: Certificate,
    networks: Sequence[IpNetwork],
    servers: Sequence[IceServer] = (),
    *,
    relay_only: bool = False,
) -> Wire:
    """A connection that has nothing negotiated yet, ready to offer or to answer."""
    install()
    connection = RTCPeerConnection(
        RTCConfiguration(
            iceServers=[RTCIceServer(s.urls, s.username, s.credential) for s in servers],
            iceTransportPolicy=RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL,
            bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
        )
    )
    _private(connection, "certificates")[:] = [certificate]
    transceivers = {line: connection.addTransceiver(tracks[line]) for line in LINES}
    channel = connection.createDataChannel(control.LABEL, negotiated=True, id=control.CHANNEL_ID)
    transport = cast(Transport, transceivers[Line.AUDIO].receiver.transport)
    ice = cast(GatherConnection, transport.transport._connection)
    ice.networks = networks
    return Wire(
        connection=connection,
        senders={line: cast(Sender, t.sender) for line, t in transceivers.items()},
        receivers={line: cast(Receiver, t.receiver) for line, t in transceivers.items()},
        channel=channel,
        transport=transport,
        ice=ice,
    )


async def warm_up() -> None:
    """Builds one connection for nobody: what the libraries load or look up once is not the first call's."""
    local_addresses()
    tracks: dict[Line, MediaStreamTrack] = {
        line: AudioStreamTrack() if line is Line.AUDIO else VideoStreamTrack() for line in LINES
    }
    wire = make_wire(tracks, Certificate.generateCertificate(), ())
    await wire.connection.createOffer()
    await wire.connection.close()


def _private(connection: RTCPeerConnection, name: str) -> Any:
    return getattr(connection, f"_RTCPeerConnection__{name}")
