"""Relays that peer: links that come back, changes that go both ways and come to rest."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sidecar.app import exit_codes
from sidecar.errors import LocalError
from sidecar.graph.server import GraphServer
from tests.graph_nodes import graph_relay
from tests.sidecars import relay, spawn

DEADLINE_S = 20.0


async def health(url: str) -> dict[str, Any]:
    """What ``/healthz`` says."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    raw = await asyncio.wait_for(reader.read(), DEADLINE_S)
    writer.close()
    answer = json.loads(raw.partition(b"\r\n\r\n")[2])
    assert isinstance(answer, dict)
    return answer


async def until(url: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Asks until it is so: a link tells nobody when it is there."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds(answer := await health(url)):
            pass
    return answer


async def linked(url: str) -> None:
    """All peers of this relay are connected."""
    await until(url, lambda answer: answer["problems"] == [])


# The link


async def test_a_peer_that_is_away_is_named_and_connected_when_it_is_back() -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = contextlib.AsyncExitStack()
        upper: GraphServer
        upper, upper_url = await first.enter_async_context(graph_relay())
        _, url = await stack.enter_async_context(graph_relay(peers=[upper_url]))
        await linked(url)
        assert upper.health().connections == 1
        await first.aclose()
        answer = await until(url, lambda answer: answer["status"] == "degraded")
        assert answer["problems"] == [f"peer: {upper_url} is not connected"]
        port = urlsplit(upper_url).port or 0
        await stack.enter_async_context(graph_relay(port=port))
        await linked(url)


async def test_health_shows_no_password_of_a_peers_url() -> None:
    peer = "http://user:secret@127.0.0.1:1/gun?token=secret"
    async with graph_relay(peers=[peer]) as (server, _):
        assert server.health().problems == ("peer: http://127.0.0.1:1/gun is not connected",)


async def test_a_peer_named_twice_is_connected_once_and_a_wrong_url_is_refused() -> None:
    async with graph_relay() as (upper, upper_url):
        async with graph_relay(peers=[upper_url, upper_url]) as (_, url):
            await linked(url)
            assert upper.health().connections == 1
    with pytest.raises(LocalError):
        async with graph_relay(peers=["ftp://127.0.0.1/gun"]):
            pass


async def test_the_flag_wins_over_the_configuration_and_is_checked(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"network": {"relay": {"peers": ["http://127.0.0.1:1/gun"]}}}))
    flags = ("--config", str(config))
    async with relay(tmp_path / "a", *flags) as process:
        answer = await health(process.ready["gun"])
        assert answer["problems"] == ["peer: http://127.0.0.1:1/gun is not connected"]
        async with relay(tmp_path / "b", *flags, "--peer", process.ready["gun"]) as other:
            await linked(other.ready["gun"])
    wrong = await spawn("relay", "--data", str(tmp_path / "c"), "--peer", "nowhere")
    assert await wrong.exit_code() == exit_codes.USAGE
    assert "--peer" in wrong.raw_log[-1]
