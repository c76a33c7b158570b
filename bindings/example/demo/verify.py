"""Checks what each side of the demo received, by decoding its recording.

stdin: ``{"alice": {file, color, tone, seconds, screen, screenColor?}, "bob": ...}``, expectations being what
the *other* side was told to send. stdout: the figures of both, and ``problems`` (empty when all was found).
The first argument is the folder for the contact sheet.
"""

from __future__ import annotations

import json
import statistics
import sys
from array import array
from pathlib import Path
from typing import Any

import av
from av.video.reformatter import VideoReformatter
from mss.tools import to_png

from sidecar.capture.patterns import read_color, read_counter, same_color
from sidecar.capture.tones import find_tone
from sidecar.frames import SAMPLE_RATE, Picture

MIN_SHARE = 0.8
"""Share of the decoded frames in which counter and colour must be found."""
MIN_FPS = 12.0
TONE_TOLERANCE_HZ = 3.0
WINDOW = SAMPLE_RATE // 10
TILE = (320, 180)
COLUMNS = 4


class Received:
    """What one recording holds."""

    def __init__(self, path: str) -> None:
        self.counters: list[int] = []
        self.colors: list[str] = []
        self.times: list[float] = []
        self.size = (0, 0)
        self.screen_frames = 0
        self.screen_pictures: set[int] = set()
        self.screen_corner: list[str] = []
        self.pcm = array("h")
        self.tiles: list[bytes] = []
        self._scale = VideoReformatter()
        with av.open(path) as container:
            self._decode(container)

    def _decode(self, container: av.container.InputContainer) -> None:
        videos = list(container.streams.video)
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        for packet in container.demux():
            for frame in packet.decode():
                if isinstance(frame, av.AudioFrame):
                    for part in resampler.resample(frame):
                        self.pcm.frombytes(bytes(part.planes[0])[: part.samples * 2])
                elif packet.stream.index == videos[0].index:
                    self._camera(frame)
                else:
                    self._screen(frame)

    def _camera(self, frame: av.VideoFrame) -> None:
        picture = picture_of(frame)
        self.size = (picture.width, picture.height)
        self.times.append(float(frame.time or 0.0))
        counter, color = read_counter(picture), read_color(picture)
        if counter is not None:
            self.counters.append(counter)
        if color is not None:
            self.colors.append(color)
        if len(self.times) % 30 == 1:
            self.tiles.append(self._tile(frame))

    def _screen(self, frame: av.VideoFrame) -> None:
        picture = picture_of(frame)
        self.screen_frames += 1
        self.screen_pictures.add(hash(bytes(picture.y)))
        color = read_color(picture)
        if color is not None:
            self.screen_corner.append(color)
        if self.screen_frames % 20 == 1:
            self.tiles.append(self._tile(frame))

    def _tile(self, frame: av.VideoFrame) -> bytes:
        scaled = self._scale.reformat(frame, *TILE, format="rgb24")
        plane, width = scaled.planes[0], TILE[0] * 3
        rows = bytes(plane)
        return b"".join(rows[i * plane.line_size : i * plane.line_size + width] for i in range(TILE[1]))

    def tone(self) -> float | None:
        """The median of the tones found in tenths of a second."""
        starts = range(0, len(self.pcm) - WINDOW, WINDOW)
        found = [hz for start in starts if (hz := find_tone(self.pcm[start : start + WINDOW])) is not None]
        return round(statistics.median(found), 1) if len(found) * 2 > len(starts) else None

    def fps(self) -> float:
        if len(self.times) < 2:
            return 0.0
        return round((len(self.times) - 1) / max(self.times[-1] - self.times[0], 1e-3), 1)

    def contact_sheet(self, path: Path) -> None:
        """At most 16 of the pictures, evenly chosen, four to a row."""
        step = max(1, -(-len(self.tiles) // 16))
        tiles = self.tiles[::step] or [bytes(TILE[0] * TILE[1] * 3)]
        tiles += [bytes(TILE[0] * TILE[1] * 3)] * (-len(tiles) % COLUMNS)
        width, lines = TILE[0] * 3, []
        for first in range(0, len(tiles), COLUMNS):
            group = tiles[first : first + COLUMNS]
            lines += [b"".join(tile[y * width : (y + 1) * width] for tile in group) for y in range(TILE[1])]
        to_png(b"".join(lines), (TILE[0] * COLUMNS, len(lines)), output=str(path))


def picture_of(frame: av.VideoFrame) -> Picture:
    if frame.format.name != "yuv420p":
        frame = frame.reformat(format="yuv420p")
    y, u, v = frame.planes
    return Picture(
        frame.width, frame.height, memoryview(y), memoryview(u), memoryview(v), y.line_size, u.line_size
    )


def check(expected: dict[str, Any], got: Received) -> list[str]:
    problems = []
    frames = len(got.times)
    if frames < MIN_FPS * expected["seconds"] / 2:
        problems.append(f"only {frames} camera frames")
    if len(got.counters) < MIN_SHARE * frames or got.counters != sorted(got.counters):
        problems.append(f"counter read from {len(got.counters)} of {frames} frames, or not rising")
    if len(set(got.counters)) < frames / 2:
        problems.append("the picture does not move")
    hits = sum(same_color(color, expected["color"]) for color in got.colors)
    if not frames or hits < MIN_SHARE * frames:
        problems.append(f"colour code {expected['color']} found in {hits} of {frames} frames")
    tone = got.tone()
    if tone is None or abs(tone - expected["tone"]) > TONE_TOLERANCE_HZ:
        problems.append(f"tone is {tone} Hz, not {expected['tone']}")
    if len(got.pcm) < SAMPLE_RATE * expected["seconds"] / 2:
        problems.append(f"only {len(got.pcm) / SAMPLE_RATE:.1f} s of sound")
    if expected["screen"]:
        problems += check_screen(expected, got)
    return problems


def check_screen(expected: dict[str, Any], got: Received) -> list[str]:
    if got.screen_frames < expected["seconds"]:
        return [f"only {got.screen_frames} screen frames"]
    problems = []
    if expected.get("screenColor"):
        if len(got.screen_pictures) < 3:
            problems.append("the shared screen does not move")
        hits = sum(same_color(color, expected["screenColor"]) for color in got.screen_corner)
        if hits < MIN_SHARE * got.screen_frames:
            problems.append(f"the screen's own colour is in {hits} of {got.screen_frames} frames")
    return problems


def figures(got: Received, screen: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "video_frames": len(got.times),
        "fps": got.fps(),
        "width": got.size[0],
        "height": got.size[1],
        "audio_frames": len(got.pcm) // (SAMPLE_RATE // 50),
        "tone_hz": got.tone(),
    }
    if screen:
        row["screen_frames"] = got.screen_frames
    return row


def main() -> None:
    out = Path(sys.argv[1])
    result: dict[str, Any] = {}
    problems: list[str] = []
    for name, expected in json.load(sys.stdin).items():
        got = Received(expected["file"])
        result[name] = figures(got, expected["screen"])
        problems += [f"{name}: {problem}" for problem in check(expected, got)]
        if expected["screen"]:
            got.contact_sheet(out / "contact-sheet.png")
    json.dump({**result, "problems": problems}, sys.stdout)


if __name__ == "__main__":
    main()
