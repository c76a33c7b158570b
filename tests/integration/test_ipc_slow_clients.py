"""FAULTS I02: clients that stop reading cost bounded memory and nobody else's time."""

from __future__ import annotations

import asyncio
import time

import psutil
import pytest

from sidecar.ipc.wire.limits import Limits
from sidecar.ipc.zmq_server import LARGE_IN_FLIGHT
from tests.integration.ipc_lab import RawClient, Tick, lab

MIB = 1024 * 1024
LIMITS = Limits(outbox_bytes=8 * MIB, outbox_total_bytes=12 * MIB)


async def quick(client: object) -> float:
    """The slowest of some calls of a client that behaves, in seconds."""
    slowest = 0.0
    for _ in range(20):
        started = time.monotonic()
        assert await client.call("later", {"text": "a"}, timeout_s=10.0) == "a"  # type: ignore[attr-defined]
        slowest = max(slowest, time.monotonic() - started)
    return slowest


async def test_I02_large_answers_that_nobody_reads_are_bounded_and_become_errors() -> None:
    before = psutil.Process().memory_info().rss
    async with lab(limits=LIMITS) as bridge:
        lazy, good = RawClient(bridge.endpoint, receive_high_water=1), bridge.client()
        for n in range(100):
            lazy.request("blob", [{"size": 2 * MIB}], f"m{n}")
        assert await quick(good) < 2.0
        while bridge.server.counters["answer-replaced"] + bridge.server.counters["refused-resource"] < 80:
            assert await good.call("later", {"text": "a"}) == "a"
        assert bridge.server.waiting_bytes <= LIMITS.outbox_bytes + 100 * 1000
        assert psutil.Process().memory_info().rss - before < 120 * MIB
        answers = [(await lazy.receive())[1] for _ in range(100)]
        assert answers.count("OK") >= (LARGE_IN_FLIGHT + LIMITS.outbox_bytes) // (2 * MIB) - 2
        assert set(answers) == {"OK", "ERR"}
        assert bridge.server.waiting_bytes == 0
        lazy.close()
        good.close()


async def test_I02_requests_of_a_client_that_reads_nothing_are_refused_then_dropped() -> None:
    limits = Limits(outbox_refuse=50, outbox_drop=100)
    async with lab(limits=limits) as bridge:
        lazy, good = RawClient(bridge.endpoint, receive_high_water=1), bridge.client()
        sent = 0
        while not bridge.server.counters["request-dropped"]:
            for _ in range(100):
                lazy.request("echo", [{"text": "x" * 10_000}], f"m{sent}")
                sent += 1
            assert await good.call("later", {"text": "a"}) == "a"
            assert sent < 20_000
        assert bridge.server.counters["refused-resource"] >= 1
        assert bridge.server.waiting_bytes < 120 * 11_000
        assert await quick(good) < 2.0
        lazy.close()
        assert (await asyncio.wait_for(bridge.gone.get(), 10)).id
        assert bridge.server.waiting_bytes == 0
        good.close()


async def test_I02_of_two_readers_of_events_the_one_that_stops_gets_a_gap() -> None:
    async with lab(buffer=100) as bridge:
        lazy, good = RawClient(bridge.endpoint, receive_high_water=1), bridge.client(window=64)
        lazy.request("events", [None], "s")
        stream = good.stream("events")
        first = asyncio.ensure_future(anext(stream))
        for _ in range(2):
            await asyncio.wait_for(bridge.started.get(), 10)
        seen = []
        for n in range(2000):
            bridge.hub.emit("tick", Tick(n))
            seen.append((await (first if n == 0 else anext(stream)))["seq"])
        assert seen == list(range(1, 2001))
        assert (await lazy.receive())[2]["seq"] == 1
        lazy.event("_zpc_more", [200], "s")
        items = [(await lazy.receive())[2] for _ in range(101)]
        # One event was on its way into the full window when the reader stopped.
        assert items[0]["seq"] == 2
        assert items[1] == {"gap": 1898}
        assert [item["seq"] for item in items[2:]] == list(range(1901, 2000))
        await stream.aclose()
        lazy.close()
        good.close()


async def test_I02_a_reader_with_endless_credit_that_stops_reading_holds_only_its_bound() -> None:
    async with lab() as bridge:
        lazy, good = RawClient(bridge.endpoint, receive_high_water=1), bridge.client()
        lazy.request("blobs", [{"size": MIB}], "s")
        assert (await lazy.receive())[1] == "STREAM"
        before = psutil.Process().memory_info().rss
        lazy.event("_zpc_more", [2**31], "s")
        assert await quick(good) < 2.0
        assert await quick(good) < 2.0
        assert psutil.Process().memory_info().rss - before < 80 * MIB
        lazy.event("_zpc_cancel", [], "s")
        lazy.close()
        good.close()


async def test_I02_a_client_stalled_for_long_counts_as_gone() -> None:
    async with lab(limits=Limits(stalled_s=0.2)) as bridge:
        lazy = RawClient(bridge.endpoint, receive_high_water=1)
        for n in range(40):
            lazy.request("blob", [{"size": MIB}], f"m{n}")
        lazy.request("hang", [None], "h")
        assert (await asyncio.wait_for(bridge.gone.get(), 10)).id == "c1"
        assert bridge.server.waiting_bytes == 0
        assert [line["msg"] for line in bridge.lines].count("client takes no answers") == 1
        lazy.close()


@pytest.mark.parametrize("size", [1000, 500_000])
async def test_a_reader_that_is_only_slow_gets_everything_in_order(size: int) -> None:
    async with lab() as bridge:
        slow = RawClient(bridge.endpoint, receive_high_water=1)
        count = 400 if size == 1000 else 100
        for n in range(count):
            slow.request("blob", [{"size": size + n}], f"m{n}")
        got = [await slow.receive() for _ in range(count)]
        assert [(channel, name, len(args[0])) for channel, name, args in got] == [
            (f"m{n}", "OK", size + n) for n in range(count)
        ]
        slow.close()
