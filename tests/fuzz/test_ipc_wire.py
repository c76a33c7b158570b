"""The wire under damaged and hostile input, fixed seed: it never raises, never grows, and still serves."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import msgpack
import pytest
from msgspec import Raw

from sidecar import log
from sidecar.errors import SidecarError
from sidecar.ipc.registry import Client, Registry
from sidecar.ipc.wire.client import ClientWire
from sidecar.ipc.wire.directory import Directory
from sidecar.ipc.wire.limits import Limits
from sidecar.ipc.wire.messages import MessageIds
from sidecar.ipc.wire.server import Call, ServerWire
from sidecar.schema import CHANNELS

SEED = 20261122
NAMES = [
    "call:get",
    "events",
    "_zpc_more",
    "_zpc_hb",
    "_zpc_cancel",
    "_zerorpc_list",
    "_zerorpc_help",
    "OK",
    "STREAM",
    "",
]
IDS: list[Any] = ["a", b"a", "b" * 36, b"c" * 62, "d" * 500, 7, None, ["a"], {"a": 1}, "", b"", 2**63, 1.5]


def value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(12 if depth < 4 else 9)
    if kind < 9:
        return rng.choice(
            [None, True, 0, -1, 2**64 - 1, -(2**63), 1.5, float("nan"), "", "callId", "x" * 300, b"\xff" * 20]
        )
    if kind == 9:
        return [value(rng, depth + 1) for _ in range(rng.randrange(5))]
    if kind == 10:
        return {
            rng.choice(["callId", "userId", "type", "x"]): value(rng, depth + 1)
            for _ in range(rng.randrange(4))
        }
    return msgpack.ExtType(rng.randrange(128), bytes(rng.randrange(9)))


def message(rng: random.Random) -> bytes:
    header: Any = {"message_id": rng.choice(IDS), "v": rng.choice([3, 2, None, "3"])}
    if rng.random() < 0.5:
        header["response_to"] = rng.choice(IDS)
    if rng.random() < 0.1:
        header = value(rng)
    name = rng.choice(NAMES) if rng.random() < 0.9 else value(rng)
    whole = [header, name, value(rng) if rng.random() < 0.5 else [value(rng)]]
    return msgpack.packb(whole if rng.random() < 0.95 else value(rng))


def damaged(rng: random.Random) -> bytes:
    payload = bytearray(message(rng))
    for _ in range(rng.randrange(4)):
        where = rng.randrange(len(payload))
        match rng.randrange(4):
            case 0:
                payload[where] = rng.randrange(256)
            case 1:
                del payload[where:]
            case 2:
                payload[where:where] = rng.randbytes(rng.randrange(6))
            case _:
                payload[where:where] = rng.choice(
                    [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 3000]
                )
        if not payload:
            break
    return bytes(payload)


async def no_items() -> AsyncIterator[None]:
    return
    yield


def rounds(long_run: bool) -> int:
    return 500_000 if long_run else 20_000


def test_I01_the_server_survives_anything_and_still_serves(long_run: bool) -> None:
    rng = random.Random(SEED)
    limits = Limits(channels_per_client=20, channels=30)
    wire = ServerWire(Directory("fuzz", {}), MessageIds("s"), limits=limits)
    for identity in (b"A", b"B"):
        wire.connect(identity)
    now, open_calls = 0.0, []
    for _ in range(rounds(long_run)):
        now += rng.random() * 0.5
        event = wire.receive(rng.choice([b"A", b"B", b"C"]), damaged(rng), now)
        if isinstance(event, Call):
            open_calls.append(event.channel)
        wire.handle_timer(now)
        open_calls = [channel for channel in open_calls if channel.open]
        assert len(open_calls) <= limits.channels
        if open_calls and rng.random() < 0.3:
            channel = rng.choice(open_calls)
            if channel.allowance.left and rng.random() < 0.5:
                wire.item(channel, 1)
            else:
                wire.ok(channel, 1)
        for outgoing in wire.take_outgoing():
            assert len(outgoing.payload) < 2500
            assert msgpack.unpackb(outgoing.payload)[1] in ("OK", "ERR", "STREAM", "_zpc_hb")
    assert len(wire.counters) < 30, "reasons are our words, never the sender's"
    for channel in open_calls:
        wire.ok(channel, 1)
    assert isinstance(wire.receive(b"A", msgpack.packb([{"message_id": "z"}, "call:get", [None]]), now), Call)


def test_I01_bytes_at_random(long_run: bool) -> None:
    rng = random.Random(SEED + 1)
    wire = ServerWire(Directory("fuzz", {}), MessageIds("s"))
    wire.connect(b"A")
    for _ in range(rounds(long_run)):
        assert wire.receive(b"A", rng.randbytes(rng.randrange(64)), 0.0) is None
    assert wire.take_outgoing() == []


def test_I01_the_client_survives_anything(long_run: bool) -> None:
    rng = random.Random(SEED + 2)
    wire = ClientWire(MessageIds("c"))
    now = 0.0
    for _ in range(rounds(long_run)):
        now += rng.random()
        request = wire.open("call:get", (None,), now)
        header = {"message_id": "s", "response_to": msgpack.unpackb(request.id)}
        name = rng.choice(["OK", "ERR", "STREAM", "STREAM_DONE", "_zpc_hb", "?"])
        wire.receive(msgpack.packb([header, name, value(rng)]), now)
        wire.receive(damaged(rng), now)
        wire.handle_timer(now)
        wire.cancel(request)
        wire.take_outgoing()
    assert wire.next_deadline() is None


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_I01_params_of_every_channel(name: str, long_run: bool) -> None:
    rng = random.Random(f"{SEED} {name}")
    registry = Registry(log.get("ipc"), lambda: "e")
    spec = CHANNELS[name]
    client = Client("c", frozenset({spec.permission} if spec.permission else ()))
    taken: list[Any] = []
    refused: list[SidecarError] = []
    if spec.stream:
        registry.stream(name, lambda _, params: taken.append(params) or no_items())
    else:
        registry.channel(name, lambda _, params: taken.append(params))
    for _ in range(rounds(long_run) // 100):
        args = msgpack.packb([value(rng)]) if rng.random() < 0.7 else damaged(rng)
        try:
            registry.invoke(client, name, Raw(args))
        except SidecarError as error:
            refused.append(error)
    assert {error.code.value for error in refused} == {"invalid-params"}
    assert max(len(error.message) for error in refused) < 500
    expected = spec.params or type(None)
    assert all(isinstance(params, expected) for params in taken)
