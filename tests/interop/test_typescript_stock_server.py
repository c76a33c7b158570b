"""The TypeScript client against the stock PyPI zerorpc server: the wire is zerorpc's, not only ours."""

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

pytestmark = pytest.mark.real_peer("zerorpc")
SERVER = Path(__file__).parent / "stock_server.py"


@pytest.fixture(scope="module", autouse=True)
def package() -> None:
    build(PACKAGE)


@asynccontextmanager
async def stock_server(tmp_path: Path, heartbeat_s: float = 5) -> AsyncIterator[tuple[str, Any]]:
    endpoint = f"ipc://{tmp_path}/stock"
    async with started([sys.executable, str(SERVER), endpoint, str(heartbeat_s)]) as process:
        assert await line(process) == "ready"
        yield endpoint, process


async def drive(tmp_path: Path, scenario: str, heartbeat_s: float = 5) -> Any:
    options = json.dumps({"heartbeatMs": int(heartbeat_s * 1000)})
    async with stock_server(tmp_path, heartbeat_s) as (endpoint, _):
        return await node(PEERS / "rpc.mjs", endpoint, scenario, options)


async def test_calls_carry_every_kind_of_value(tmp_path: Path) -> None:
    assert await drive(tmp_path, "calls") == {"same": True}


async def test_an_error_keeps_its_name_and_loses_its_traceback(tmp_path: Path) -> None:
    error = await drive(tmp_path, "error")
    assert (error["class"], error["code"], error["message"]) == ("SidecarError", "ValueError", "on purpose")
    assert "details" not in error


async def test_a_stream_of_5000_items_arrives_in_order(tmp_path: Path) -> None:
    assert await drive(tmp_path, "stream") == {"count": 5000, "ordered": True}


async def test_a_reply_of_20_megabytes(tmp_path: Path) -> None:
    assert await drive(tmp_path, "blob") == {"bytes": 20_000_000}


async def test_200_concurrent_calls(tmp_path: Path) -> None:
    assert await drive(tmp_path, "concurrent") == {"right": 200}


async def test_a_call_longer_than_several_heartbeats_is_not_given_up(tmp_path: Path) -> None:
    assert await drive(tmp_path, "patience", heartbeat_s=0.2) == "late"


async def test_a_stopped_server_is_lost_after_two_heartbeats(tmp_path: Path) -> None:
    async with (
        stock_server(tmp_path, heartbeat_s=0.2) as (endpoint, server),
        started(["node", str(PEERS / "rpc.mjs"), endpoint, "lost", '{"heartbeatMs": 200}']) as client,
    ):
        assert await line(client) == "waiting"
        server.send_signal(signal.SIGSTOP)
        error = json.loads(await line(client))
        assert (error["class"], error["code"]) == ("LostRemoteError", "client.lost-remote")


async def test_a_killed_server_is_noticed_at_once(tmp_path: Path) -> None:
    async with (
        stock_server(tmp_path) as (endpoint, server),
        started(["node", str(PEERS / "rpc.mjs"), endpoint, "lost"]) as client,
    ):
        assert await line(client) == "waiting"
        server.kill()
        error = json.loads(await line(client, timeout_s=5))
        assert error["class"] == "LostRemoteError"
