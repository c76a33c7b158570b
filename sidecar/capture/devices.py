"""What can be chosen as microphone, camera or speaker, in the schema's MediaDeviceInfo shape."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

MAX_FILES = 200
"""Listed per folder; a folder is a shelf of test material, not a media library."""
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".y4m", ".ivf")
AUDIO_SUFFIXES = (".wav", ".ogg", ".opus", ".mp3", ".flac", ".m4a")
_CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


def list_devices(folders: Sequence[str]) -> list[dict[str, Any]]:
    """Built-in sources first, then files, then what the system has."""
    return [*_built_in(), *_files(folders), *_cameras(), *_pulse()]


def _device(
    device_id: str, kind: str, label: str, group: str, *, default: bool | None = None
) -> dict[str, Any]:
    device: dict[str, Any] = {"deviceId": device_id, "kind": kind, "label": label, "groupId": group}
    if default is not None:
        device["default"] = default
    return device


def _built_in() -> list[dict[str, Any]]:
    return [
        _device("pattern:", "videoinput", "Moving test pattern with a counter", "built-in"),
        _device("pattern:black", "videoinput", "Black pictures", "built-in"),
        _device("null:", "videoinput", "No pictures", "built-in"),
        _device("tone:440", "audioinput", "Test tone, 440 Hz", "built-in"),
        _device("tone:silence", "audioinput", "Silence", "built-in"),
        _device("null:", "audioinput", "No sound", "built-in"),
    ]


def _files(folders: Sequence[str]) -> Iterator[dict[str, Any]]:
    for folder in folders:
        try:
            names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
        except OSError:
            continue
        for name in names[:MAX_FILES]:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in VIDEO_SUFFIXES:
                yield _device(f"file:{name}", "videoinput", name, f"file:{name}")
            if suffix in VIDEO_SUFFIXES or suffix in AUDIO_SUFFIXES:
                yield _device(f"file:{name}", "audioinput", name, f"file:{name}")


def _cameras() -> list[dict[str, Any]]:
    import av

    form = _CAMERA_FORMATS.get(sys.platform)
    try:
        found = av.enumerate_input_devices(form) if form else []
    except (av.FFmpegError, OSError, ValueError, NotImplementedError):
        return []
    return [
        _device(f"camera:{info.name}", "videoinput", info.description or info.name, f"camera:{info.name}")
        for info in found
        if form == "v4l2" or "video" in info.media_types
    ]


def _pulse() -> list[dict[str, Any]]:
    """PulseAudio's sources and sinks (monitors left out); nothing is started to have some."""
    if sys.platform != "linux":
        return []
    import pulsectl

    try:
        with pulsectl.Pulse("aleph-sidecar", connect=False) as pulse:
            pulse.connect(autospawn=False)
            server = pulse.server_info()
            sources = [s for s in pulse.source_list() if s.proplist.get("device.class") != "monitor"]
            return [
                *(_pulse_device("audioinput", s, server.default_source_name) for s in sources),
                *(_pulse_device("audiooutput", s, server.default_sink_name) for s in pulse.sink_list()),
            ]
    except pulsectl.PulseError:
        return []


def _pulse_device(kind: str, node: Any, default: str) -> dict[str, Any]:
    group = node.proplist.get("device.bus_path") or f"pulse:{node.name}"
    return _device(f"pulse:{node.name}", kind, node.description, group, default=node.name == default)
