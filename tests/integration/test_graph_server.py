"""The relay's sockets: HTTP beside the WebSocket, limits, slow readers, draining (FAULTS R12)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sidecar.errors import UnavailableError
from sidecar.graph.core import wire
from sidecar.graph.core.router import Limits
from sidecar.graph.server import ServerLimits
from tests.graph_nodes import graph_relay, open_sqlite
from tests.security.relays import end

DEADLINE_S = 20.0


def ws(url: str, **options: Any) -> connect:
    return connect(url.replace("http", "ws"), proxy=None, compression=None, **options)


async def answer(connection: ClientConnection, at: str) -> dict[str, Any]:
    """The first message that answers ``at``."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            parsed = json.loads(await connection.recv())
            for message in parsed if isinstance(parsed, list) else [parsed]:
                if message.get("@") == at:
                    return message


async def until_closed(connection: ClientConnection) -> tuple[int, list[str]]:
    """The code the relay closed with, and what it sent before."""
    frames: list[str] = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            frames.append(str(await asyncio.wait_for(connection.recv(), DEADLINE_S)))
    assert connection.close_code is not None
    return connection.close_code, frames


def put(message_id: str, soul: str, value: str, state: float = 5) -> str:
    return json.dumps({"#": message_id, "put": {soul: {"_": {"#": soul, ">": {"k": state}}, "k": value}}})


async def http_get(url: str, path: str) -> tuple[int, dict[str, str], str]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
    raw = (await asyncio.wait_for(reader.read(), DEADLINE_S)).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = raw.partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status.split()[1]), headers, body


async def test_http_tells_date_and_health() -> None:
    async with graph_relay() as (_, url), ws(url):
        for path, status in (("/gun", 200), ("/gun?x=1", 200), ("/healthz", 200), ("/", 404), ("/x", 404)):
            code, headers, _ = await http_get(url, path)
            assert code == status
            assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["date"])
        _, headers, body = await http_get(url, "/healthz")
        assert headers["content-type"] == "application/json"
        assert json.loads(body) == {"status": "ok", "connections": 1, "problems": []}


async def test_only_the_gun_path_is_upgraded_and_a_query_is_allowed() -> None:
    async with graph_relay() as (_, url):
        async with ws(url + "?token=x") as connection:
            await connection.send('{"#":"g","get":{"#":"s"}}')
            assert (await answer(connection, "g")).keys() == {"#", "@"}
        with pytest.raises(InvalidStatus):
            await ws(url + "/other")


async def test_R12_a_frame_that_is_too_large_is_dropped_and_told_and_one_beyond_reading_closes() -> None:
    async with graph_relay(limits=Limits(frame_bytes=10_000)) as (server, url):
        async with ws(url) as good:
            bad = await ws(url)
            await bad.send(put("large", "s", "x" * 10_001))
            await bad.send(put("q", "s", "small"))
            assert (await answer(bad, "q"))["ok"] is True, "the client is not locked out"
            assert server.counters["frame-too-large"] == 1
            await bad.send("x" * (wire.MAX_READ + 1))
            code, _ = await until_closed(bad)
            assert code == 1009
            await end(bad)
            await good.send(put("p", "s", "v"))
            assert (await answer(good, "p"))["ok"] is True


async def test_R12_malformed_and_binary_frames_leave_the_connection() -> None:
    async with graph_relay() as (server, url), ws(url) as connection:
        for frame in ("{bad", "[bad", "5", b"\x00\x01", "[[]]", '{"#":"x","put":{"s":null}}'):
            await connection.send(frame)
        await connection.send(put("p", "s", "v"))
        assert (await answer(connection, "p"))["ok"] is True
        assert server.counters["bad-json"] == 2
        assert server.counters["binary"] == 1


async def test_R12_a_client_that_never_reads_is_dropped_and_holds_up_nobody() -> None:
    """The reader's socket is never read: its frames stay in the relay until the bound."""
    async with graph_relay(server_limits=ServerLimits(unsent_bytes=200_000)) as (server, url):
        async with ws(url) as writer, ws(url) as reader:
            slow = await ws(url, max_queue=1)
            await slow.send('{"#":"g1","get":{"#":"s"}}')
            await reader.send('{"#":"g2","get":{"#":"s"}}')
            await answer(reader, "g2")
            slow.transport.pause_reading()
            number = 0
            async with asyncio.timeout(DEADLINE_S):
                while not server.counters.get("slow-reader"):
                    number += 1
                    await writer.send(put(f"p{number}", "s", "x" * 50_000, number))
                    assert (await answer(writer, f"p{number}"))["ok"] is True
                    while json.loads(await reader.recv()).get("#") != f"p{number}":
                        pass
            slow.transport.abort()


async def test_a_flood_is_read_slowly_and_others_are_served() -> None:
    limits = ServerLimits(messages_per_s=100, burst=50)
    async with graph_relay(server_limits=limits) as (server, url):
        async with ws(url) as flooder, ws(url) as calm:
            await flooder.send(json.dumps([json.loads(put(f"p{n}", "s", "v", n)) for n in range(60)]))
            await flooder.send(put("last", "s", "v"))
            await calm.send(put("calm", "t", "v"))
            assert (await answer(calm, "calm"))["ok"] is True
            assert (await answer(flooder, "last"))["ok"] is True
        assert server.counters["slowed"] >= 1


async def test_the_number_of_connections_is_bounded() -> None:
    async with graph_relay(server_limits=ServerLimits(connections=1)) as (_, url), ws(url):
        with pytest.raises(InvalidStatus) as caught:
            await ws(url)
        assert caught.value.response.status_code == 503


async def test_a_port_in_use_is_unavailable() -> None:
    async with graph_relay() as (_, url):
        with pytest.raises(UnavailableError, match="cannot listen"):
            async with graph_relay(port=urlsplit(url).port or 0):
                pass


async def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    for run in range(2):
        store = open_sqlite(tmp_path / "gun.db")
        async with graph_relay(store) as (_, url), ws(url) as connection:
            for number in range(run * 10, 10):
                await connection.send(put(f"p{number}", f"s{number}", "v"))
                assert (await answer(connection, f"p{number}"))["ok"] is True
            await connection.send('{"#":"g","get":{"#":"s7"}}')
            assert (await answer(connection, "g"))["put"]["s7"]["k"] == "v"
        store.close()


async def test_stopping_acknowledges_what_is_being_written(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path / "gun.db")
    async with graph_relay(store) as (server, url):
        connection = await ws(url)
        await connection.send(json.dumps([put(f"p{number}", "s", "v", number) for number in range(200)]))
        await answer(connection, "p0")
        await server.stop()
        code, frames = await until_closed(connection)
        assert code == 1001
        assert sum('"ok":true' in frame for frame in frames) == 199
    store.close()
