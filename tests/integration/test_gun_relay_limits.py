"""What one client or one address may cost the relay, and how the relay ends (FAULTS R08, R12)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import resource
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sidecar.app import exit_codes
from sidecar.graph.admission import SPARE_SOCKETS, ServerLimits
from sidecar.graph.core.router import Limits
from sidecar.graph.core.wire import MAX_READ
from sidecar.graph.store import MemoryStore, OnDone
from tests.graph_nodes import graph_relay
from tests.security.relays import end
from tests.sidecars import relay, spawn

DEADLINE_S = 20.0
END_WITHIN_S = 3.0
FLAGS = ("--host", "127.0.0.1", "--gun-port", "0", "--data")
NUMBERS = itertools.count()
"""A message id counts once, whoever sends it."""


def ws(url: str, **options: Any) -> connect:
    return connect(url.replace("http", "ws"), proxy=None, compression=None, **options)


def put(message_id: str, soul: str, value: str, state: float = 5) -> str:
    return json.dumps({"#": message_id, "put": {soul: {"_": {"#": soul, ">": {"k": state}}, "k": value}}})


async def answer(connection: ClientConnection, at: str) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            parsed = json.loads(await connection.recv())
            for message in parsed if isinstance(parsed, list) else [parsed]:
                if message.get("@") == at:
                    return message


async def works(connection: ClientConnection) -> None:
    """The relay answers this connection."""
    at = f"alive{next(NUMBERS)}"
    await connection.send(json.dumps({"#": at, "get": {"#": "nothing/here"}}))
    await answer(connection, at)


async def close_code(connection: ClientConnection) -> int | None:
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv()
    return connection.close_code


@contextlib.asynccontextmanager
async def raw(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def at_end(reader: asyncio.StreamReader) -> bytes:
    """What came until the relay ended the connection."""
    async with asyncio.timeout(DEADLINE_S):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


# Addresses


async def test_R12_an_address_has_a_bounded_number_of_connections() -> None:
    limits = ServerLimits(connections_per_address=2)
    async with graph_relay(server_limits=limits, trusted_addresses=()) as (server, url):
        async with ws(url) as first, ws(url):
            with pytest.raises(InvalidStatus) as caught:
                await ws(url)
            assert caught.value.response.status_code == 429
            assert server.counters["crowded-address"] == 1
            await works(first)
            async with ws(url, local_addr=("127.0.0.2", 0)) as elsewhere:
                await works(elsewhere)
        async with ws(url) as again:
            await works(again)


async def test_R08_connections_that_say_nothing_count_too_and_are_cut_beyond_the_spare_ones() -> None:
    limits = ServerLimits(connections_per_address=1)
    async with graph_relay(server_limits=limits, trusted_addresses=()) as (_, url):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(1 + SPARE_SOCKETS):
                await stack.enter_async_context(raw(url))
            async with raw(url) as (reader, _):
                assert await at_end(reader) == b""
            async with ws(url, local_addr=("127.0.0.2", 0)) as elsewhere:
                await works(elsewhere)


async def test_a_flood_from_one_address_is_read_slowly_whichever_connection_it_takes() -> None:
    limits = ServerLimits(messages_per_s_per_address=100, burst_per_address=50)
    async with graph_relay(server_limits=limits, trusted_addresses=()) as (server, url):
        async with ws(url) as one, ws(url) as other, ws(url, local_addr=("127.0.0.2", 0)) as calm:
            await one.send(json.dumps([json.loads(put(f"p{n}", "s", "v", n)) for n in range(45)]))
            await answer(one, "p44")
            await other.send(json.dumps([json.loads(put(f"q{n}", "s", "v", n)) for n in range(15)]))
            await answer(other, "q14")
            assert server.counters["slowed"] >= 1
            await works(calm)


# One connection


async def test_R12_a_ping_flood_is_closed_and_told_why() -> None:
    async with graph_relay(server_limits=ServerLimits(pings_per_s=1)) as (server, url):
        async with ws(url) as good, ws(url) as flooder:
            for _ in range(9):
                await flooder.ping()
            await works(flooder)
            with contextlib.suppress(ConnectionClosed):
                for _ in range(1_000):
                    await flooder.ping()
            assert await close_code(flooder) == 1008
            assert server.counters["ping-flood"] == 1
            await works(good)


async def test_R12_a_ping_flood_by_one_that_reads_nothing_is_cut() -> None:
    async with graph_relay(server_limits=ServerLimits(pings_per_s=1)) as (server, url):
        async with ws(url) as good:
            flooder = await ws(url)
            flooder.transport.pause_reading()
            with contextlib.suppress(ConnectionClosed, ConnectionError):
                while not server.counters.get("ping-flood"):
                    await flooder.ping()
                    await works(good)
            flooder.transport.abort()
            await works(good)


async def test_R08_a_handshake_that_never_ends_is_cut_and_holds_up_nobody() -> None:
    async with graph_relay(server_limits=ServerLimits(handshake_s=0.3)) as (_, url):
        async with raw(url) as (reader, writer), ws(url) as good:
            writer.write(b"GET /gun HTTP/1.1\r\nHost: x\r\n")
            await works(good)
            await at_end(reader)
            await works(good)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /gun HTTP/1.1\r\n" + b"X: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /gun HTTP/1.1\r\n" + b"X: x\r\n" * 1_000 + b"\r\n",
        b"POST /gun HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"\x00\x01\x02\r\n\r\n",
    ],
)
async def test_R08_a_head_that_is_too_long_or_none_ends_its_connection_only(head: bytes) -> None:
    async with graph_relay() as (_, url):
        async with ws(url) as good, raw(url) as (reader, writer):
            writer.write(head)
            assert b" 101 " not in await at_end(reader)
            await works(good)


async def test_a_relay_never_connects_out_on_a_clients_word() -> None:
    connected = asyncio.Event()
    trap = await asyncio.start_server(lambda *_: connected.set(), "127.0.0.1", 0)
    url_of_trap = f"http://127.0.0.1:{trap.sockets[0].getsockname()[1]}/gun"
    async with graph_relay() as (server, url), ws(url) as client:
        for message in (
            {"dam": "opt", "opt": {"peers": url_of_trap}},
            {"dam": "opt", "opt": {"peers": {url_of_trap: {}}}},
            {"dam": "mob", "mob": 1, "peers": {url_of_trap: {"url": url_of_trap}}},
            {"dam": "?", "pid": "x", "peers": [url_of_trap], "url": url_of_trap},
        ):
            await client.send(json.dumps({"#": f"m{message['dam']}", **message}))
        await works(client)
        assert server.peers == []
    assert not connected.is_set()
    trap.close()


async def test_R12_the_frames_of_a_slowed_flooder_wait_in_its_own_socket() -> None:
    limits = ServerLimits(messages_per_s=0.001, burst=1_000)
    async with graph_relay(server_limits=limits) as (server, url):
        async with ws(url) as good:
            flooder = await ws(url, write_limit=1 << 30)
            await flooder.send(json.dumps([{"dam": "noise"}] * 1_001))
            while not flooder.transport.get_write_buffer_size():
                await flooder.send(json.dumps({"dam": "noise", "x": "x" * 100_000}))
                await works(good)
            assert server.counters["slowed"] >= 1
            flooder.transport.abort()


# The end


class SlowStore(MemoryStore):
    """Commits when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[OnDone] = []
        self.asked = asyncio.Event()

    def write(self, changes: Any, on_done: OnDone) -> None:
        super().write(changes, self.waiting.append)  # type: ignore[arg-type]
        self.waiting[-1] = on_done
        self.asked.set()


async def test_what_arrives_while_the_relay_ends_is_not_acknowledged() -> None:
    store = SlowStore()
    async with graph_relay(store) as (server, url):
        connection = await ws(url)
        await connection.send(put("before", "s", "v"))
        await asyncio.wait_for(store.asked.wait(), DEADLINE_S)
        store.asked.clear()
        ending = asyncio.create_task(server.stop())
        await asyncio.wait_for(store.asked.wait(), DEADLINE_S)  # for what is queued
        with pytest.raises((OSError, InvalidStatus)):
            await ws(url)
        await connection.send(put("after", "t", "v"))
        pong = await connection.ping()
        await asyncio.wait_for(pong, DEADLINE_S)  # the relay has read it
        for on_done in store.waiting:
            on_done(True)
        assert (await answer(connection, "before"))["ok"] is True
        with pytest.raises(ConnectionClosed):
            await answer(connection, "after")
        assert connection.close_code == 1001
        await ending


async def test_a_disk_that_does_not_answer_does_not_keep_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.graph.server.DRAIN_S", 0.05)
    store = SlowStore()
    async with graph_relay(store) as (server, url):
        connection = await ws(url)
        await asyncio.wait_for(server.stop(), DEADLINE_S)
        assert await close_code(connection) == 1001


async def test_sigterm_ends_within_three_seconds_whatever_clients_do(tmp_path: Path) -> None:
    async with relay(tmp_path) as process:
        url = process.ready["gun"]
        polite, mute = await ws(url), await ws(url, max_queue=1)
        mute.transport.pause_reading()
        await mute.send('{"#":"g","get":{"#":"s"}}')
        await works(polite)
        await polite.send(json.dumps([put(f"p{n}", "s", "x" * 1_000, n) for n in range(100)]))
        await answer(polite, "p0")
        async with raw(url) as (_, writer):
            writer.write(b"GET /gun HTTP/1.1\r\n")
            begun = time.monotonic()
            process.process.send_signal(signal.SIGTERM)
            assert await close_code(polite) == 1001
            assert await process.exit_code() == exit_codes.CLEAN
            assert time.monotonic() - begun < END_WITHIN_S
        mute.transport.abort()


async def test_a_second_sigterm_ends_at_once(tmp_path: Path) -> None:
    async with relay(tmp_path) as process:
        mute = await ws(process.ready["gun"])
        mute.transport.pause_reading()
        process.process.send_signal(signal.SIGTERM)
        await process.log.wait(lambda line: line.get("msg") == "shutdown begins")
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code(timeout_s=1.5) == exit_codes.CLEAN
        mute.transport.abort()


async def test_frames_and_limits_of_the_configuration_file_hold(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    limits = {"frameBytes": 2_000, "connections": 1}
    config.write_text(json.dumps({"network": {"relay": {"limits": limits}}}))
    async with relay(tmp_path / "data", "--config", str(config)) as process:
        only = await ws(process.ready["gun"])
        with pytest.raises(InvalidStatus):
            await ws(process.ready["gun"])
        await only.send("x" * 2_001)
        while (message := json.loads(await only.recv())).get("dam") != "!":
            pass
        assert message["err"] == "Message too big!"
        await only.send("x" * (MAX_READ + 1))
        assert await close_code(only) == 1009
        await end(only)
    assert Limits().frame_bytes > 2_000


async def test_the_relay_may_open_as_many_descriptors_as_it_takes_clients(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def start_low() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, soft), hard))

    process = await spawn("relay", *FLAGS, str(tmp_path), preexec_fn=start_low)
    await process.first_line()
    now_soft, _ = psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert now_soft >= min(ServerLimits().connections, hard)
    await process.kill()
