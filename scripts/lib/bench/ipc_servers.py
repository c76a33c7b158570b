"""The servers that the ``ipc`` bench compares: ``python -m bench.ipc_servers KIND ENDPOINT``.

``ours`` is the bridge as the sidecar runs it, handlers in tasks, params checked; ``direct`` the same with
plain functions; ``stock`` the PyPI zerorpc server; ``echo`` returns each message as it came, the floor
of ZeroMQ on an asyncio loop. Each says its endpoint once bound and ends with its input.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple


def say(endpoint: str) -> None:
    sys.stdout.write(endpoint + "\n")
    sys.stdout.flush()


def event(n: int) -> dict[str, Any]:
    return {"seq": n, "event": "aleph:speaking", "data": {"callId": "call_0123456789", "speaking": True}}


async def ours(*, direct: bool = False) -> None:
    import msgspec

    from sidecar import log
    from sidecar.ipc.registry import Client, Registry
    from sidecar.ipc.zmq_server import ZmqServer
    from sidecar.schema.base import Params, Value

    class EchoParams(Params):
        text: str

    class EventsParams(Params):
        count: int

    class Data(Value):
        call_id: str
        speaking: bool

    class Event(Value):
        seq: int
        event: str
        data: Data

    class Spec(NamedTuple):
        name: str
        params: type[msgspec.Struct]
        stream: bool = False
        permission: str | None = None

    def echo_now(_: Client, params: EchoParams) -> EchoParams:
        return params

    async def echo(_: Client, params: EchoParams) -> EchoParams:
        return params

    async def events(_: Client, params: EventsParams) -> AsyncIterator[Event]:
        for n in range(params.count):
            yield Event(seq=n, event="aleph:speaking", data=Data(call_id="call_0123456789", speaking=True))

    specs = (Spec("echo", EchoParams), Spec("events", EventsParams, stream=True))
    registry = Registry(log.get("bench"), lambda: "e", {spec.name: spec for spec in specs})
    registry.channel("echo", echo_now if direct else echo)
    registry.stream("events", events)
    server = ZmqServer(registry, log.get("bench"))
    say(await server.start())
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop()


async def echo(endpoint: str) -> None:
    import zmq

    router = zmq.Context.instance().socket(zmq.ROUTER)
    router.bind(endpoint)
    loop = asyncio.get_running_loop()

    def on_readable() -> None:
        while True:
            try:
                router.send_multipart(router.recv_multipart(zmq.NOBLOCK), zmq.NOBLOCK)
            except zmq.Again:
                return

    loop.add_reader(router.fileno(), on_readable)
    say(endpoint)
    await loop.run_in_executor(None, sys.stdin.read)
    loop.remove_reader(router.fileno())
    router.close(0)


def stock(endpoint: str) -> None:
    import gevent
    import zerorpc

    logging.disable(logging.WARNING)  # it warns of every grant that crosses the end of a stream

    class Methods:
        def echo(self, params: Any) -> Any:
            return params

        @zerorpc.stream
        def events(self, params: Any) -> Iterator[Any]:
            return (event(n) for n in range(params["count"]))

    server = zerorpc.Server(Methods())
    server.bind(endpoint)
    gevent.spawn(server.run)
    say(endpoint)
    gevent.get_hub().threadpool.apply(sys.stdin.read)
    os._exit(0)


def main(kind: str, endpoint: str) -> None:
    if kind == "stock":
        stock(endpoint)
    elif kind == "echo":
        asyncio.run(echo(endpoint))
    else:
        asyncio.run(ours(direct=kind == "direct"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
