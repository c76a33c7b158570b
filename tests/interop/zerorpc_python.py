"""The stock PyPI zerorpc client doing one thing to an endpoint; prints JSON. A process: it runs on gevent."""

from __future__ import annotations

import json
import sys
from typing import Any

import gevent
import zerorpc


def calls(client: zerorpc.Client) -> Any:
    return [
        client("echo", {"text": "now"}),
        client("later", {"text": "then"}),
        client("_zerorpc_ping"),
        client("_zerorpc_name"),
        sorted(client("_zerorpc_list"))[:2],
        client("_zerorpc_args", "echo"),
        client("_zerorpc_help", "echo"),
        sorted(client("_zerorpc_inspect")["methods"]["echo"]),
    ]


def errors(client: zerorpc.Client) -> Any:
    got = []
    for channel, params in (
        ("fail", {"text": "value"}),
        ("refuse", None),
        ("echo", {"text": 5}),
        ("echo", {"txt": "a"}),
        ("nix", None),
    ):
        try:
            client(channel, params)
        except zerorpc.RemoteError as error:
            got.append([error.name, error.msg, error.traceback])
    got.append(client("echo", {"text": "alive"}))
    return got


def stream(client: zerorpc.Client) -> Any:
    return list(client("count", {"size": 5000}))


def broken_stream(client: zerorpc.Client) -> Any:
    got = []
    try:
        got.extend(client("break", {"size": 300}))
    except zerorpc.RemoteError as error:
        return [error.name, len(got)]
    return got


def blob(client: zerorpc.Client) -> Any:
    return len(client("blob", {"size": 20_000_000}))


def concurrent(client: zerorpc.Client) -> Any:
    jobs = [gevent.spawn(client, "later", {"text": str(n)}) for n in range(200)]
    gevent.joinall(jobs, raise_error=True)
    return [job.value for job in jobs]


def abandoned(client: zerorpc.Client) -> Any:
    """Reads some of a stream and drops it, which wedges this client for good: a fresh one is answered."""
    items = iter(client("count", {"size": 5000}))
    got = [next(items) for _ in range(300)]
    del items
    return [len(got), zerorpc.Client(sys.argv[1])("echo", {"text": "fresh"})]


def main() -> None:
    client = zerorpc.Client(sys.argv[1], timeout=60)
    sys.stdout.write(json.dumps(globals()[sys.argv[2]](client)))


if __name__ == "__main__":
    main()
