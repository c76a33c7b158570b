"""Our zerorpc server with the methods of stock_server.py, for clients that are compared on both.

Run with a heartbeat interval; says its endpoint on stdout once bound and ends with its input. ``live`` counts
the calls and streams that run.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from sidecar import log
from sidecar.errors import LocalError
from sidecar.ipc.registry import Client, Registry
from sidecar.ipc.zmq_server import ZmqServer


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


async def main(heartbeat_s: float) -> None:
    registry = Registry(log.get("test"), lambda: "e1", {spec.name: spec for spec in SPECS})
    server = ZmqServer(registry, log.get("test"), heartbeat_s=heartbeat_s)
    for call in (echo, fail, slow, blob):
        registry.channel(call.__name__, call)
    registry.stream("count", count)
    registry.channel("live", lambda *_: server.active)
    sys.stdout.write(await server.start() + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
