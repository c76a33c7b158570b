"""One connection of a call to one peer: negotiation, control channel, liveness, numbers.

Makes no decision about the call: it reports, core decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from sidecar import log
from sidecar.errors import RemoteError
from sidecar.media.border.peer import Certificate, Wire, make_wire
from sidecar.media.core import control
from sidecar.media.core.addresses import IpNetwork, loopback_allowed
from sidecar.media.core.liveness import LivenessMachine
from sidecar.media.core.quality import opinion_score
from sidecar.media.core.sdp import compact, sanitise
from sidecar.media.lines import AudioLine, VideoLine
from sidecar.media.messages import (
    Configure,
    ControlHeard,
    Event,
    Line,
    LocalDescription,
    OpenPeer,
    PeerConnected,
    PeerFailed,
    PeerLiveness,
    RemoteState,
)
from sidecar.media.sinks import AudioSink, Probe, VideoSink

CLOSE_TIMEOUT_S = 3.0
MAX_CONTROL_BACKLOG = 64 * 1024
"""Bytes waiting in the control channel beyond which nothing is added: the path is gone anyway."""

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every link of a process shares."""

    configure: Configure
    networks: Sequence[IpNetwork]
    emit: Emit


class ClosedError(Exception):
    """A step of a negotiation came after the end of its link."""


class Link:
    """Lives from ``OpenPeer`` to ``ClosePeer``; everything runs on the loop."""

    def __init__(
        self,
        opening: OpenPeer,
        lines: dict[Line, AudioLine | VideoLine],
        certificate: Certificate,
        around: Surroundings,
    ) -> None:
        self.peer = opening.peer
        self.connected = False
        self._log = log.get("media").bind(call_id=opening.peer.call_id, gen=opening.peer.gen)
        self._emit = around.emit
        self._lines = lines
        self._loopback = loopback_allowed(around.networks)
        self._lock = asyncio.Lock()
        self._over = False
        self._tracks = {line: lines[line].make_track() for line in lines}
        self._wire = make_wire(
            dict(self._tracks),
            certificate,
            around.networks,
            opening.ice_servers,
            relay_only=opening.relay_only,
        )
        self._liveness = LivenessMachine(
            suspect_s=around.configure.suspect_s,
            reconnecting_s=around.configure.reconnecting_s,
            lost_s=around.configure.lost_s,
        )
        self._state = control.State(audio=False, video=False, screen=False)
        self._ping = 0
        self._pinged_at = 0.0
        self._rtt_s: float | None = None
        self._path: tuple[str, str] | None = None
        """The last that ICE used: measurements are also taken when it has been closed by the peer."""
        self.audio = AudioSink(self._wire.receivers[Line.AUDIO].picture_lost)
        self.camera, self.screen = (self._video_sink(line) for line in (Line.CAMERA, Line.SCREEN))
        self._connect_parts(self._wire)

    def _video_sink(self, line: Line) -> VideoSink:
        def first() -> None:
            self._log.info("first picture decoded", line=line.value)

        return VideoSink(self._wire.receivers[line].picture_lost, first)

    @property
    def sinks(self) -> dict[Line, AudioSink | VideoSink]:
        """What arrives, by line."""
        return {Line.AUDIO: self.audio, Line.CAMERA: self.camera, Line.SCREEN: self.screen}

    async def offer(self) -> None:
        """Reports the offer as LocalDescription."""
        async with self._step() as connection:
            await connection.setLocalDescription(await connection.createOffer())
            self._describe("offer")

    async def answer(self, remote_sdp: str) -> None:
        """Takes the remote offer and reports the answer. RemoteError for a bad offer."""
        async with self._step() as connection:
            await self._apply(remote_sdp, "offer")
            await connection.setLocalDescription(await connection.createAnswer())
            self._describe("answer")

    async def apply_answer(self, remote_sdp: str) -> None:
        """Takes the remote answer. RemoteError for a bad one."""
        async with self._step():
            await self._apply(remote_sdp, "answer")

    async def close(self) -> None:
        """Ends the connection; nothing is reported any more."""
        self._over = True
        for line, track in self._tracks.items():
            self._lines[line].drop_track(track)
        for sink in self.sinks.values():
            sink.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S), self._lock:  # a socket being gathered would leak
                await self._wire.connection.close()
        except TimeoutError:
            self._log.warning("a connection did not close in time")

    def want_keyframes(self) -> None:
        """Somebody begins to watch: asks the peer for pictures that stand alone."""
        for line in (Line.CAMERA, Line.SCREEN):
            self._wire.receivers[line].picture_lost()

    def tell_state(self, state: control.State) -> None:
        """What we send now; repeated to the peer when it changed."""
        if state != self._state:
            self._state = state
            self._say(state)

    def tell_note(self, name: str, data: dict[str, Any]) -> None:
        """Carries a note of our core, if the connection is up."""
        self._say(control.Note(name=name, data=data))

    def tick(self, now: float) -> None:
        """Every 100 ms: pings, and the judgement of D5."""
        if not self.connected or self._over:
            return
        self._liveness.heard(self._wire.transport.heard_at)
        if now - self._pinged_at >= control.PING_INTERVAL_S:
            self._ping, self._pinged_at = self._ping + 1, now
            self._path = self._wire.ice.path or self._path
            self._say(control.Ping(n=self._ping))
        change = self._liveness.handle_tick(now)
        if change is not None:
            self._log.info("liveness of a path changed", liveness=change.value)
            self._emit(PeerLiveness(peer=self.peer, liveness=change))

    def stats(self, probe: Probe) -> dict[str, Any]:
        """ParticipantStats of the schema."""
        receivers, senders = self._wire.receivers, self._wire.senders
        counts = {line: receiver.received for line, receiver in receivers.items()}
        received, lost = sum(c[0] for c in counts.values()), sum(c[1] for c in counts.values())
        loss = max(0.0, lost / (received + lost)) if received + lost > 0 else 0.0
        jitter_ms = counts[Line.AUDIO][2] * 1000
        audio = {
            "sent": senders[Line.AUDIO].packets_sent,
            "received": counts[Line.AUDIO][0],
            "concealed": getattr(receivers[Line.AUDIO].buffer, "skipped", 0),
            **self.audio.stats(probe),
        }
        stats: dict[str, Any] = {
            "userId": self.peer.user_id,
            "loss": round(loss, 4),
            "jitterMs": round(jitter_ms, 1),
            "audio": audio,
        }
        for name, sink, line in (("video", self.camera, Line.CAMERA), ("screen", self.screen, Line.SCREEN)):
            pictures = sink.stats(probe, self._tracks[line].pushed)
            if pictures is not None:
                stats[name] = pictures
        if self._rtt_s is not None:
            stats["rttMs"] = round(self._rtt_s * 1000, 1)
            stats["mos"] = opinion_score(self._rtt_s * 1000, jitter_ms, loss)
        path = self._wire.ice.path or self._path
        if path is not None:
            stats["path"] = "relay" if "relay" in path else "host" if set(path) == {"host"} else "srflx"
            stats["protocol"] = "udp"
        return stats

    def _connect_parts(self, wire: Wire) -> None:
        for line, receiver in wire.receivers.items():
            receiver.on_frame(self.sinks[line].encoded)
        for line in (Line.CAMERA, Line.SCREEN):
            video = self._lines[line]
            assert isinstance(video, VideoLine)
            wire.senders[line].on_keyframe_wanted = video.request_keyframe
        wire.connection.on("connectionstatechange", self._connection_changed)
        wire.connection.on("datachannel", self._refuse_channel)
        wire.channel.on("open", self._opened)
        wire.channel.on("message", self._heard)

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[RTCPeerConnection]:
        """One step of the negotiation after the other; none any more once the link is closed."""
        async with self._lock:
            if self._over:
                raise ClosedError
            yield self._wire.connection

    async def _apply(self, sdp: str, kind: str) -> None:
        clean = sanitise(sdp, kind, loopback=self._loopback)
        if clean.dropped:
            self._log.info("remote candidates dropped", count=clean.dropped)
        try:
            await self._wire.connection.setRemoteDescription(RTCSessionDescription(clean.sdp, kind))
        except Exception as error:
            raise RemoteError("bad-sdp", f"not applicable: {error}") from error

    def _describe(self, kind: str) -> None:
        if not self._over:
            sdp = compact(self._wire.connection.localDescription.sdp)
            self._emit(LocalDescription(peer=self.peer, type=kind, sdp=sdp))

    def _connection_changed(self) -> None:
        state = self._wire.connection.connectionState
        if self._over or state not in ("failed", "closed"):
            return
        if self.connected:
            self._liveness.path_closed(monotonic())
        else:
            reason = "security" if self._wire.transport.identity_refused else "connect-failed"
            self._over = True
            self._emit(PeerFailed(peer=self.peer, reason=reason, detail=f"transport {state}"))

    def _refuse_channel(self, channel: RTCDataChannel) -> None:
        channel.close()

    def _opened(self) -> None:
        if self._over:
            return
        self.connected = True
        self._path = self._wire.ice.path
        self._liveness.start(monotonic())
        self._say(self._state)
        self._emit(PeerConnected(peer=self.peer))

    def _heard(self, text: str | bytes) -> None:
        if self._over:
            return
        try:
            message = control.decode(text)
        except RemoteError as error:
            self._log.info("control message dropped", reason=error.reason)
            return
        now = monotonic()
        self._liveness.heard(now)
        if isinstance(message, control.Ping):
            self._say(control.Pong(n=message.n))
        elif isinstance(message, control.Pong) and message.n == self._ping:
            self._rtt_s = now - self._pinged_at
        elif isinstance(message, control.State):
            self._emit(
                RemoteState(peer=self.peer, audio=message.audio, video=message.video, screen=message.screen)
            )
        elif isinstance(message, control.Note):
            self._emit(ControlHeard(peer=self.peer, name=message.name, data=message.data))

    def _say(self, message: control.AnyControl) -> None:
        channel = self._wire.channel
        if channel.readyState == "open" and channel.bufferedAmount < MAX_CONTROL_BACKLOG:
            channel.send(control.encode(message))
