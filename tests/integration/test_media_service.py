"""One contract for media in a child process and inside this one (DESIGN D11)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from sidecar import log
from sidecar.app.services.media import MediaService, Mode
from sidecar.errors import SidecarError, UnavailableError
from sidecar.media.messages import (
    ApplyAnswer,
    CloseCall,
    Configure,
    Event,
    GetStats,
    Line,
    ListDevices,
    Liveness,
    LocalDescription,
    MediaLost,
    OpenCall,
    OpenPeer,
    PeerConnected,
    PeerLiveness,
    PeerRef,
    Ready,
    RecordStart,
    RecordStop,
    Role,
    SetSource,
)
from tests.integration.media_nodes import LOOPBACK, SOURCES, TIMEOUT_S, until

T = TypeVar("T")
PEER = PeerRef(call_id="call_1", user_id="peer", gen=0)
MODES: tuple[Mode, ...] = ("child", "inline")


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param  # type: ignore[no-any-return]


class Services:
    """Two services that hand each other's descriptions over."""

    def __init__(self, mode: Mode, configure: Configure) -> None:
        self.events: list[tuple[str, Event]] = []
        self._changed = asyncio.Event()
        logger = log.get("media")
        self.alice = MediaService(mode, configure, logger, lambda e: self._take("alice", e))
        self.bob = MediaService(mode, configure, logger, lambda e: self._take("bob", e))

    def _take(self, name: str, event: Event) -> None:
        self.events.append((name, event))
        self._changed.set()
        if isinstance(event, LocalDescription) and event.type == "offer":
            self.bob.send(OpenPeer(peer=event.peer, role=Role.ANSWERER, remote_sdp=event.sdp))
        elif isinstance(event, LocalDescription):
            self.alice.send(ApplyAnswer(peer=event.peer, sdp=event.sdp))

    async def event(self, name: str, kind: type[T], matches: Callable[[T], bool] = lambda event: True) -> T:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                for who, event in self.events:
                    if who == name and isinstance(event, kind) and matches(event):
                        return event
                self._changed.clear()
                await self._changed.wait()

    async def call(self) -> None:
        for service in (self.alice, self.bob):
            service.send(OpenCall(call_id="call_1", sources=SOURCES))
        self.alice.send(OpenPeer(peer=PEER, role=Role.OFFERER))
        for name in ("alice", "bob"):
            await self.event(name, PeerConnected)

    async def pictures(self, service: MediaService, count: int) -> dict[str, Any]:
        """Statistics of the peer once ``count`` of its pictures were decoded."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                result = await service.request(GetStats(request_id=0, call_id="call_1"))
                for stats in result["participants"]:
                    if stats.get("video", {}).get("framesDecoded", 0) >= count:
                        return stats
                await asyncio.sleep(0.05)


@asynccontextmanager
async def services(mode: Mode, **settings: Any) -> AsyncIterator[Services]:
    both = Services(mode, Configure(ice_interfaces=LOOPBACK, **settings))
    try:
        await asyncio.gather(both.alice.start(), both.bob.start())
        yield both
    finally:
        await asyncio.gather(both.alice.stop(), both.bob.stop())


async def test_a_call_runs(mode: Mode) -> None:
    async with services(mode) as both:
        await both.event("alice", Ready)
        await both.call()
        for service in (both.alice, both.bob):
            stats = await both.pictures(service, 10)
            assert stats["userId"] == "peer"
            assert stats["video"]["patternCounter"] > 0
            assert stats["audio"]["toneHz"] == pytest.approx(440, abs=2)
        both.alice.send(CloseCall(call_id="call_1"))
        await both.event("bob", PeerLiveness, lambda e: e.liveness is Liveness.SUSPECT)


async def test_errors_of_requests_keep_their_code(mode: Mode) -> None:
    async with services(mode) as both:
        with pytest.raises(SidecarError) as caught:
            await both.alice.request(GetStats(request_id=0, call_id="nope"))
        assert caught.value.code == "call.not-found"
        both.alice.send(OpenCall(call_id="call_1", sources={}))
        with pytest.raises(SidecarError) as caught:
            await both.alice.request(
                SetSource(request_id=0, call_id="call_1", line=Line.CAMERA, device_id="camera:9")
            )
        assert caught.value.code == "media.no-device"
        assert await both.alice.request(ListDevices(request_id=0))


async def test_many_requests_at_once_get_their_own_answers(mode: Mode) -> None:
    async with services(mode) as both:
        lists = await asyncio.gather(*(both.alice.request(ListDevices(request_id=0)) for _ in range(50)))
        assert all(devices == lists[0] for devices in lists)


async def test_a_recording_gets_its_path_and_length(mode: Mode, tmp_path: Path) -> None:
    async with services(mode) as both:
        await both.call()
        started = await both.bob.request(
            RecordStart(
                request_id=0, recording_id="r1", call_id="call_1", mode="tracks", directory=str(tmp_path)
            )
        )
        before = (await both.pictures(both.bob, 1))["video"]["framesDecoded"]
        await both.pictures(both.bob, before + 20)
        stopped = await both.bob.request(RecordStop(request_id=0, recording_id="r1"))
        assert started["path"] == stopped["path"] == str(tmp_path / "r1")
        assert stopped["durationMs"] > 300
        assert [file.name for file in (tmp_path / "r1").iterdir()] == ["peer.webm"]


async def test_nothing_can_be_asked_after_stop(mode: Mode) -> None:
    async with services(mode) as both:
        await both.alice.stop()
        with pytest.raises(UnavailableError):
            await both.alice.request(ListDevices(request_id=0))
        both.alice.send(CloseCall(call_id="call_1"))


async def test_a_killed_child_is_told_and_replaced_and_the_peer_notices() -> None:
    async with services("child", suspect_s=0.4, reconnecting_s=0.8, lost_s=1.6) as both:
        await both.call()
        await both.pictures(both.bob, 5)
        pid = both.alice.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await both.event("alice", MediaLost)
        with pytest.raises(UnavailableError):
            await both.alice.request(ListDevices(request_id=0))
        await both.event("bob", PeerLiveness, lambda e: e.liveness is Liveness.LOST)
        await until(lambda: sum(isinstance(e, Ready) for who, e in both.events if who == "alice") >= 2)
        assert both.alice.pid not in (None, pid)
        assert await both.alice.request(ListDevices(request_id=0))


async def test_a_request_that_is_under_way_fails_with_the_child() -> None:
    async with services("child") as both:
        pid = both.alice.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        waiting = asyncio.create_task(both.alice.request(ListDevices(request_id=0)))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(UnavailableError):
            await waiting


PARENT = """
import asyncio, sys
from sidecar import log
from sidecar.app.services.media import MediaService
from sidecar.media.messages import Configure

async def main():
    service = MediaService("child", Configure(), log.get("media"), lambda event: None)
    await service.start()
    print(service.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_child_whose_parent_is_killed_is_gone_within_two_seconds() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
        child.wait(2)


def test_core_does_not_load_the_codecs() -> None:
    code = "import sidecar.app.services.media, sys; print([m for m in sys.modules if m in BAD])"
    program = f"BAD = ('av', 'aiortc', 'aioice', 'mss', 'numpy', 'cryptography'); {code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
