"""Test tones and how to find them again: Goertzel on PCM, in plain Python, cheap enough to run on demand."""

from __future__ import annotations

import math
from array import array

from sidecar.frames import SAMPLE_RATE, SOUND_BYTES, SOUND_SAMPLES

AMPLITUDE = 8000
"""-12 dBFS: loud enough to stand out, far from clipping."""
MIN_SHARE = 0.5
"""Share of the energy that the strongest frequency must hold to be called a tone."""
MIN_LEVEL = 0.003
"""-50 dBFS; below it there is nothing to find."""


class Tone:
    """A sine of ``hz`` (whole hertz), continuous over sounds; 0 is silence."""

    def __init__(self, hz: int) -> None:
        period = SAMPLE_RATE // math.gcd(SAMPLE_RATE, hz)
        step = 2 * math.pi * hz / SAMPLE_RATE
        once = array("h", (int(AMPLITUDE * math.sin(i * step)) for i in range(period))).tobytes()
        self._table = once * (SOUND_BYTES // len(once) + 2)
        self._period = len(once)
        self._at = 0

    def sound(self) -> bytes:
        """The next 20 ms."""
        piece = self._table[self._at : self._at + SOUND_BYTES]
        self._at = (self._at + SOUND_BYTES) % self._period
        return piece

    def close(self) -> None:
        """Nothing to free."""


def level(samples: array[int]) -> float:
    """Root mean square of s16 samples, 0 to 1."""
    if not samples:
        return 0.0
    return math.sqrt(sum(s * s for s in samples) / len(samples)) / 32768


def share(samples: array[int], hz: float, rate: float = SAMPLE_RATE) -> float:
    """How much of the energy sits at ``hz`` (Goertzel), 0 to 1."""
    total = sum(s * s for s in samples)
    if total == 0:
        return 0.0
    factor = 2 * math.cos(2 * math.pi * hz / rate)
    before, last = 0.0, 0.0
    for sample in samples:
        before, last = last, sample + factor * last - before
    power = before * before + last * last - factor * before * last
    return min(1.0, 2 * power / (total * len(samples)))


def find_tone(samples: array[int]) -> float | None:
    """The frequency of a pure tone in 48 kHz mono samples to about 1 Hz, None when nothing stands out.

    Zero crossings give a guess, Goertzel at and beside it the answer. A tenth of a second, thinned to
    12 kHz (tones up to 5 kHz), costs about a millisecond: ask for it, do not run it for every sound.
    """
    if len(samples) < SOUND_SAMPLES or level(samples) < MIN_LEVEL:
        return None
    thinning = max(1, min(4, len(samples) // 1000))
    thin, rate = samples[::thinning], SAMPLE_RATE / thinning
    guess = _crossing_rate(thin, rate)
    if guess is None:
        return None
    width = rate / len(thin) / 2
    low, middle, high = (share(thin, guess + offset, rate) for offset in (-width, 0.0, width))
    if max(low, middle, high) < MIN_SHARE:
        return None
    curve = low - 2 * middle + high
    shift = width * (low - high) / (2 * curve) if curve < 0 else 0.0
    return round(guess + max(-width, min(width, shift)), 1)


def _crossing_rate(samples: array[int], rate: float) -> float | None:
    """Frequency from the first to the last upward zero crossing, each interpolated."""
    crossings = [
        i - samples[i] / (samples[i] - samples[i - 1])
        for i in range(1, len(samples))
        if samples[i - 1] < 0 <= samples[i]
    ]
    if len(crossings) < 2:
        return None
    return (len(crossings) - 1) * rate / (crossings[-1] - crossings[0])
