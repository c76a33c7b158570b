"""The record process without a process: time, mixing, and the WebM that FFmpeg reads back."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.app.processes.record import record
from sidecar.capture.patterns import Pattern, read_counter
from sidecar.capture.tones import Tone, find_tone, share
from sidecar.frames import picture_of
from sidecar.media.encoders import OpusEncoder, Vp8Encoder
from sidecar.media.messages import Line
from sidecar.media.record.messages import AnyRecord, Begin, Finish, Frame, Mode
from sidecar.media.record.mixed import LATE_STEPS, Mixer
from sidecar.media.record.timeline import MAX_DRIFT_MS, Timeline
from sidecar.media.record.webm import WebmFile


def pictures(
    who: str, line: Line, count: int, *, start_ms: int = 0, size: tuple[int, int] = (320, 180)
) -> list[Frame]:
    encoder, pattern = Vp8Encoder(300_000), Pattern(*size)
    frames = []
    for n in range(count):
        packet = encoder.encode(pattern.draw(n), n * 3000, keyframe=False)
        assert packet is not None
        at_ms = start_ms + n * 33
        frames.append(
            Frame(
                who=who,
                line=line,
                gen=0,
                at_ms=at_ms,
                timestamp=n * 3000,
                key=packet.is_keyframe,
                data=bytes(packet),
            )
        )
    return frames


def sounds(who: str, hz: int, count: int, *, start_ms: int = 0, own: bool = False) -> list[Frame]:
    encoder, tone = OpusEncoder(), Tone(hz)
    return [
        Frame(
            who=who,
            line=Line.AUDIO,
            gen=0,
            at_ms=start_ms + n * 20,
            timestamp=n * 960,
            key=True,
            data=bytes(encoder.encode(tone.sound(), n * 960) or b""),
            own=own,
        )
        for n in range(count)
    ]


def in_time(*groups: list[Frame]) -> list[Frame]:
    return sorted((frame for group in groups for frame in group), key=lambda frame: frame.at_ms)


def messages(mode: Mode, path: Path, frames: list[Frame], *, finish: bool = True) -> Iterator[AnyRecord]:
    yield Begin(mode=mode, path=str(path))
    yield from frames
    if finish:
        yield Finish()


def read_counters(path: Path, stream: int = 0) -> list[int | None]:
    with av.open(str(path)) as container:
        return [read_counter(picture_of(frame)) for frame in container.decode(video=stream)]


def read_sound(path: Path) -> array[int]:
    made = array("h")
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                made.frombytes(bytes(part.planes[0])[: part.samples * 2])
    return made


def test_tracks_hold_every_frame_with_its_time(tmp_path: Path) -> None:
    frames = in_time(
        pictures("bob", Line.CAMERA, 60),
        pictures("bob", Line.SCREEN, 20, start_ms=1000, size=(640, 360)),
        sounds("bob", 700, 100),
        sounds("me", 300, 100, own=True),
    )
    done = record(messages(Mode.TRACKS, tmp_path / "r", frames))
    assert (done.error, done.duration_ms) == ("", 2000)
    (file,) = (tmp_path / "r").iterdir()
    assert read_counters(file, 0) == list(range(60))
    assert read_counters(file, 1) == list(range(20))
    assert find_tone(read_sound(file)[4800:9600]) == pytest.approx(700, abs=1)
    with av.open(str(file)) as container:
        assert [stream.codec_context.width for stream in container.streams.video] == [320, 640]
        assert container.duration == 2_000_000
        screen = next(container.decode(video=1))
        assert screen.time == pytest.approx(1.0, abs=0.001)
        container.seek(1_500_000)
        assert next(container.decode(video=0)).time is not None


def test_a_track_that_never_came_is_not_in_the_file(tmp_path: Path) -> None:
    record(messages(Mode.TRACKS, tmp_path / "r", sounds("bob", 700, 20)))
    with av.open(str(tmp_path / "r" / "bob.webm")) as container:
        assert [stream.type for stream in container.streams] == ["audio"]


def test_pictures_before_the_first_keyframe_are_left_out(tmp_path: Path) -> None:
    frames = pictures("bob", Line.CAMERA, 30)[5:]
    again = pictures("bob", Line.CAMERA, 10, start_ms=1000)
    record(messages(Mode.TRACKS, tmp_path / "r", frames + again))
    assert read_counters(tmp_path / "r" / "bob.webm") == list(range(10))


def test_a_file_that_was_never_finished_plays(tmp_path: Path) -> None:
    path = tmp_path / "cut.webm"
    file = WebmFile(str(path), (Line.AUDIO, Line.CAMERA, Line.SCREEN))
    for frame in in_time(pictures("bob", Line.CAMERA, 45), sounds("bob", 700, 75)):
        file.write(frame.line, frame.at_ms, frame.data, key=frame.key)
    whole = path.read_bytes()
    assert read_counters(path) == list(range(45))
    path.write_bytes(whole[: len(whole) * 2 // 3])
    found = read_counters(path)
    assert 20 < len(found) < 45
    assert found[:-1] == list(range(len(found) - 1))
    file.close()


def test_the_end_of_the_pipe_finishes_the_file(tmp_path: Path) -> None:
    done = record(messages(Mode.TRACKS, tmp_path / "r", sounds("bob", 700, 20), finish=False))
    assert (done.error, done.duration_ms) == ("", 400)
    assert record(iter([])).error


def test_mixed_adds_up_the_sound_of_all(tmp_path: Path) -> None:
    frames = in_time(
        pictures("bob", Line.CAMERA, 30),
        sounds("bob", 700, 50),
        sounds("", 1900, 50, start_ms=7, own=True),
    )
    done = record(messages(Mode.MIXED, tmp_path / "m.webm", frames))
    assert (done.error, done.duration_ms) == ("", pytest.approx(1000, abs=40))
    assert read_counters(tmp_path / "m.webm") == list(range(30))
    middle = read_sound(tmp_path / "m.webm")[9600:19200]
    assert share(middle, 700) > 0.35
    assert share(middle, 1900) > 0.35


def test_mixed_shows_the_screen_while_there_is_one(tmp_path: Path) -> None:
    frames = in_time(
        pictures("bob", Line.CAMERA, 60),
        pictures("bob", Line.SCREEN, 20, start_ms=1000, size=(640, 360)),
    )
    record(messages(Mode.MIXED, tmp_path / "m.webm", frames))
    with av.open(str(tmp_path / "m.webm")) as container:
        widths = [frame.width for frame in container.decode(video=0)]
    assert widths[0] == 320
    assert widths[-1] == 640
    assert widths == sorted(widths)


def test_a_path_that_cannot_be_written_is_an_answer_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for mode in Mode:
        done = record(messages(mode, tmp_path / "file" / "x", sounds("bob", 700, 5)))
        assert done.error


def test_names_of_participants_cannot_leave_the_folder(tmp_path: Path) -> None:
    record(messages(Mode.TRACKS, tmp_path / "r", sounds("../../evil", 700, 5) + sounds("", 700, 5)))
    assert sorted(file.name for file in (tmp_path / "r").iterdir()) == [".._.._evil.webm", "_.webm"]


def test_time_follows_the_senders_clock_and_starts_where_it_arrived() -> None:
    line = Timeline(Line.CAMERA)
    assert [line.place(0, n * 3000, 500 + n * 33 + n % 3 * 9) for n in range(4)] == [500, 533, 567, 600]


def test_a_jump_a_new_generation_and_a_repeat_keep_time_increasing() -> None:
    line = Timeline(Line.AUDIO)
    assert line.place(0, 0, 0) == 0
    assert line.place(0, 960, 20) == 20
    assert line.place(0, 960, 21) == 21
    assert line.place(1, 0, 5000) == 5000
    assert line.place(1, 96_000_000, 5020) == 5020


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**32), st.integers(0, 10**7)), max_size=50))
def test_time_always_increases_and_stays_near_the_arrival(steps: list[tuple[int, int, int]]) -> None:
    line, last, newest = Timeline(Line.SCREEN), -1, 0
    for gen, timestamp, at_ms in steps:
        newest = max(newest, at_ms)
        placed = line.place(gen, timestamp, at_ms)
        assert last < placed <= newest + MAX_DRIFT_MS + len(steps)
        last = placed


def test_the_mixer_waits_for_late_sound_and_no_longer() -> None:
    mixer, one, two = Mixer(), sounds("a", 500, 40), sounds("b", 900, 40)
    done = []
    for step in range(40):
        done += mixer.add("a", step, one[step].data)
        if step >= 4:
            done += mixer.add("b", step - 4, two[step - 4].data)
    assert [step for step, _ in done] == list(range(40 - LATE_STEPS - 1))
    assert mixer.add("b", 0, two[0].data) == []
    assert [step for step, _ in mixer.drain()] == list(range(40 - LATE_STEPS - 1, 40))


def test_the_mixer_survives_garbage_and_bounds_silence() -> None:
    mixer, sound = Mixer(), sounds("a", 500, 3)
    mixer.add("a", 0, b"\xff" * 4)
    mixer.add("a", 1, sound[0].data)
    done = mixer.add("a", 10_000_000, sound[1].data)
    assert len(done) < 1000
