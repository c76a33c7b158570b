"""``setup``: from the click to the first decoded remote picture, against a bare aiortc pair in two processes.

Ours is a whole call (IPC, signing, sealing, relay, ringing, accept at once) between two sidecars through a
relay of ours; the peer is two processes that hand each other an offer and an answer over pipes and do nothing
else.
Both sides are warm: the first call of each is reported apart.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.report import Aim, Options, Report, machine, row
from tests.sidecars import Sidecar, pair, relay

CALLS = 10
BARE_PEER = Path(__file__).with_name("bare_peer.py")


class BareProcess:
    """A ``bare_peer`` and its lines."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(BARE_PEER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.read()

    def say(self, **command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line: dict[str, Any] = json.loads(self._process.stdout.readline())
        return line

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def bare_call(caller: BareProcess, callee: BareProcess) -> float:
    """Milliseconds until the caller has decoded a picture."""
    began = time.perf_counter()
    caller.say(do="offer")
    callee.say(do="answer", sdp=caller.read()["sdp"])
    caller.say(do="apply", sdp=callee.read()["sdp"])
    assert caller.read()["frame"]
    took = (time.perf_counter() - began) * 1000
    assert callee.read()["frame"]
    for one in (caller, callee):
        one.say(do="close")
        one.read()
    return took


async def our_call(alice: Sidecar, bob: Sidecar) -> float:
    """Milliseconds from ``call:initiate`` until the caller's media says that a picture is decoded."""
    began = time.time() * 1000
    initiated = asyncio.create_task(alice.call("call:initiate", userId=bob.me["userId"], type="video"))
    call_id = (await bob.event("aleph:callOffer"))["callId"]
    await bob.call("call:accept", callId=call_id)
    await initiated
    for node in (bob, alice):
        first = await node.log.wait(
            lambda line: line.get("msg") == "first picture decoded" and line.get("call_id") == call_id
        )
    await alice.call("call:end", callId=call_id)
    for node in (alice, bob):
        await node.event("aleph:callStateChange", callId=call_id, state="ended")
        node.events.entries.clear()
    return float(first["ts"]) - began


async def measure(calls: int) -> tuple[list[float], list[float]]:
    ours: list[float] = []
    bare: list[float] = []
    loop = asyncio.get_running_loop()
    caller, callee = BareProcess(), BareProcess()
    with tempfile.TemporaryDirectory(prefix="aleph-bench-") as place:
        folder = Path(place)
        async with (
            relay(folder / "relay") as gun,
            pair(folder, [gun.ready["gun"]]) as (alice, bob),
        ):
            for _ in range(calls):
                ours.append(await our_call(alice, bob))
                bare.append(await loop.run_in_executor(None, bare_call, caller, callee))
    for process in (caller, callee):
        process.end()
    return ours, bare


def run(options: Options) -> Report:
    ours, bare = asyncio.run(measure(40 if options.long else CALLS))
    peer = f"bare pair, aiortc {version('aiortc')}"
    return Report(
        "setup",
        machine(),
        [
            row(
                "initiate to first picture, warm",
                "ms",
                statistics.median(ours[1:]),
                peer=peer,
                peer_value=statistics.median(bare[1:]),
                aim=Aim(most=2.0),
            ),
            row("slowest warm call", "ms", max(ours[1:]), peer=peer, peer_value=max(bare[1:])),
            row("first call", "ms", ours[0], peer=peer, peer_value=bare[0]),
        ],
        [f"medians of {len(ours) - 1} interleaved warm calls, 640x360 VP8 and Opus on loopback"],
    )
