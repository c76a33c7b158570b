"""Device ids and what stands behind them: the one place that turns ``kind:rest`` into a source.

What needs a library is imported with its first use: an idle process does not pay for screens.

pattern:[color=rrggbb,size=WxH,fps=N]  pattern:black   tone:[hz|silence]   null:
file:<path inside an allowed folder>   screen:<n>:0    and the devices the system lists
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

from sidecar.capture import patterns, tones
from sidecar.errors import Code, LocalError, UnavailableError
from sidecar.frames import Picture, PictureSource, SoundSource

DEFAULT_TONE_HZ = 440
MAX_TONE_HZ = 5_000
MAX_SIZE = (1920, 1080)
MAX_FPS = 60.0


class Catalog:
    """Implements what media asks for; stateless but for the configuration."""

    def __init__(self) -> None:
        self._folders: list[str] = []
        self._display: str | None = None

    def configure(self, file_folders: list[str], display: str | None) -> None:
        """Folders that ``file:`` may read, the X display screens are taken from."""
        self._folders = list(file_folders)
        self._display = display

    def picture_source(self, line: str, device_id: str, options: Mapping[str, Any]) -> PictureSource:
        """A started source; LocalError for nonsense, UnavailableError for what is not there."""
        kind, _, rest = device_id.partition(":")
        if kind == "pattern":
            return _pattern(rest)
        if kind == "null":
            return patterns.Black(64, 64, 1.0)
        if kind == "file":
            from sidecar.capture import files

            return files.open_pictures(files.resolve(rest, self._folders))
        if kind == "screen" and line == "screen":
            from sidecar.capture import screens

            return screens.open_screen(device_id, self._display, options)
        code = Code.MEDIA_NO_SOURCE if line == "screen" else Code.MEDIA_NO_DEVICE
        raise UnavailableError("no such source of pictures", code=code)

    def sound_source(self, device_id: str, options: Mapping[str, Any]) -> SoundSource:
        """As ``picture_source``, for sound."""
        kind, _, rest = device_id.partition(":")
        if kind == "tone":
            return tones.Tone(_tone_hz(rest))
        if kind == "null":
            return tones.Tone(0)
        if kind == "file":
            from sidecar.capture import files

            return files.open_sound(files.resolve(rest, self._folders))
        if kind == "pulse":
            from sidecar.capture import microphones

            return microphones.Microphone(rest)
        raise UnavailableError("no such microphone", code=Code.MEDIA_NO_DEVICE)

    def devices(self) -> list[dict[str, Any]]:
        """All devices in the schema's MediaDeviceInfo shape."""
        from sidecar.capture import devices

        return devices.list_devices(self._folders)

    def screens(self, types: tuple[str, ...], width: int, height: int) -> list[dict[str, Any]]:
        """Screens with thumbnails in the schema's ScreenSource shape."""
        from sidecar.capture import screens

        return screens.list_screens(self._display, width, height) if "screen" in types else []

    def pattern(self, picture: Picture) -> tuple[str | None, int | None]:
        """Colour code and counter of a test pattern."""
        counter = patterns.read_counter(picture)
        return (None, None) if counter is None else (patterns.read_color(picture), counter)

    def sound(self, samples: array[int]) -> tuple[float, float | None]:
        """Level and the tone that stands out."""
        return tones.level(samples), tones.find_tone(samples)


def _pattern(rest: str) -> PictureSource:
    if rest == "black":
        return patterns.Black()
    given = dict(part.partition("=")[::2] for part in rest.split(",") if part)
    if not given.keys() <= {"color", "size", "fps"}:
        raise LocalError("pattern: takes color, size and fps")
    width, height = _size(given.get("size", "640x360"))
    return patterns.Pattern(width, height, _fps(given.get("fps", "30")), _color(given.get("color", "3070c0")))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and len(text) < 12):
        raise LocalError("size is WIDTHxHEIGHT")
    if not (64 <= int(width) <= MAX_SIZE[0] and 64 <= int(height) <= MAX_SIZE[1]):
        raise LocalError(f"size is from 64x64 to {MAX_SIZE[0]}x{MAX_SIZE[1]}")
    return int(width), int(height)


def _fps(text: str) -> float:
    try:
        fps = float(text)
    except ValueError:
        raise LocalError("fps is a number") from None
    if not 1.0 <= fps <= MAX_FPS:
        raise LocalError(f"fps is from 1 to {MAX_FPS:g}")
    return fps


def _color(text: str) -> str:
    if len(text) != 6 or not all(c in "0123456789abcdefABCDEF" for c in text):
        raise LocalError("color is rrggbb")
    return text.lower()


def _tone_hz(text: str) -> int:
    if text in ("", "silence"):
        return DEFAULT_TONE_HZ if not text else 0
    if not text.isdigit() or len(text) > 5 or not 20 <= int(text) <= MAX_TONE_HZ:
        raise LocalError(f"tone: takes 20 to {MAX_TONE_HZ} Hz or silence")
    return int(text)
