"""A microphone of a real PulseAudio server: listed, heard by the peer, gone."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from sidecar.capture.catalog import Catalog
from sidecar.errors import UnavailableError
from sidecar.media.messages import Line, ListDevices, SetSource, Warning
from tests.integration.media_nodes import pair
from tests.peers import need

SETUP = """
load-module module-native-protocol-unix
load-module module-null-sink sink_name=out rate=48000
load-module module-remap-source master=out.monitor source_name=mic source_properties=device.description=Mic
load-module module-sine sink=out frequency=700
"""


@pytest.fixture
def pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """A server of our own, with a microphone that hears 700 Hz."""
    program = need("pulseaudio")
    home = str(tmp_path)
    for name, value in (("XDG_RUNTIME_DIR", home), ("HOME", home), ("PULSE_RUNTIME_PATH", f"{home}/pulse")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PULSE_SERVER", raising=False)
    server = subprocess.Popen(
        [program, "-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=1", "-F", "/dev/stdin"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=dict(os.environ),
    )
    try:
        assert server.stdin is not None
        server.stdin.write(SETUP)
        server.stdin.close()
        pause, deadline = threading.Event(), monotonic() + 20
        while not any(device["deviceId"] == "pulse:mic" for device in Catalog().devices()):
            assert monotonic() < deadline
            pause.wait(0.05)
        yield server
    finally:
        server.kill()
        server.wait()


async def test_the_peer_hears_the_microphone_and_the_call_outlives_it(
    pulse: subprocess.Popen[str],
) -> None:
    async with pair() as both:
        both.open(alice={Line.AUDIO: "tone:silence"})
        await both.connected()
        devices = {d["deviceId"]: d for d in await both.alice.request(ListDevices)}
        assert devices["pulse:mic"]["kind"] == "audioinput"
        assert devices["pulse:mic"]["label"] == "Mic"
        assert devices["pulse:out"]["kind"] == "audiooutput"
        assert "pulse:out.monitor" not in devices
        await both.alice.request(SetSource, call_id="call_1", line=Line.AUDIO, device_id="pulse:mic")
        stats = await both.bob.stats_when(lambda s: "toneHz" in s["audio"])
        assert stats["audio"]["toneHz"] == pytest.approx(700, abs=3)
        pulse.kill()
        warning = await both.alice.event(Warning)
        assert (warning.call_id, warning.code) == ("call_1", "device-lost")
        await both.alice.request(SetSource, call_id="call_1", line=Line.AUDIO, device_id="tone:1000")
        await both.bob.stats_when(lambda s: abs(s["audio"].get("toneHz", 0) - 1000) < 3)


def test_an_unknown_microphone_is_no_device(pulse: subprocess.Popen[str]) -> None:
    with pytest.raises(UnavailableError) as caught:
        Catalog().sound_source("pulse:other", {})
    assert caught.value.code == "media.no-device"
