"""The stock PyPI zerorpc server with a few methods, for clients that must also work against it.

Run with an endpoint; says ``ready`` on stdout once bound and ends with its input.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import gevent
import zerorpc


class Methods:
    def echo(self, value: object) -> object:
        return value

    def fail(self, text: str) -> None:
        raise ValueError(text)

    def slow(self, seconds: float) -> str:
        gevent.sleep(seconds)
        return "late"

    def blob(self, size: int) -> bytes:
        return bytes(size)

    @zerorpc.stream
    def count(self, n: int) -> Iterator[int]:
        return iter(range(n))


def main(endpoint: str, heartbeat_s: float) -> None:
    server = zerorpc.Server(Methods(), heartbeat=heartbeat_s)
    server.bind(endpoint)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    gevent.spawn(server.run)
    gevent.get_hub().threadpool.apply(sys.stdin.read)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
