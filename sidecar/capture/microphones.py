"""Microphones of a PulseAudio (or pipewire-pulse) server, through miniaudio: 3 % of a core, 25-41 ms.

PyAV's wheel has no pulse input and its ALSA is broken as shipped, so it is not used for devices. What the
device delivers goes into a short ring; a server that dies goes silent without a word, so silence ends it.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Generator
from time import monotonic
from typing import Any

from sidecar.errors import Code, UnavailableError
from sidecar.frames import SAMPLE_RATE, SILENCE, SOUND_BYTES, SourceEndedError

RING_SOUNDS = 5
"""100 ms; a call that reads slower loses the oldest, a delay that grew would never shrink."""
FIRST_SOUND_S = 5.0
"""A suspended device takes up to two seconds to wake."""
GONE_S = 2.0
"""Without data for so long the device or its server is gone."""
_BUFFER_MS = 20


class Microphone:
    """An open capture stream; ``name`` is Pulse's (``pulse:<name>`` without the kind)."""

    def __init__(self, name: str) -> None:
        self._ring: deque[bytes] = deque(maxlen=RING_SOUNDS)
        self._rest = b""
        self._last = monotonic() + FIRST_SOUND_S - GONE_S
        self._device: Any = _open(name)
        receive = self._receive()
        next(receive)
        self._device.start(receive)

    def sound(self) -> bytes:
        """The next 20 ms, silence when the device is late."""
        if monotonic() - self._last > GONE_S:
            raise SourceEndedError
        try:
            return self._ring.popleft()
        except IndexError:
            return SILENCE

    def close(self) -> None:
        """Closes the stream."""
        device, self._device = self._device, None
        if device is not None:
            device.close()

    def _receive(self) -> Generator[None, bytes, None]:
        """Runs on miniaudio's thread, once for each buffer."""
        while True:
            data = yield
            self._last = monotonic()
            self._rest += bytes(data)
            while len(self._rest) >= SOUND_BYTES:
                self._ring.append(self._rest[:SOUND_BYTES])
                self._rest = self._rest[SOUND_BYTES:]


def _open(name: str) -> Any:
    missing = UnavailableError("no such microphone", code=Code.MEDIA_NO_DEVICE)
    label = _label(name)
    if label is None:
        raise missing
    import miniaudio

    backends = [miniaudio.Backend.PULSEAUDIO]
    try:
        found = [d["id"] for d in miniaudio.Devices(backends).get_captures() if d["name"] == label]
        if not found:
            raise missing
        return miniaudio.CaptureDevice(
            miniaudio.SampleFormat.SIGNED16,
            nchannels=1,
            sample_rate=SAMPLE_RATE,
            buffersize_msec=_BUFFER_MS,
            device_id=found[0],
            backends=backends,
            app_name="aleph-sidecar",
        )
    except miniaudio.MiniaudioError:
        raise missing from None


def _label(name: str) -> str | None:
    """miniaudio knows devices by what Pulse calls their description only."""
    if sys.platform != "linux":
        return None
    import pulsectl

    try:
        with pulsectl.Pulse("aleph-sidecar", connect=False) as pulse:
            pulse.connect(autospawn=False)
            return next((str(s.description) for s in pulse.source_list() if s.name == name), None)
    except pulsectl.PulseError:
        return None
