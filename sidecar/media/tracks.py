"""The permanent track of one line towards one peer: hands out what the line encoded, never ends.

A sender whose track ended is dead for good (media.md section 2), so a source, a mute and a share change
what the *line* makes, never the track.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from aiortc.mediastreams import MediaStreamTrack

from sidecar.media.encoders import Packet

AUDIO_QUEUE = 5
"""100 ms; a sender that is further behind loses the oldest."""
VIDEO_QUEUE = 8
"""A quarter second at 30 fps; beyond it all fall and a keyframe is asked for."""


class PacketTrack(MediaStreamTrack):
    """``push`` from the line, ``recv`` by the sender. ``on_wanted`` is called when the sender first asks."""

    def __init__(self, kind: str, on_wanted: Callable[[PacketTrack], None]) -> None:
        super().__init__()
        self.kind = kind
        self.needs_keyframe = kind == "video"
        self._on_wanted: Callable[[PacketTrack], None] | None = on_wanted
        self._queue: deque[Packet] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.pushed = 0

    def push(self, packet: Packet) -> None:
        """Queues a packet; drops what cannot be used or kept."""
        if self.needs_keyframe:
            if not packet.is_keyframe:
                return
            self.needs_keyframe = False
        if self.kind == "video" and len(self._queue) >= VIDEO_QUEUE:
            self._queue.clear()
            self.needs_keyframe = True
            return
        if self.kind == "audio" and len(self._queue) >= AUDIO_QUEUE:
            self._queue.popleft()
        self._queue.append(packet)
        self.pushed += 1
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def recv(self) -> Packet:
        """The next packet, whenever there is one."""
        if self._on_wanted is not None:
            wanted, self._on_wanted = self._on_wanted, None
            wanted(self)
        while not self._queue:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._queue.popleft()
