"""The TypeScript client against our own server, over a private socket: calls, streams, limits, loss."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.typescript import PACKAGE, PEERS, build, line, node, started

pytestmark = pytest.mark.real_peer("node")
SERVER = Path(__file__).parent / "our_server.py"


@pytest.fixture(scope="module", autouse=True)
def package() -> None:
    build(PACKAGE)


@asynccontextmanager
async def our_server(heartbeat_s: float = 5) -> AsyncIterator[tuple[str, Any]]:
    command = [sys.executable, "-m", "tests.interop.our_server", str(heartbeat_s)]
    async with started(command) as process:
        yield await line(process), process


async def drive(scenario: str, heartbeat_s: float = 5) -> Any:
    options = json.dumps({"wrap": True, "heartbeatMs": int(heartbeat_s * 1000)})
    async with our_server(heartbeat_s) as (endpoint, _):
        return await node(PEERS / "rpc.mjs", endpoint, scenario, options)


async def test_calls_carry_every_kind_of_value() -> None:
    assert await drive("calls") == {"same": True}


async def test_a_coded_error_arrives_with_its_details() -> None:
    error = await drive("error")
    assert (error["class"], error["code"], error["message"]) == (
        "SidecarError",
        "invalid-params",
        "on purpose",
    )
    assert error["details"] == {"field": "value"}


async def test_an_unknown_channel_is_not_implemented() -> None:
    assert (await drive("unknown"))["code"] == "not-implemented"


async def test_a_stream_of_5000_items_arrives_in_order() -> None:
    assert await drive("stream") == {"count": 5000, "ordered": True}


async def test_leaving_a_stream_ends_it_at_the_server() -> None:
    assert await drive("leave") == {"seen": [0, 1, 2], "live": 0}


async def test_a_reply_of_20_megabytes() -> None:
    assert await drive("blob") == {"bytes": 20_000_000}


async def test_200_concurrent_calls() -> None:
    assert await drive("concurrent") == {"right": 200}


async def test_an_aborted_call_ends_at_the_server() -> None:
    result = await drive("abort")
    assert (result["error"]["class"], result["error"]["code"]) == ("AbortError", "client.aborted")
    assert result["live"] == 0


async def test_a_call_that_takes_too_long_ends_at_the_server() -> None:
    result = await drive("timeout")
    assert (result["error"]["class"], result["error"]["code"]) == ("TimeoutError", "client.timeout")
    assert result["live"] == 0


async def test_a_call_longer_than_several_heartbeats_is_not_given_up() -> None:
    assert await drive("patience", heartbeat_s=0.2) == "late"


async def test_i04_a_stopped_server_is_lost_after_two_heartbeats() -> None:
    options = json.dumps({"wrap": True, "heartbeatMs": 200})
    async with (
        our_server(heartbeat_s=0.2) as (endpoint, server),
        started(["node", str(PEERS / "rpc.mjs"), endpoint, "lost", options]) as client,
    ):
        assert await line(client) == "waiting"
        server.send_signal(signal.SIGSTOP)
        error = json.loads(await line(client))
        assert (error["class"], error["code"]) == ("LostRemoteError", "client.lost-remote")
        server.send_signal(signal.SIGCONT)
        assert await node(PEERS / "rpc.mjs", endpoint, "live", options) == 0


async def test_a_killed_server_is_noticed_at_once() -> None:
    async with (
        our_server() as (endpoint, server),
        started(["node", str(PEERS / "rpc.mjs"), endpoint, "lost", '{"wrap": true}']) as client,
    ):
        assert await line(client) == "waiting"
        server.kill()
        error = json.loads(await line(client, timeout_s=5))
        assert error["class"] == "LostRemoteError"
        assert error["ms"] < 2500
