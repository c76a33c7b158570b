"""One end of a bare aiortc call, driven by JSON lines on stdin: what the ``setup`` bench compares us with.

``{"do": "offer"}``, ``{"do": "answer", "sdp"}``, ``{"do": "apply", "sdp"}``, ``{"do": "close"}``; answers are
``{"sdp"}``, and ``{"frame": true}`` when the first remote picture is decoded. Loopback candidates only.
"""

from __future__ import annotations

import asyncio
import fractions
import json
import sys
from typing import Any

import aioice.ice
import av
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)

aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class Camera(VideoStreamTrack):
    """The size our sidecars send, grey: drawing is not what is measured."""

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame(640, 360, "yuv420p")
        frame.pts, frame.time_base = pts, fractions.Fraction(time_base)
        return frame


class Peer:
    """One connection after another."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection()
        self.waiting: asyncio.Task[None] | None = None

    def open(self) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.on("track", self.on_track)
        self.pc.addTrack(AudioStreamTrack())
        self.pc.addTrack(Camera())

    def on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video":
            self.waiting = asyncio.ensure_future(self.first_frame(track))

    async def first_frame(self, track: MediaStreamTrack) -> None:
        await track.recv()
        say({"frame": True})

    async def do(self, command: dict[str, Any]) -> None:
        match command["do"]:
            case "offer":
                self.open()
                await self.pc.setLocalDescription(await self.pc.createOffer())
                say({"sdp": self.pc.localDescription.sdp})
            case "answer":
                self.open()
                await self.pc.setRemoteDescription(RTCSessionDescription(command["sdp"], "offer"))
                await self.pc.setLocalDescription(await self.pc.createAnswer())
                say({"sdp": self.pc.localDescription.sdp})
            case "apply":
                await self.pc.setRemoteDescription(RTCSessionDescription(command["sdp"], "answer"))
            case "close":
                await self.pc.close()
                say({"closed": True})


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def main() -> None:
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    peer = Peer()
    say({"ready": True})
    while line := await reader.readline():
        await peer.do(json.loads(line))


if __name__ == "__main__":
    asyncio.run(main())
