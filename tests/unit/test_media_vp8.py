"""What a frame says before it is decoded, and the opinion score."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.media.core import vp8
from sidecar.media.core.quality import opinion_score


def keyframe(width: int, height: int) -> bytes:
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return b"\x10\x02\x00\x9d\x01\x2a" + size + b"rest"


def test_a_keyframe_says_its_size() -> None:
    assert vp8.is_keyframe(keyframe(640, 360))
    assert vp8.dimensions(keyframe(640, 360)) == (640, 360)
    assert vp8.dimensions(keyframe(640 | 0x4000, 360 | 0x8000)) == (640, 360)


@pytest.mark.parametrize(
    "data", [b"", b"\x11" + keyframe(1, 1)[1:], keyframe(1, 1)[:9], b"\x10\x02\x00abc1234"]
)
def test_anything_else_does_not(data: bytes) -> None:
    assert not vp8.is_keyframe(data)
    assert vp8.dimensions(data) is None


@pytest.mark.parametrize(
    ("size", "good"),
    [
        ((1920, 1080), True),
        ((1920, 1200), True),
        ((8000, 8000), False),
        ((16383, 16383), False),
        ((0, 360), False),
    ],
)
def test_M09_a_picture_too_large_is_not_decoded(size: tuple[int, int], good: bool) -> None:
    assert vp8.decodable(keyframe(*size)) is good


@given(st.binary(max_size=40))
def test_any_bytes_are_looked_at_safely(data: bytes) -> None:
    assert vp8.decodable(data) is (data != b"") or vp8.dimensions(data) is not None


def test_the_opinion_score_falls_with_every_burden() -> None:
    best = opinion_score(0, 0, 0)
    assert 4.3 < best <= 4.5
    assert best > opinion_score(100, 0, 0) > opinion_score(800, 0, 0)
    assert best > opinion_score(0, 0, 0.05) > opinion_score(0, 0, 0.3) > 1
    assert opinion_score(10_000, 1000, 1.0) == 1.0
