"""Recordings of what a call received: playable, complete, and no burden to the call."""

from __future__ import annotations

import os
import signal
from array import array
from pathlib import Path
from typing import Any

import av
import pytest

from sidecar.capture.patterns import read_color, read_counter, same_color
from sidecar.capture.tones import find_tone, share
from sidecar.frames import picture_of
from sidecar.media import recording
from sidecar.media.messages import (
    CloseCall,
    Line,
    RecordingEnded,
    RecordStart,
    RecordStop,
    SetSource,
    Warning,
)
from tests.integration.media_nodes import Node, Pair, decoded, pair


async def start(node: Node, folder: Path, mode: str = "tracks") -> str:
    result = await node.request(
        RecordStart, recording_id="rec_1", call_id="call_1", mode=mode, directory=str(folder)
    )
    return str(result["path"])


async def pictures(node: Node, count: int, line: str = "video") -> None:
    seen = (await node.stats()).get(line, {}).get("framesDecoded", 0)
    await node.stats_when(decoded(line, seen + count))


def counters(path: Path, stream: int = 0) -> list[int | None]:
    with av.open(str(path)) as container:
        return [read_counter(picture_of(frame)) for frame in container.decode(video=stream)]


def color(path: Path, stream: int = 0) -> str | None:
    with av.open(str(path)) as container:
        return read_color(picture_of(next(container.decode(video=stream))))


def sound(path: Path | str) -> array[int]:
    """The decoded sound track."""
    samples = array("h")
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                samples.frombytes(bytes(part.planes[0])[: part.samples * 2])
    return samples


def tones(path: Path) -> list[float | None]:
    """The tone of each whole 100 ms."""
    samples = sound(path)
    return [find_tone(samples[at : at + 4800]) for at in range(0, len(samples) - 4800, 4800)]


async def test_tracks_hold_camera_screen_and_sound_of_the_participant(tmp_path: Path) -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        await both.bob.stats_when(decoded())
        await start(both.bob, tmp_path)
        await pictures(both.bob, 30)
        await both.alice.request(
            SetSource,
            call_id="call_1",
            line=Line.SCREEN,
            device_id="pattern:color=0000ff,size=640x360,fps=15",
        )
        await pictures(both.bob, 15, "screen")
        result = await both.bob.request(RecordStop, recording_id="rec_1")
    file = tmp_path / "rec_1" / "alice.webm"
    camera, screen = counters(file, 0), counters(file, 1)
    for found, least in ((camera, 30), (screen, 12)):
        assert len(found) >= least
        assert None not in found
        assert found == list(range(found[0] or 0, (found[0] or 0) + len(found)))
    assert same_color(color(file, 0) or "000000", "ff8800")
    assert same_color(color(file, 1) or "000000", "0000ff")
    heard = tones(file)[1:]
    assert heard
    assert all(tone == pytest.approx(440, abs=2) for tone in heard)
    with av.open(str(file)) as container:
        assert container.duration == pytest.approx(result["durationMs"] * 1000, abs=100_000)


async def test_mixed_is_one_file_with_both_voices_and_the_shared_screen(tmp_path: Path) -> None:
    async with pair() as both:
        both.open(bob={Line.AUDIO: "tone:1000"})
        await both.connected()
        await both.bob.stats_when(decoded())
        path = await start(both.bob, tmp_path, "mixed")
        await pictures(both.bob, 20)
        await both.alice.request(
            SetSource,
            call_id="call_1",
            line=Line.SCREEN,
            device_id="pattern:color=0000ff,size=640x360,fps=15",
        )
        await pictures(both.bob, 15, "screen")
        await both.bob.request(RecordStop, recording_id="rec_1")
    assert path == str(tmp_path / "rec_1.webm")
    with av.open(path) as container:
        shown = [read_color(picture_of(frame)) or "000000" for frame in container.decode(video=0)]
    assert same_color(shown[0], "ff8800")
    assert same_color(shown[-1], "0000ff")
    samples = sound(path)
    middle = samples[len(samples) // 2 :][:9600]
    assert share(middle, 440) > 0.3
    assert share(middle, 1000) > 0.3


async def test_the_end_of_the_call_finishes_the_recording(tmp_path: Path) -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        await both.bob.stats_when(decoded())
        path = await start(both.bob, tmp_path)
        await pictures(both.bob, 45)
        both.bob.engine.post(CloseCall(call_id="call_1"))
        ended = await both.bob.event(RecordingEnded)
        assert (ended.recording_id, ended.call_id, ended.path) == ("rec_1", "call_1", path)
        assert ended.duration_ms > 300
    assert len(counters(tmp_path / "rec_1" / "alice.webm")) >= 20


async def test_kill_9_of_the_recorder_leaves_a_playable_file_and_the_call(tmp_path: Path) -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        await both.bob.stats_when(decoded())
        await start(both.bob, tmp_path)
        await pictures(both.bob, 60)
        os.kill(_recording(both)._process.pid, signal.SIGKILL)
        ended = await both.bob.event(RecordingEnded)
        assert ended.duration_ms > 1000
        await pictures(both.bob, 10)
        assert both.bob.engine._calls["call_1"].recording is None
    found = counters(tmp_path / "rec_1" / "alice.webm")
    assert len(found) >= 30
    assert None not in found


async def test_M10_a_recorder_that_stalls_costs_frames_and_a_warning_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "QUEUE_BYTES", 20_000)
    async with pair() as both:
        both.open()
        await both.connected()
        await both.bob.stats_when(decoded())
        await start(both.bob, tmp_path)
        await pictures(both.bob, 10)
        child = _recording(both)._process.pid
        os.kill(child, signal.SIGSTOP)
        try:
            warning = await both.bob.event(Warning)
            assert (warning.call_id, warning.code) == ("call_1", "recorder-slow")
            await pictures(both.bob, 10)
        finally:
            os.kill(child, signal.SIGCONT)

        await pictures(both.bob, 10)
        await both.bob.request(RecordStop, recording_id="rec_1")
    assert len(counters(tmp_path / "rec_1" / "alice.webm")) >= 5


async def test_a_folder_that_cannot_be_written_ends_the_recording_not_the_call(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    async with pair() as both:
        both.open()
        await both.connected()
        await start(both.bob, blocked)
        ended = await both.bob.event(RecordingEnded)
        assert ended.recording_id == "rec_1"
        await pictures(both.bob, 5)


async def test_one_recording_a_call_and_known_ids_only(tmp_path: Path) -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        await start(both.bob, tmp_path)
        again: dict[str, Any] = {"call_id": "call_1", "mode": "tracks", "directory": str(tmp_path)}
        reply = await both.bob.reply(RecordStart, recording_id="rec_2", **again)
        assert reply.error is not None
        assert reply.error["code"] == "call.wrong-state"
        reply = await both.bob.reply(RecordStop, recording_id="rec_9")
        assert reply.error is not None
        assert reply.error["code"] == "invalid-params"
        await both.bob.request(RecordStop, recording_id="rec_1")
        reply = await both.bob.reply(RecordStart, recording_id="rec_3", **{**again, "mode": "loud"})
        assert reply.error is not None
        assert reply.error["code"] == "invalid-params"


def _recording(both: Pair) -> Any:
    return both.bob.engine._calls["call_1"].recording
