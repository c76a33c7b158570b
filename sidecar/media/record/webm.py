"""A WebM writer for encoded frames that are written the moment they come (RFC 8794, RFC 9559).

FFmpeg's muxer holds frames back until every VP8 track has one, so a screen that is not shared yet kept
whole recordings in memory, lost with the process. Here a block is in the file when ``write`` returns; sizes,
duration and index are filled in at the end, and a file without them plays all the same.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from sidecar.media.messages import Line

CLUSTER_MS = 5_000
"""A cluster ends here or with a picture that stands alone; block times are 16-bit offsets in it."""
OPUS_PRE_SKIP = 312
"""Samples a libopus decoder leaves out at the start (RFC 7845 section 4.2)."""

_UNKNOWN_SIZE = b"\x01\xff\xff\xff\xff\xff\xff\xff"
_SEEK_HEAD_ROOM = 96
_VOID = 0xEC
_KEYFRAME = 0x80
_KINDS = {Line.AUDIO: 2, Line.CAMERA: 1, Line.SCREEN: 1}


@dataclass(slots=True)
class _Track:
    number: int
    entry_at: int
    entry_size: int
    size_at: int
    used: bool = False
    size_known: bool = False


class WebmFile:
    """One file with the given lines as tracks; ``write`` in order of time per line. OSError: disk full."""

    def __init__(self, path: str, lines: tuple[Line, ...]) -> None:
        file = self._file = io.BufferedWriter(io.FileIO(path, "w"))
        self.duration_ms = 0
        self._cluster_at: int | None = None
        self._cluster_ms = 0
        self._cues: list[tuple[int, int, int]] = []
        self._tracks: dict[Line, _Track] = {}
        file.write(_header())
        self._segment_at = file.tell()
        file.write(_id(0x18538067) + _UNKNOWN_SIZE)
        self._body_at = file.tell()
        file.write(_void(_SEEK_HEAD_ROOM))
        self._info_at = file.tell()
        info, duration_offset = _info()
        file.write(info)
        self._duration_at = self._info_at + duration_offset
        self._tracks_at = file.tell()
        self._write_tracks(lines)

    def write(self, line: Line, at_ms: int, data: bytes, *, key: bool) -> None:
        """One frame; it is in the file when this returns."""
        track = self._tracks[line]
        track.used = True
        if self._needs_cluster(line, at_ms, key=key):
            self._begin_cluster(track, at_ms)
        block = bytes([0x80 | track.number]) + struct.pack(">h", at_ms - self._cluster_ms)
        self._file.write(_element(0xA3, block + bytes([_KEYFRAME if key else 0]) + data))
        self._file.flush()
        self.duration_ms = max(self.duration_ms, at_ms + 20)

    def set_size(self, line: Line, width: int, height: int) -> None:
        """The picture size of a video line, once it is known."""
        track = self._tracks[line]
        if not track.size_known:
            track.size_known = True
            self._patch(track.size_at, _picture_size(width, height))

    def close(self) -> None:
        """Fills in sizes, duration and index."""
        self._end_cluster()
        cues_at = self._file.tell()
        cues = b"".join(
            _element(0xBB, _uint(0xB3, at_ms) + _element(0xB7, _uint(0xF7, track) + _uint(0xF1, position)))
            for at_ms, track, position in self._cues
        )
        self._file.write(_element(0x1C53BB6B, cues))
        end = self._file.tell()
        seek = b"".join(
            _element(0x4DBB, _element(0x53AB, _id(identifier)) + _uint(0x53AC, at - self._body_at))
            for identifier, at in (
                (0x1549A966, self._info_at),
                (0x1654AE6B, self._tracks_at),
                (0x1C53BB6B, cues_at),
            )
        )
        head = _element(0x114D9B74, seek)
        self._patch(self._body_at, head + _void(_SEEK_HEAD_ROOM - len(head)))
        self._patch(self._duration_at, struct.pack(">d", float(self.duration_ms)))
        self._patch(self._segment_at + 4, _size8(end - self._body_at))
        for track in self._tracks.values():
            if not track.used:
                self._patch(track.entry_at, _void(track.entry_size))
        self._file.close()

    def _write_tracks(self, lines: tuple[Line, ...]) -> None:
        entries = []
        at = self._tracks_at + 4 + 8
        for number, line in enumerate(lines, 1):
            entry, size_offset = _entry(number, line)
            self._tracks[line] = _Track(number, at, len(entry), at + size_offset)
            entries.append(entry)
            at += len(entry)
        body = b"".join(entries)
        self._file.write(_id(0x1654AE6B) + _size8(len(body)) + body)

    def _needs_cluster(self, line: Line, at_ms: int, *, key: bool) -> bool:
        if self._cluster_at is None or not 0 <= at_ms - self._cluster_ms + 1000 < CLUSTER_MS + 1000:
            return True
        return key and line is not Line.AUDIO and at_ms > self._cluster_ms

    def _begin_cluster(self, track: _Track, at_ms: int) -> None:
        self._end_cluster()
        self._cluster_at = self._file.tell()
        self._cluster_ms = at_ms
        self._cues.append((at_ms, track.number, self._cluster_at - self._body_at))
        self._file.write(_id(0x1F43B675) + _UNKNOWN_SIZE + _uint(0xE7, at_ms))

    def _end_cluster(self) -> None:
        if self._cluster_at is not None:
            size = self._file.tell() - self._cluster_at - 12
            self._patch(self._cluster_at + 4, _size8(size))

    def _patch(self, at: int, data: bytes) -> None:
        end = self._file.tell()
        self._file.seek(at)
        self._file.write(data)
        self._file.seek(end)


def _header() -> bytes:
    body = _uint(0x4286, 1) + _uint(0x42F7, 1) + _uint(0x42F2, 4) + _uint(0x42F3, 8)
    return _element(0x1A45DFA3, body + _element(0x4282, b"webm") + _uint(0x4287, 4) + _uint(0x4285, 2))


def _info() -> tuple[bytes, int]:
    """The element and where in it the duration is."""
    name = b"aleph-sidecar"
    body = _uint(0x2AD7B1, 1_000_000) + _element(0x4D80, name) + _element(0x5741, name)
    element = _element(0x1549A966, body + _element(0x4489, struct.pack(">d", 0.0)))
    return element, len(element) - 8


def _entry(number: int, line: Line) -> tuple[bytes, int]:
    """A TrackEntry and where in it the picture size is."""
    body = _uint(0xD7, number) + _uint(0x73C5, number) + _uint(0x83, _KINDS[line]) + _uint(0x9C, 0)
    body += _uint(0x88, 0 if line is Line.SCREEN else 1) + _element(0x536E, line.value.encode())
    if line is Line.AUDIO:
        body += _element(0x86, b"A_OPUS") + _uint(0x56AA, OPUS_PRE_SKIP * 1_000_000_000 // 48_000)
        body += _uint(0x56BB, 80_000_000) + _element(0x63A2, _opus_head())
        body += _element(0xE1, _element(0xB5, struct.pack(">d", 48_000.0)) + _uint(0x9F, 1))
    else:
        body += _element(0x86, b"V_VP8") + _element(0xE0, _picture_size(16, 16))
    element = _element(0xAE, body)
    return element, len(element) - len(_picture_size(16, 16))


def _picture_size(width: int, height: int) -> bytes:
    """PixelWidth and PixelHeight, always eight bytes."""
    return struct.pack(">BBHBBH", 0xB0, 0x82, width, 0xBA, 0x82, height)


def _opus_head() -> bytes:
    """RFC 7845 section 5.1: version 1, mono, pre-skip, input rate, no gain, mapping family 0."""
    return b"OpusHead" + struct.pack("<BBHIhB", 1, 1, OPUS_PRE_SKIP, 48_000, 0, 0)


def _element(identifier: int, body: bytes) -> bytes:
    length = len(body)
    if length < 0x7F:
        size = bytes([0x80 | length])
    elif length < 0x3FFF:
        size = struct.pack(">H", 0x4000 | length)
    else:
        size = struct.pack(">I", 0x10000000 | length)
    return _id(identifier) + size + body


def _uint(identifier: int, value: int) -> bytes:
    return _element(identifier, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def _void(total: int) -> bytes:
    """A Void element of exactly ``total`` bytes, nine or more."""
    return bytes([_VOID]) + _size8(total - 9) + bytes(total - 9)


def _id(identifier: int) -> bytes:
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")


def _size8(length: int) -> bytes:
    return struct.pack(">Q", 0x01 << 56 | length)
