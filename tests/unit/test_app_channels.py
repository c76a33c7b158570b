"""system:*, events and media:* handlers, health, and the room for one more call."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from sidecar import log
from sidecar.app import headroom, supervision
from sidecar.app.channels import events, media
from sidecar.app.channels.system import EVERY_PERMISSION, Admission, SystemChannels
from sidecar.app.handshake import ClientEntry
from sidecar.app.headroom import Room
from sidecar.app.health import HealthBoard
from sidecar.errors import Code, DeniedError, LocalError, UnavailableError
from sidecar.ipc.events import EventHub
from sidecar.ipc.registry import Client, Pending, Registry, Stream
from sidecar.media.messages import ListDevices, ListScreens
from sidecar.schema import CallOffer, CallType, Health, SelfInfo

ME = SelfInfo(user_id="0123456789abcdef", public_key="x" * 60, device="fedcba9876543210")
RICH = ClientEntry("rich", frozenset({"media:camera"}))
POOR = ClientEntry("poor", frozenset())


class Bench:
    """A registry with the handlers under test and one client."""

    def __init__(self, clients: tuple[ClientEntry, ...] | None = None) -> None:
        self.admission = Admission(clients)
        self.registry = Registry(log.get("test"), lambda: "id")
        self.client = Client("c1", self.admission.permissions, admitted=self.admission.open)
        self.stopped = 0
        self.health = HealthBoard()
        SystemChannels(
            admission=self.admission,
            self_info=lambda: ME,
            calls=list,
            seq=lambda: 7,
            health=self.health.report,
            shutdown=self._stop,
        ).register(self.registry)

    def _stop(self) -> None:
        self.stopped += 1

    async def call(self, channel: str, params: Any = None) -> Any:
        outcome = self.registry.invoke(self.client, channel, Raw(msgspec.msgpack.encode([params])))
        assert not isinstance(outcome, Stream)
        raw = outcome.encode(await outcome.result) if isinstance(outcome, Pending) else outcome
        return msgspec.msgpack.decode(raw)


async def test_hello_is_a_snapshot() -> None:
    bench = Bench()
    hello = await bench.call("system:hello", {"client": "test/1", "mediaOwner": "renderer"})
    assert hello["self"] == {"userId": ME.user_id, "publicKey": ME.public_key, "device": ME.device}
    assert (hello["seq"], hello["calls"]) == (7, [])
    assert (bench.client.label, bench.client.media_owner) == ("test/1", "renderer")
    await bench.call("system:hello", {})
    assert (bench.client.label, bench.client.media_owner) == ("test/1", "renderer"), "what is not said stays"


async def test_without_a_list_every_client_may_do_everything() -> None:
    bench = Bench()
    await bench.call("system:hello", {"token": "whatever"})
    assert bench.client.permissions == EVERY_PERMISSION
    assert len(EVERY_PERMISSION) == 4


@pytest.mark.parametrize("token", [None, "", "ric", "richer", "RICH", "\u00e9"])
async def test_I05_a_token_that_is_not_listed_admits_nobody(token: str | None) -> None:
    bench = Bench((RICH, POOR))
    with pytest.raises(DeniedError) as caught:
        await bench.call("system:hello", {} if token is None else {"token": token})
    assert caught.value.code is Code.POLICY_PERMISSION_MISSING
    assert not bench.client.admitted
    with pytest.raises(DeniedError):
        await bench.call("system:health")
    with pytest.raises(DeniedError):
        await bench.call("system:shutdown")
    assert bench.stopped == 0


async def test_I05_a_token_gives_what_its_entry_says_and_may_be_changed_for_another() -> None:
    bench = Bench((RICH, POOR))
    await bench.call("system:hello", {"token": "rich"})
    assert bench.client.permissions == RICH.permissions
    await bench.call("system:hello", {})
    assert bench.client.permissions == RICH.permissions
    await bench.call("system:hello", {"token": "poor"})
    assert bench.client.permissions == frozenset()


async def test_an_empty_list_admits_nobody() -> None:
    bench = Bench(())
    with pytest.raises(DeniedError):
        await bench.call("system:hello", {"token": "x"})


async def test_shutdown_is_answered_and_asked_for() -> None:
    bench = Bench()
    assert await bench.call("system:shutdown") == {"stopping": True}
    assert bench.stopped == 1


async def test_nothing_serves_browsers_yet() -> None:
    with pytest.raises(LocalError) as caught:
        await Bench().call("system:web-url", {"permissions": []})
    assert caught.value.code is Code.NOT_IMPLEMENTED


# --- health ---------------------------------------------------------------------------------------------


def codes(report: Health) -> list[str]:
    return [problem.code for problem in report.problems]


def test_health_without_relays_is_degraded() -> None:
    board = HealthBoard()
    assert codes(board.report()) == ["graph.unreachable"]
    assert board.report().status.value == "degraded"


def test_health_follows_the_relays_and_the_standing_problems() -> None:
    board, up = HealthBoard(), [False, False]
    board.watch_relays(lambda: [("ws://a", up[0], None), ("ws://b", up[1], 3.5)])
    assert codes(board.report()) == ["graph.unreachable"]
    up[1] = True
    report = board.report()
    assert (report.status.value, codes(report)) == ("ok", [])
    assert [(relay.url, relay.connected, relay.rtt_ms) for relay in report.relays] == [
        ("ws://a", False, None), ("ws://b", True, 3.5),
    ]  # fmt: skip
    board.raise_problem("media.failed", "media did not start")
    assert codes(board.report()) == ["media.failed"]
    board.clear("media.failed", "never.raised")
    assert codes(board.report()) == []


def test_I10_health_says_what_this_machine_is_short_of() -> None:
    board = HealthBoard()
    board.watch_relays(lambda: [("ws://a", True, None)])
    board.watch_room(lambda: headroom.check(Room(0)))
    assert codes(board.report()) == ["resource"]


# --- events ---------------------------------------------------------------------------------------------


async def test_events_come_in_order_and_only_those_asked_for() -> None:
    bench, hub = Bench(), EventHub()
    events.register(bench.registry, hub)
    params = Raw(msgspec.msgpack.encode([{"types": ["aleph:callOffer", "aleph:fromTheFuture"]}]))
    stream = bench.registry.invoke(bench.client, "events", params)
    assert isinstance(stream, Stream)
    offer = CallOffer(
        call_id="call_a", from_user_id=ME.user_id, from_display_name="A", type=CallType.AUDIO, timestamp=1
    )
    hub.emit("aleph:callStateChange", offer)
    hub.emit("aleph:callOffer", offer)
    hub.close()
    items = [msgspec.msgpack.decode(stream.encode(item)) async for item in _iterate(stream.items)]
    assert [(item["seq"], item["event"]) for item in items] == [(2, "aleph:callOffer")]
    await stream.close()


async def _iterate(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for item in items:
        yield item


# --- media ----------------------------------------------------------------------------------------------


class FakeMedia:
    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def request(self, request: Any) -> Any:
        self.asked.append(request)
        return []


async def test_devices_and_screens_are_asked_of_the_media_process() -> None:
    bench, fake = Bench(), FakeMedia()
    media.register(bench.registry, fake)
    assert await bench.call("media:get-devices") == []
    assert await bench.call("media:get-screen-sources", {}) == []
    await bench.call(
        "media:get-screen-sources", {"types": ["window"], "thumbnailWidth": 0, "thumbnailHeight": 90}
    )
    assert fake.asked == [
        ListDevices(request_id=0),
        ListScreens(request_id=0, types=("screen", "window"), thumbnail_width=320, thumbnail_height=180),
        ListScreens(request_id=0, types=("window",), thumbnail_width=0, thumbnail_height=90),
    ]


@pytest.mark.parametrize("shortage", [MemoryError(), OSError(errno.EMFILE, "x"), OSError(errno.ENOSPC, "x")])
def test_I10_a_handler_that_runs_short_answers_resource(shortage: Exception) -> None:
    failure = Bench().registry.failure(shortage, "call:initiate")
    assert failure.code is Code.RESOURCE


# --- room -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "short_of"),
    [
        (Room(headroom.CALL_DESCRIPTORS - 1, None), "descriptors"),
        (Room(-5, headroom.MIN_DISK_BYTES), "descriptors"),
        (Room(None, headroom.MIN_DISK_BYTES - 1), "disk"),
        (Room(None, None, headroom.CALL_ADDRESS_BYTES - 1), "memory"),
    ],
)
def test_I10_what_is_short_is_named(room: Room, short_of: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        headroom.check(room)
    assert caught.value.code is Code.RESOURCE
    assert caught.value.details is not None
    assert caught.value.details["resource"] == short_of
    assert caught.value.details["left"] >= 0


def test_I10_enough_is_enough_and_the_unknown_refuses_nothing() -> None:
    headroom.check(Room(headroom.CALL_DESCRIPTORS, headroom.MIN_DISK_BYTES, headroom.CALL_ADDRESS_BYTES))
    headroom.check(Room(None, None))


def test_the_room_is_that_of_the_process_with_least(tmp_path: Path) -> None:
    alone = headroom.measure(str(tmp_path), [])
    assert alone.descriptors is not None
    assert alone.disk_bytes is not None
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(10)]
    crowded = headroom.measure(str(tmp_path), [os.getpid()]).descriptors
    assert crowded is not None
    assert crowded <= alone.descriptors - 10
    for fd in held:
        os.close(fd)
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    assert headroom.measure(str(tmp_path), [int(gone.stdout)]).descriptors is not None
    assert headroom.measure(str(tmp_path / "missing"), []).disk_bytes is None


def test_adopted_children_end_with_us_and_released_ones_do_not() -> None:
    ours, foreign = (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(2)
    )
    before = supervision.children()
    for child in (ours, foreign):
        supervision.adopt(child.pid)
    supervision.release(foreign.pid)
    assert supervision.children() - before == {ours.pid}
    supervision.kill_all()
    assert ours.wait(10) < 0
    assert foreign.poll() is None
    supervision.release(ours.pid)
    for child in (ours, foreign):
        child.communicate()
