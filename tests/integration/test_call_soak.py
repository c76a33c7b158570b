"""Nothing is left behind by calls: after a warm-up, fifty more change no count (FAULTS C20 in small).

Every third is held and resumed, every third is two calls that cross.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import psutil
import pytest

from tests.sidecars import Sidecar, pair, relay

WARM_UP = 6
CALLS = 50
RSS_BAND = 10 * 2**20
SETTLE_S = 5.0


class Census(NamedTuple):
    """What one sidecar and its children hold, oldest process first."""

    processes: int
    fds: tuple[int, ...]
    threads: tuple[int, ...]
    tasks: tuple[int, ...]
    """Of core and of media."""
    rss: int


async def census(node: Sidecar) -> Census:
    tree = [psutil.Process(node.pid), *sorted(node.children(), key=lambda child: child.pid)]
    node.log.entries.clear()
    health = await node.call("system:health")
    assert health["status"] == "ok"
    await node.call("media:get-devices")
    lines = [
        await node.log.wait(lambda line: line.get("msg") == "health asked"),
        await node.log.wait(lambda line: line.get("request") == "ListDevices"),
    ]
    return Census(
        processes=len(tree),
        fds=tuple(process.num_fds() for process in tree),
        threads=tuple(process.num_threads() for process in tree),
        tasks=tuple(line["tasks"] for line in lines),
        rss=sum(process.memory_info().rss for process in tree),
    )


async def idle(node: Sidecar) -> None:
    """Waits until no thread decodes: those of a call that just ended are about to."""
    deadline = monotonic() + SETTLE_S
    counts = [0]
    while len(counts) < 20 or len(set(counts[-20:])) > 1:
        assert monotonic() < deadline, counts
        counts.append((await census(node)).threads[-1])


async def settled(node: Sidecar, wanted: Census) -> Census:
    """Counts again until they are as wanted: the last call's decoders end a moment after its events."""
    deadline = monotonic() + SETTLE_S
    now = await census(node)
    while now._replace(rss=0) != wanted._replace(rss=0) and monotonic() < deadline:
        now = await census(node)
    return now


async def state(nodes: Iterable[Sidecar], call_id: str, wanted: str) -> None:
    for node in nodes:
        await node.event("aleph:callStateChange", callId=call_id, state=wanted)


async def plain(alice: Sidecar, bob: Sidecar) -> str:
    session = await alice.call("call:initiate", userId=bob.me["userId"], type="video")
    call_id = str(session["id"])
    await bob.event("aleph:callOffer", callId=call_id)
    await bob.call("call:accept", callId=call_id)
    await state((alice, bob), call_id, "active")
    return call_id


async def held(alice: Sidecar, bob: Sidecar) -> str:
    """Held and resumed by each of them."""
    call_id = await plain(alice, bob)
    for node in (alice, bob):
        await node.call("call:hold", callId=call_id)
        await state([node], call_id, "on-hold")
        node.events.entries.clear()
        await node.call("call:resume", callId=call_id)
        await state([node], call_id, "active")
    return call_id


async def glared(alice: Sidecar, bob: Sidecar) -> str:
    """Both call at once; the call of the smaller key stands."""
    mine, theirs = await asyncio.gather(
        alice.call("call:initiate", userId=bob.me["userId"], type="video"),
        bob.call("call:initiate", userId=alice.me["userId"], type="video"),
    )
    smaller = alice.me["publicKey"] < bob.me["publicKey"]
    stands, lost = (mine["id"], theirs["id"]) if smaller else (theirs["id"], mine["id"])
    await state((alice, bob), stands, "active")
    await state([bob if smaller else alice], lost, "ended")
    return str(stands)


KINDS = (plain, held, glared)


async def one_call(number: int, alice: Sidecar, bob: Sidecar) -> None:
    call_id = await KINDS[number % len(KINDS)](alice, bob)
    await alice.call("call:end", callId=call_id)
    await state((alice, bob), call_id, "ended")
    for node in (alice, bob):
        node.events.entries.clear()


@pytest.mark.timeout(300)
async def test_C20_fifty_calls_leave_nothing_behind(tmp_path: Path) -> None:
    async with (
        relay(tmp_path / "relay") as gun,
        pair(tmp_path, [gun.ready["gun"]], {"logging": {"level": "debug"}}) as (alice, bob),
    ):
        for number in range(WARM_UP):
            await one_call(number, alice, bob)
        for node in (alice, bob):
            await idle(node)
        before = [await census(node) for node in (alice, bob)]
        for number in range(CALLS):
            await one_call(number, alice, bob)
        after = [await settled(node, then) for node, then in zip((alice, bob), before, strict=True)]
    for then, now in zip(before, after, strict=True):
        assert now._replace(rss=0) == then._replace(rss=0)
        assert now.rss - then.rss < RSS_BAND, (now.rss - then.rss) / 2**20
