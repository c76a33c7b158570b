"""zerorpc-node's protocol code against our bridge, on zeromq 6 through its version 5 interface."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.integration.ipc_lab import Lab, lab
from tests.peers import NODE_PEERS, need

pytestmark = pytest.mark.real_peer("zerorpc-node")


async def run(bridge: Lab, what: str) -> Any:
    node, _ = need("node"), need("zerorpc-node")
    process = await asyncio.create_subprocess_exec(
        node,
        "--no-deprecation",
        "zerorpc_client.js",
        bridge.endpoint,
        what,
        cwd=NODE_PEERS,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0
    return json.loads(output)


async def test_calls_and_errors() -> None:
    async with lab() as bridge:
        now, then, pong, refused, internal, missing = await run(bridge, "calls")
        assert (now, then, pong) == ("now", "then", ["pong", "aleph-sidecar"])
        assert refused[:2] == ["invalid-params", "not now"]
        assert internal[:2] == ["internal", "internal error e1"]
        assert missing[0] == "not-implemented"


async def test_a_stream_of_1000_items_after_which_everybody_is_served() -> None:
    async with lab() as bridge:
        items, same, fresh = await run(bridge, "streamThenFreshClient")
        assert items == list(range(1000))
        assert (same, fresh) == ("same", "fresh")
        client = bridge.client()
        assert await client.call("echo", {"text": "and us"}) == "and us"
        client.close()


async def test_an_answer_of_20_megabytes() -> None:
    async with lab() as bridge:
        assert await run(bridge, "blob") == 20_000_000


async def test_200_calls_at_once() -> None:
    async with lab() as bridge:
        assert await run(bridge, "concurrent") == [str(n) for n in range(200)]
