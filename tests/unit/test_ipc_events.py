"""The event hub: numbers, bounded buffers, gaps, replay."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from sidecar.errors import Code, UnavailableError
from sidecar.ipc.events import STREAMS_PER_CLIENT, EventHub, Subscription
from sidecar.ipc.registry import Client


class Data(msgspec.Struct):
    n: int


def client(name: str = "c1") -> Client:
    return Client(name, frozenset())


async def drain(reader: Subscription) -> list[Any]:
    """What is there now, decoded and shortened to the number or the gap."""
    out: list[Any] = []
    while True:
        try:
            item = await asyncio.wait_for(anext(reader), 0.01)
        except (TimeoutError, StopAsyncIteration):
            return out
        value = msgspec.msgpack.decode(item)
        out.append(f"gap {value['gap']}" if "gap" in value else value["seq"])


def emit(hub: EventHub, count: int, name: str = "aleph:callOffer") -> None:
    for n in range(count):
        hub.emit(name, Data(n))


async def test_an_event_has_number_name_and_data() -> None:
    hub = EventHub()
    reader = hub.subscribe(client())
    hub.emit("aleph:callOffer", Data(7))
    item = msgspec.msgpack.decode(await anext(reader))
    assert item == {"seq": 1, "event": "aleph:callOffer", "data": {"n": 7}}
    assert hub.seq == 1


async def test_an_event_for_one_client_reaches_no_other_not_even_later() -> None:
    hub = EventHub()
    ours, other = hub.subscribe(client("c1")), hub.subscribe(client("c2"))
    hub.emit("aleph:rtcStart", Data(7), to="c1")
    emit(hub, 1)
    assert await drain(ours) == [1, 2]
    assert await drain(other) == [2]
    assert await drain(hub.subscribe(client("c1"), since=0)) == [1, 2]
    assert await drain(hub.subscribe(client("c3"), since=0)) == [2]


async def test_a_waiting_reader_is_woken() -> None:
    hub = EventHub()
    reader = hub.subscribe(client())
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    emit(hub, 2)
    assert msgspec.msgpack.decode(await waiting)["seq"] == 1
    assert await drain(reader) == [2]


async def test_later_changes_of_the_data_do_not_show() -> None:
    hub = EventHub()
    reader = hub.subscribe(client())
    data = Data(1)
    hub.emit("x", data)
    data.n = 2
    assert msgspec.msgpack.decode(await anext(reader))["data"] == {"n": 1}


async def test_only_the_wanted_types_arrive() -> None:
    hub = EventHub()
    some, none = hub.subscribe(client(), ["b"]), hub.subscribe(client(), [])
    emit(hub, 1, "a")
    emit(hub, 1, "b")
    assert await drain(some) == [2]
    assert await drain(none) == []


async def test_I02_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    hub = EventHub(buffer=3)
    slow, fast = hub.subscribe(client("slow")), hub.subscribe(client("fast"))
    seen = []
    for _ in range(5):
        emit(hub, 1)
        seen += await drain(fast)
    assert seen == [1, 2, 3, 4, 5]
    assert await drain(slow) == ["gap 2", 3, 4, 5]
    emit(hub, 5)
    assert await drain(slow) == ["gap 2", 8, 9, 10]


async def test_I03_a_reader_that_comes_back_misses_nothing() -> None:
    hub = EventHub()
    emit(hub, 5)
    assert await drain(hub.subscribe(client(), since=3)) == [4, 5]
    assert await drain(hub.subscribe(client(), since=5)) == []
    assert await drain(hub.subscribe(client(), since=0)) == [1, 2, 3, 4, 5]
    assert await drain(hub.subscribe(client())) == []


async def test_I03_what_is_no_longer_kept_shows_as_a_gap() -> None:
    hub = EventHub(ring_events=3)
    emit(hub, 10)
    assert await drain(hub.subscribe(client(), since=2)) == ["gap 5", 8, 9, 10]
    assert await drain(hub.subscribe(client(), since=7)) == [8, 9, 10]


async def test_I03_a_number_of_an_earlier_run_shows_as_a_gap() -> None:
    hub = EventHub()
    emit(hub, 2)
    assert await drain(hub.subscribe(client(), since=9)) == ["gap 7", 1, 2]
    assert await drain(EventHub().subscribe(client(), since=9)) == ["gap 9"]


async def test_replay_keeps_to_the_wanted_types_and_the_buffer() -> None:
    hub = EventHub(buffer=2)
    emit(hub, 3, "a")
    emit(hub, 1, "b")
    assert await drain(hub.subscribe(client(), ["b"], since=0)) == [4]
    assert await drain(hub.subscribe(client(), since=0)) == ["gap 2", 3, 4]


async def test_the_ring_is_bounded_in_bytes() -> None:
    hub = EventHub(ring_bytes=1000)
    for _ in range(10):
        hub.emit("x", Data(0))
        hub.emit("x" * 300, Data(0))
    got = await drain(hub.subscribe(client(), since=0))
    assert got[0].startswith("gap ")
    assert len(got) < 8


async def test_streams_of_one_client_are_bounded_and_freed() -> None:
    hub = EventHub()
    readers = [hub.subscribe(client()) for _ in range(STREAMS_PER_CLIENT)]
    with pytest.raises(UnavailableError) as caught:
        hub.subscribe(client())
    assert caught.value.code is Code.RESOURCE
    hub.subscribe(client("c2"))
    await readers[0].aclose()
    await readers[0].aclose()
    hub.subscribe(client())
    assert hub.readers == STREAMS_PER_CLIENT + 1


async def test_a_cancelled_reader_that_is_closed_leaves_nothing() -> None:
    hub = EventHub()
    reader = hub.subscribe(client())
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    emit(hub, 1)
    assert await drain(reader) == [1]
    await reader.aclose()
    assert hub.readers == 0


async def test_closing_the_hub_ends_readers_after_what_they_have() -> None:
    hub = EventHub()
    reader = hub.subscribe(client())
    emit(hub, 2)
    hub.close()
    emit(hub, 1)
    assert [msgspec.msgpack.decode(item)["seq"] async for item in reader] == [1, 2]
