"""Two packet buffers. The library's video buffer releases a frame only when the next one begins (33 ms at
30 fps, 200 ms for a 5 fps screen); its audio buffer fills up after the first loss and stays 200 ms late.
"""

from __future__ import annotations

from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

AUDIO_HOLD_PACKETS = 3
"""Packets held while waiting for a missing one: 60 ms, then the hole is skipped (there is no audio NACK)."""
AUDIO_MAX_JUMP = 100
"""A sequence number further away than this restarts the buffer: the sender began anew."""

_WRAP = 1 << 16
_HALF = 1 << 15


class VideoBuffer(JitterBuffer):
    """Releases a frame as soon as its packets up to the one with the marker bit are there."""

    def __init__(self) -> None:
        super().__init__(capacity=512, is_video=True)

    def pop(self) -> JitterFrame | None:
        """The next complete frame, if a late packet completed more than one."""
        return None if self._origin is None else self._remove_frame(0)

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        parts: list[bytes] = []
        timestamp: int | None = None
        assert self._origin is not None
        for count in range(self._capacity):
            packet = self._packets[(self._origin + count) % self._capacity]
            if packet is None:
                return None
            if timestamp is None:
                timestamp = packet.timestamp
            elif packet.timestamp != timestamp:
                return self._release(count, parts, timestamp)
            parts.append(packet._data)  # type: ignore[attr-defined]
            if packet.marker:
                return self._release(count + 1, parts, timestamp)
        return None

    def _release(self, count: int, parts: list[bytes], timestamp: int) -> JitterFrame:
        self.remove(count)
        return JitterFrame(b"".join(parts), timestamp)


class AudioBuffer:
    """Puts packets in order; a hole delays the sound by AUDIO_HOLD_PACKETS at most and is then skipped."""

    def __init__(self) -> None:
        self.skipped = 0
        self._next: int | None = None
        self._held: dict[int, RtpPacket] = {}

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Takes a packet; the library's shape: (picture lost: never, first frame that is ready)."""
        sequence = packet.sequence_number
        if self._next is None:
            self._next = sequence
        ahead = (sequence - self._next) % _WRAP
        if min(ahead, _WRAP - ahead) > AUDIO_MAX_JUMP:
            self._held.clear()
            self._next = sequence
        elif ahead >= _HALF:
            return False, None
        self._held[sequence] = packet
        if len(self._held) > AUDIO_HOLD_PACKETS:
            self._skip_hole()
        return False, self.pop()

    def pop(self) -> JitterFrame | None:
        """The next frame in order."""
        if self._next is None:
            return None
        packet = self._held.pop(self._next, None)
        if packet is None:
            return None
        self._next = (self._next + 1) % _WRAP
        return JitterFrame(packet._data, packet.timestamp)  # type: ignore[attr-defined]

    def _skip_hole(self) -> None:
        assert self._next is not None
        while self._next not in self._held:
            self._next = (self._next + 1) % _WRAP
            self.skipped += 1
