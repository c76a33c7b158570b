"""Tones are found again, and nothing is found where there is none."""

from __future__ import annotations

import random
from array import array
from itertools import pairwise

import pytest

from sidecar.capture.tones import Tone, find_tone, level, share
from sidecar.frames import SILENCE, SOUND_BYTES


def samples(hz: int, sounds: int = 5) -> array[int]:
    tone, made = Tone(hz), array("h")
    for _ in range(sounds):
        made.frombytes(tone.sound())
    return made


@pytest.mark.parametrize("hz", [60, 220, 440, 523, 997, 1710, 3001, 4999])
def test_a_tone_is_found_to_a_hertz(hz: int) -> None:
    assert find_tone(samples(hz, 10)) == pytest.approx(hz, abs=1)


@pytest.mark.parametrize("hz", [20, 440, 997])
def test_a_tone_is_continuous_over_its_sounds(hz: int) -> None:
    made = samples(hz, 60)
    steps = [abs(b - a) for a, b in pairwise(made)]
    assert max(steps) <= 8000 * 2 * 3.1416 * hz / 48000 + 2


def test_a_tone_in_noise_is_found_and_noise_alone_is_not() -> None:
    source = random.Random(1)
    noise = array("h", [source.randint(-2000, 2000) for _ in range(4800)])
    mixed = array("h", [a + b for a, b in zip(samples(700), noise, strict=True)])
    assert share(mixed, 700) > 0.8
    assert find_tone(noise) is None


def test_silence_has_neither_level_nor_tone() -> None:
    quiet = array("h", SILENCE * 5)
    assert level(quiet) == 0.0
    assert share(quiet, 440) == 0.0
    assert find_tone(quiet) is None
    assert find_tone(array("h")) is None
    assert level(array("h")) == 0.0
    assert len(Tone(0).sound()) == SOUND_BYTES
    assert Tone(0).sound() == SILENCE


def test_two_tones_share_the_energy() -> None:
    both = array("h", [a + b for a, b in zip(samples(440), samples(1000), strict=True)])
    assert share(both, 440) == pytest.approx(0.5, abs=0.1)
    assert share(both, 1000) == pytest.approx(0.5, abs=0.1)
    assert share(both, 3000) < 0.05
