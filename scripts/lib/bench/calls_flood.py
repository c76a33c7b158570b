"""200 sealed signals a second from strangers at a real sidecar, by a real relay, while a friend calls."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from sidecar.app.system_clock import SystemRandom
from sidecar.errors import SidecarError
from sidecar.graph.client import GraphClient
from sidecar.signaling.messages import InviteBody, Kind
from sidecar.signaling.outbox import Message, Outbox, Recipient
from sidecar.signaling.sealing import Leaf
from sidecar.trust import identity, pairwise
from tests.graph_nodes import graph_client
from tests.sidecars import Sidecar, pair, relay

PER_S = 200
SECONDS = 10.0
STRANGERS = 100
SETTLE_S = 2.0
"""After the nodes say that they are healthy, before their idle cost is measured."""


@dataclass(frozen=True, slots=True)
class Flood:
    """CPU of the core process in percent of one core, times until a call rings in milliseconds."""

    idle: float
    busy: float
    calm_ms: float
    ring_ms: float
    sent: int
    strangers: int
    seconds: float


async def measure(rounds: int) -> Flood:
    """``rounds`` floods; medians."""
    with tempfile.TemporaryDirectory(prefix="aleph-bench-") as folder:
        place = Path(folder)
        async with relay(place / "relay") as gun:
            url = gun.ready["gun"]
            async with pair(place, [url]) as (alice, bob), graph_client(url) as client:
                await asyncio.sleep(SETTLE_S)
                idle, calm_ms = await _watched(alice, bob)
                found, sent, seconds = [], 0, 0.0
                for _ in range(rounds):
                    leaves = _leaves(bob)
                    flood = asyncio.create_task(_send(client, leaves))
                    found.append(await _watched(alice, bob))
                    sent, seconds = await flood
    busy, ring_ms = (statistics.median(values) for values in zip(*found, strict=True))
    return Flood(idle, busy, calm_ms, ring_ms, sent, STRANGERS, seconds)


async def _watched(alice: Sidecar, bob: Sidecar) -> tuple[float, float]:
    """CPU percent of Bob's core process over the time of a flood, and how soon Alice's call rang in it."""
    process = psutil.Process(bob.pid)
    before, began = _cpu_s(process), time.monotonic()
    await asyncio.sleep(SECONDS / 2)
    ring_ms = await _ring(alice, bob)
    await asyncio.sleep(max(0.0, SECONDS - (time.monotonic() - began)))
    return 100 * (_cpu_s(process) - before) / (time.monotonic() - began), ring_ms


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _ring(alice: Sidecar, bob: Sidecar) -> float:
    """From the command to the event, and hangs up."""
    began = time.monotonic()
    session = await alice.call("call:initiate", userId=bob.me["userId"], type="audio")
    await bob.event("aleph:callOffer", callId=session["id"])
    took_ms = 1000 * (time.monotonic() - began)
    await alice.call("call:end", callId=session["id"])
    return took_ms


def _leaves(bob: Sidecar) -> list[Leaf]:
    """Invitations of many strangers, signed and sealed as ours would."""
    random, now_ms = SystemRandom(), round(time.time() * 1000)
    leaves: list[Leaf] = []
    people = [identity.generate(random.bytes(32)) for _ in range(STRANGERS)]
    for number in range(round(PER_S * SECONDS)):
        me = people[number % STRANGERS]
        shared = pairwise.shared_secret(me.seed, _raw(bob.me["publicKey"]))
        if shared is None:
            raise RuntimeError("the sidecar has no usable key")
        to = Recipient(bob.me["userId"], bob.me["publicKey"], False, shared)
        outbox = Outbox(me, random.bytes(8).hex(), epoch=random.bytes(8).hex(), random=random)
        body = InviteBody(call_type="audio", session=random.bytes(16).hex(), display_name="A stranger")
        message = Message(f"call_{number}", Kind.INVITE, body, 0, 60.0, None)
        leaves += outbox.write(message, to, now_ms, 0.0)
    return leaves


def _raw(pub: str) -> bytes:
    return identity.raw_public_key(pub) or b""


async def _send(client: GraphClient, leaves: list[Leaf]) -> tuple[int, float]:
    """Puts them evenly; how many in how many seconds."""
    began = time.monotonic()
    puts = []
    for number, leaf in enumerate(leaves):
        await asyncio.sleep(max(0.0, began + number / PER_S - time.monotonic()))
        puts.append(asyncio.create_task(client.put_leaf(*leaf)))
    took = time.monotonic() - began
    for result in await asyncio.gather(*puts, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, SidecarError):
            raise result
    return len(leaves), took
