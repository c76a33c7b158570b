"""Screens of a real X server: listed, shared, gone."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import av
import pytest

from sidecar.capture.catalog import Catalog
from sidecar.errors import LocalError, UnavailableError
from sidecar.media.messages import Line, ListScreens, RemoteState, SetSource, Warning
from tests.integration.media_nodes import decoded, pair
from tests.peers import need

SIZE = (800, 600)


class Display:
    """An Xvfb of our own with a clock that moves."""

    def __init__(self, stack: ExitStack) -> None:
        xvfb = need("xvfb")
        read, write = os.pipe()
        stack.callback(os.close, read)
        screen = f"{SIZE[0]}x{SIZE[1]}x24"
        self.server = subprocess.Popen(
            [xvfb, "-displayfd", str(write), "-screen", "0", screen, "-nolisten", "tcp"],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        stack.callback(_end, self.server)
        self.name = ":" + os.read(read, 16).decode().strip()

    def show_something(self, stack: ExitStack) -> None:
        program = subprocess.Popen(
            ["xclock", "-update", "1", "-geometry", "600x400+0+0"],
            env={**os.environ, "DISPLAY": self.name},
            stderr=subprocess.DEVNULL,
        )
        stack.callback(_end, program)


@pytest.fixture
def display() -> Iterator[Display]:
    with ExitStack() as stack:
        shown = Display(stack)
        shown.show_something(stack)
        yield shown


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


async def test_a_listed_screen_is_shared_and_moves(display: Display) -> None:
    async with pair(display=display.name) as both:
        both.open()
        await both.connected()
        screens = await both.alice.request(ListScreens)
        assert [screen["id"] for screen in screens] == ["screen:0:0"]
        assert screens[0]["kind"] == "screen"
        assert screens[0]["appIcon"] is None
        head, _, data = screens[0]["thumbnail"].partition(",")
        assert head == "data:image/jpeg;base64"
        decoder = av.CodecContext.create("mjpeg", "r")
        frames = decoder.decode(av.Packet(base64.b64decode(data))) or decoder.decode(None)
        assert (frames[0].width, frames[0].height) == (240, 180)
        await both.alice.request(
            SetSource,
            call_id="call_1",
            line=Line.SCREEN,
            device_id="screen:0:0",
            options={"fps": 15, "cursor": False},
        )
        stats = await both.bob.stats_when(decoded("screen", 2))
        assert (stats["screen"]["width"], stats["screen"]["height"]) == SIZE
        await both.bob.event(RemoteState, lambda state: state.screen)


async def test_M13_a_screen_that_disappears_leaves_a_placeholder_a_warning_and_the_call(
    display: Display,
) -> None:
    async with pair(display=display.name) as both:
        both.open()
        await both.connected()
        await both.alice.request(SetSource, call_id="call_1", line=Line.SCREEN, device_id="screen:0:0")
        await both.bob.stats_when(decoded("screen", 1))
        display.server.kill()
        warning = await both.alice.event(Warning)
        assert (warning.call_id, warning.code) == ("call_1", "source-lost")
        await both.bob.event(RemoteState, lambda state: not state.screen and state.video)
        seen = await both.bob.stats()
        await both.bob.stats_when(
            lambda s: (
                s["video"]["framesDecoded"] > seen["video"]["framesDecoded"] + 10
                and s["screen"]["framesDecoded"] > seen["screen"]["framesDecoded"]
            )
        )
        reply = await both.alice.reply(SetSource, call_id="call_1", line=Line.SCREEN, device_id="screen:0:0")
        assert reply.error is not None
        assert reply.error["code"] == "media.no-source"


def test_screens_that_are_not_there_are_refused(display: Display) -> None:
    catalog = Catalog()
    catalog.configure([], display.name)
    with pytest.raises(UnavailableError) as caught:
        catalog.picture_source("screen", "screen:7:0", {})
    assert caught.value.code == "media.no-source"
    for device, options in (("screen:x:0", {}), ("screen:0", {}), ("screen:0:0", {"fps": 900})):
        with pytest.raises(LocalError):
            catalog.picture_source("screen", device, options)


def test_no_display_means_no_screens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    catalog = Catalog()
    catalog.configure([], None)
    assert catalog.screens(("screen",), 320, 180) == []
    with pytest.raises(UnavailableError):
        catalog.picture_source("screen", "screen:0:0", {})
    catalog.configure([], ":9999")
    assert catalog.screens(("screen",), 320, 180) == []


def test_listing_again_and_again_leaves_no_descriptor(display: Display) -> None:
    catalog = Catalog()
    catalog.configure([], display.name)
    catalog.screens(("screen",), 64, 36)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        assert catalog.screens(("screen",), 64, 36)
    assert len(os.listdir("/proc/self/fd")) == before
    assert catalog.screens(("window",), 64, 36) == []
    assert catalog.screens(("screen",), 0, 0)[0]["thumbnail"] == ""
