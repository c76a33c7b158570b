"""Our zerorpc server with the methods of stock_server.py, for clients that are compared on both.

Run with a heartbeat interval; says its endpoint on stdout once bound and ends with its input. ``live`` counts
the calls and streams that run, ``emit`` makes events; ``system:hello`` and ``events`` are a sidecar's.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from sidecar import log
from sidecar.app.channels import events
from sidecar.errors import LocalError
from sidecar.ipc.events import EventHub
from sidecar.ipc.registry import Client, Registry
from sidecar.ipc.zmq_server import ZmqServer
from sidecar.schema import CHANNELS, PROTOCOL, Hello, SelfInfo, Speaking


class Value(msgspec.Struct):
    value: msgspec.Raw


class Text(msgspec.Struct):
    value: str


class Number(msgspec.Struct):
    value: float


class Spec(NamedTuple):
    name: str
    params: type[msgspec.Struct] | None
    stream: bool = False
    permission: str | None = None


SPECS = (
    Spec("echo", Value),
    Spec("fail", Text),
    Spec("slow", Number),
    Spec("blob", Number),
    Spec("count", Number, stream=True),
    Spec("live", None),
    Spec("emit", Number),
)


def echo(_: Client, params: Value) -> msgspec.Raw:
    return params.value


def fail(_: Client, params: Text) -> None:
    raise LocalError(params.value, details={"field": "value"})


async def slow(_: Client, params: Number) -> str:
    await asyncio.sleep(params.value)
    return "late"


def blob(_: Client, params: Number) -> bytes:
    return bytes(int(params.value))


async def count(_: Client, params: Number) -> AsyncIterator[int]:
    for n in range(int(params.value)):
        yield n


def emit(hub: EventHub, count: int) -> int:
    """Makes events whose call ids count up; gives the number of the last."""
    for _ in range(count):
        hub.emit("aleph:speaking", Speaking(call_id=f"n{hub.seq + 1}", user_id="u", speaking=True))
    return hub.seq


def hello(hub: EventHub) -> Hello:
    me = SelfInfo(user_id="0123456789abcdef", public_key="k", device="0123456789abcdef")
    return Hello(protocol=PROTOCOL, schema="", features=[], self=me, calls=[], seq=hub.seq)


async def main(heartbeat_s: float) -> None:
    channels = {spec.name: spec for spec in SPECS}
    channels |= {name: CHANNELS[name] for name in ("system:hello", "events")}
    registry = Registry(log.get("test"), lambda: "e1", channels)
    hub = EventHub()
    events.register(registry, hub)
    server = ZmqServer(registry, log.get("test"), heartbeat_s=heartbeat_s)
    for call in (echo, fail, slow, blob):
        registry.channel(call.__name__, call)
    registry.stream("count", count)
    registry.channel("live", lambda *_: server.active)
    registry.channel("emit", lambda _, params: emit(hub, int(params.value)))
    registry.channel("system:hello", lambda *_: hello(hub))
    sys.stdout.write(await server.start() + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
