"""From a device id to a source, and the refusals."""

from __future__ import annotations

import os
import threading
import wave
from array import array
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import monotonic

import pytest

from sidecar.app.processes.record import record
from sidecar.capture.catalog import Catalog
from sidecar.capture.devices import list_devices
from sidecar.capture.files import resolve
from sidecar.capture.patterns import read_color, read_counter, same_color
from sidecar.capture.threads import LatestPicture, fit
from sidecar.capture.tones import Tone, find_tone
from sidecar.errors import LocalError, UnavailableError
from sidecar.frames import SILENCE, SOUND_BYTES, Picture, PictureSource, SourceEndedError, black
from sidecar.media.messages import Line
from sidecar.media.record.messages import Mode
from tests.unit.test_media_record import in_time, messages, pictures, sounds


def catalog(*folders: Path) -> Catalog:
    made = Catalog()
    made.configure([str(folder) for folder in folders], None)
    return made


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 20
    pause = threading.Event()
    while not condition():
        assert monotonic() < deadline
        pause.wait(0.01)


@pytest.fixture
def media_file(tmp_path: Path) -> Path:
    frames = in_time(pictures("clip", Line.CAMERA, 15), sounds("clip", 600, 25))
    record(messages(Mode.TRACKS, tmp_path, frames))
    return tmp_path / "clip.webm"


def test_a_pattern_takes_colour_size_and_rate() -> None:
    source = catalog().picture_source("camera", "pattern:color=FF8800,size=320x180,fps=15", {})
    picture = source.picture(0.0)
    assert picture is not None
    assert (picture.width, picture.height, source.fps) == (320, 180, 15)
    assert same_color(read_color(picture) or "000000", "ff8800")
    assert read_counter(picture) == 0
    plain = catalog().picture_source("camera", "pattern:", {})
    assert plain.fps == 30
    dark = catalog().picture_source("camera", "pattern:black", {}).picture(0.0)
    assert dark is not None
    assert read_counter(dark) is None


@pytest.mark.parametrize(
    "device",
    [
        "pattern:color=red", "pattern:color=ff88", "pattern:size=640", "pattern:size=10x10",
        "pattern:size=9999x9999", "pattern:size=-64x64", "pattern:fps=0", "pattern:fps=nan", "pattern:fps=x",
        "pattern:fps=1000", "pattern:shape=round", "pattern:white",
    ],
)  # fmt: skip
def test_nonsense_in_a_pattern_is_named(device: str) -> None:
    with pytest.raises(LocalError):
        catalog().picture_source("camera", device, {})


@pytest.mark.parametrize(
    "device", ["tone:loud", "tone:0", "tone:99999", "tone:-440", "tone:4.5", "tone:" + "9" * 99]
)
def test_nonsense_in_a_tone_is_named(device: str) -> None:
    with pytest.raises(LocalError):
        catalog().sound_source(device, {})


def test_tones_and_silence() -> None:
    for device, hz in (("tone:", 440), ("tone:1234", 1234)):
        source, made = catalog().sound_source(device, {}), array("h")
        for _ in range(10):
            made.frombytes(source.sound())
        assert find_tone(made) == pytest.approx(hz, abs=1)
    for device in ("tone:silence", "null:"):
        assert catalog().sound_source(device, {}).sound() == SILENCE


@pytest.mark.parametrize(
    "device", ["", "x", "camera:0", "pulse:mic", "window:1:0", "screen:0:0", "nothing:at:all"]
)
def test_what_is_not_there_is_no_device(device: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        catalog().picture_source("camera", device, {})
    assert caught.value.code == "media.no-device"
    with pytest.raises(UnavailableError) as caught:
        catalog().sound_source(device, {})
    assert caught.value.code == "media.no-device"
    if not device.startswith("screen"):
        with pytest.raises(UnavailableError) as caught:
            catalog().picture_source("screen", device, {})
        assert caught.value.code == "media.no-source"


def test_paths_do_not_leave_the_allowed_folders(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "a.webm").write_text("")
    (outside / "b.webm").write_text("")
    (inside / "link.webm").symlink_to(outside / "b.webm")
    (tmp_path / "in2").mkdir()
    (tmp_path / "in2" / "c.webm").write_text("")
    folders = [str(inside)]
    assert resolve("a.webm", folders) == os.path.realpath(inside / "a.webm")
    assert resolve(str(inside / "a.webm"), folders) == os.path.realpath(inside / "a.webm")
    for path in (
        "../out/b.webm", str(outside / "b.webm"), "link.webm", "", ".", "..", "missing.webm", "../in2/c.webm",
        "/etc/passwd",
    ):  # fmt: skip
        with pytest.raises(UnavailableError):
            resolve(path, folders)
    with pytest.raises(UnavailableError):
        resolve("a.webm", [])


def test_a_file_plays_its_pictures_again_and_again(media_file: Path) -> None:
    source = catalog(media_file.parent).picture_source("camera", "file:clip.webm", {})
    seen: list[int] = []

    def looped() -> bool:
        picture = source.picture(0.0)
        if picture is not None and (counter := read_counter(picture)) is not None:
            seen.append(counter)
        return any(later < earlier for earlier, later in pairwise(seen))

    wait_for(looped)
    assert set(seen) <= set(range(15))
    source.close()


def test_a_file_plays_its_sound(media_file: Path) -> None:
    source, made = catalog(media_file.parent).sound_source("file:clip.webm", {}), array("h")

    def enough() -> bool:
        sound = source.sound()
        if sound != SILENCE:
            made.frombytes(sound)
        return len(made) >= 30 * 960

    wait_for(enough)
    assert find_tone(made[2400:7200]) == pytest.approx(600, abs=2)
    source.close()


def test_files_without_what_is_asked_for_are_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(Tone(500).sound() * 10)
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 1000)
    with pytest.raises(UnavailableError) as caught:
        catalog(tmp_path).picture_source("camera", "file:a.wav", {})
    assert caught.value.code == "media.no-source"
    for make in (
        catalog(tmp_path).sound_source,
        lambda d, o: catalog(tmp_path).picture_source("camera", d, o),
    ):
        with pytest.raises(UnavailableError):
            make("file:broken.mp4", {})


def test_a_file_that_vanishes_ends_the_source(tmp_path: Path) -> None:
    frames = in_time(pictures("clip", Line.CAMERA, 5), sounds("clip", 600, 5))
    record(messages(Mode.TRACKS, tmp_path, frames))
    source = catalog(tmp_path).picture_source("camera", "file:clip.webm", {})
    (tmp_path / "clip.webm").unlink()
    wait_for(lambda: _ended(source))


def _ended(source: PictureSource) -> bool:
    try:
        source.picture(0.0)
    except SourceEndedError:
        return True
    return False


def test_devices_have_the_shape_of_the_schema(tmp_path: Path) -> None:
    (tmp_path / "a.webm").write_text("")
    (tmp_path / "b.wav").write_text("")
    (tmp_path / "c.txt").write_text("")
    devices = list_devices([str(tmp_path), str(tmp_path / "missing")])
    for device in devices:
        assert {"deviceId", "kind", "label", "groupId"} <= device.keys()
        assert device["kind"] in ("audioinput", "audiooutput", "videoinput")
    files = [(d["deviceId"], d["kind"]) for d in devices if d["deviceId"].startswith("file:")]
    assert files == [
        ("file:a.webm", "videoinput"),
        ("file:a.webm", "audioinput"),
        ("file:b.wav", "audioinput"),
    ]


def test_a_source_on_a_thread_keeps_the_latest_picture_only() -> None:
    published, go_on = threading.Event(), threading.Event()

    def work(slot: LatestPicture) -> None:
        for size in (2, 4, 6):
            slot.publish(black(size, size))
        published.set()
        go_on.wait()

    source = LatestPicture("test", 10.0, work)
    published.wait()
    picture = source.picture(0.0)
    assert isinstance(picture, Picture)
    assert picture.width == 6
    assert source.picture(0.1) is None
    go_on.set()
    wait_for(lambda: _ended(source))


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((1920, 1080), (1280, 720)), ((640, 360), (640, 360)), ((1000, 1000), (720, 720)),
        ((641, 361), (640, 360)), ((4000, 100), (1280, 32)), ((1, 1), (2, 2)),
    ],
)  # fmt: skip
def test_pictures_are_fitted_with_their_shape(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert fit(*size, 1280, 720) == fitted


def test_a_sound_is_always_twenty_milliseconds() -> None:
    assert all(len(Tone(hz).sound()) == SOUND_BYTES for hz in (20, 441, 997, 5000))
