"""The test pattern survives a codec and scaling, and nothing else is mistaken for it."""

from __future__ import annotations

import random
from typing import Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.capture.patterns import (
    COUNTER_LIMIT,
    Black,
    Pattern,
    read_color,
    read_counter,
    same_color,
    to_rgb,
    to_yuv,
)
from sidecar.frames import Picture, black, picture_of
from sidecar.media.encoders import Vp8Encoder


def through_vp8(pattern: Pattern, counters: list[int], bitrate: int) -> list[av.VideoFrame]:
    encoder, decoder = Vp8Encoder(bitrate), av.CodecContext.create("libvpx", "r")
    frames: list[Any] = []
    for index, counter in enumerate(counters):
        packet = encoder.encode(pattern.draw(counter), index * 3000, keyframe=False)
        assert packet is not None
        frames += decoder.decode(packet)
    return frames


@pytest.mark.parametrize("size", [(640, 360), (320, 180), (1280, 720), (854, 480), (333, 187), (64, 64)])
def test_a_picture_carries_its_counter(size: tuple[int, int]) -> None:
    pattern = Pattern(*size)
    for counter in (0, 1, 2, 12345, COUNTER_LIMIT - 1):
        assert read_counter(pattern.draw(counter)) == counter


@pytest.mark.parametrize("size", [(640, 360), (1280, 720)])
@pytest.mark.parametrize("color", ["ff8800", "12c040", "0000ff"])
def test_counter_and_colour_survive_300_kbit_and_scaling_down(size: tuple[int, int], color: str) -> None:
    counters = [7 * n + 1000 for n in range(40)]
    frames = through_vp8(Pattern(*size, color=color), counters, 300_000)
    assert [read_counter(picture_of(frame)) for frame in frames] == counters
    assert all(same_color(read_color(picture_of(frame)) or "000000", color) for frame in frames)
    small = [frame.reformat(160, 90) for frame in frames]
    assert [read_counter(picture_of(frame)) for frame in small] == counters


def test_it_counts_and_moves() -> None:
    pattern = Pattern(320, 180)
    first, second = pattern.picture(0.0), pattern.picture(0.0)
    assert (read_counter(first), read_counter(second)) == (0, 1)
    middle = slice(320 * 60, 320 * 120)
    assert first.y[middle] != second.y[middle]


def test_black_carries_nothing() -> None:
    for picture in (Black().picture(0.0), black(640, 360), black(2, 2)):
        assert read_counter(picture) is None
        assert read_color(picture) is None


def test_noise_is_hardly_ever_taken_for_a_pattern() -> None:
    source = random.Random(4)
    taken = 0
    for _ in range(200):
        y, u, v = source.randbytes(64 * 36), source.randbytes(32 * 18), source.randbytes(32 * 18)
        taken += read_counter(Picture(64, 36, y, u, v, stride=64, chroma_stride=32)) is not None
    assert taken == 0


@settings(max_examples=50)
@given(st.integers(0, COUNTER_LIMIT - 1), st.integers(0, 29))
def test_one_wrong_cell_is_noticed_nearly_always(counter: int, cell: int) -> None:
    picture = Pattern(320, 180).draw(counter)
    band, column = divmod(cell + 2, 16)
    rows = bytearray(picture.y)
    for row in range(band * 20, band * 20 + 20):
        at = row * 320 + column * 20
        rows[at : at + 20] = bytes(251 - value for value in rows[at : at + 20])
    damaged = Picture(320, 180, rows, picture.u, picture.v, stride=320, chroma_stride=160)
    assert read_counter(damaged) != counter


@given(st.integers(0, 0xFFFFFF))
def test_colours_survive_the_colour_space(number: int) -> None:
    color = f"{number:06x}"
    assert same_color(to_rgb(*to_yuv(color)), color, 4)


def test_different_colours_are_told_apart() -> None:
    assert not same_color("ff8800", "ff4400")
    assert same_color("ff8800", "f58a0c")
