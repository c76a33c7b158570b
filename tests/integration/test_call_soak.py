"""Nothing is left behind by calls: after a warm-up, fifty more change no count (FAULTS C20 in small)."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import NamedTuple

import psutil

from tests.sidecars import Sidecar, pair, relay

WARM_UP = 5
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


async def one_call(alice: Sidecar, bob: Sidecar) -> None:
    session = await alice.call("call:initiate", userId=bob.me["userId"], type="video")
    call_id = session["id"]
    await bob.event("aleph:callOffer", callId=call_id)
    await bob.call("call:accept", callId=call_id)
    for node in (alice, bob):
        await node.event("aleph:callStateChange", callId=call_id, state="active")
    await alice.call("call:end", callId=call_id)
    for node in (alice, bob):
        await node.event("aleph:callStateChange", callId=call_id, state="ended")
        node.events.entries.clear()


async def test_fifty_calls_leave_nothing_behind(tmp_path: Path) -> None:
    async with (
        relay(tmp_path / "relay") as gun,
        pair(tmp_path, [gun.ready["gun"]], {"logging": {"level": "debug"}}) as (alice, bob),
    ):
        for _ in range(WARM_UP):
            await one_call(alice, bob)
        for node in (alice, bob):
            await idle(node)
        before = [await census(node) for node in (alice, bob)]
        for _ in range(CALLS):
            await one_call(alice, bob)
        after = [await settled(node, then) for node, then in zip((alice, bob), before, strict=True)]
    for then, now in zip(before, after, strict=True):
        assert now._replace(rss=0) == then._replace(rss=0)
        assert now.rss - then.rss < RSS_BAND, (now.rss - then.rss) / 2**20
