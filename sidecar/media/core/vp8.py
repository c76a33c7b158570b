"""What a VP8 frame says about itself before it is decoded (RFC 6386 section 9.1)."""

from __future__ import annotations

MAX_PIXELS = 1920 * 1200
"""Largest picture that is decoded: a peer must not make us allocate for 16383 x 16383."""

_START_CODE = b"\x9d\x01\x2a"


def is_keyframe(data: bytes) -> bool:
    """Whether the frame can be decoded without any other."""
    return len(data) >= 10 and not data[0] & 1 and data[3:6] == _START_CODE


def dimensions(data: bytes) -> tuple[int, int] | None:
    """Width and height of a keyframe, None for any other frame."""
    if not is_keyframe(data):
        return None
    width = int.from_bytes(data[6:8], "little") & 0x3FFF
    height = int.from_bytes(data[8:10], "little") & 0x3FFF
    return width, height


def decodable(data: bytes) -> bool:
    """Whether the frame may be given to a decoder: within MAX_PIXELS, and not empty."""
    size = dimensions(data)
    return bool(data) and (size is None or 0 < size[0] * size[1] <= MAX_PIXELS)
