"""The stock PyPI zerorpc client against our bridge."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from tests.integration.ipc_lab import Lab, lab

pytestmark = pytest.mark.real_peer("zerorpc")


async def run(bridge: Lab, what: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.interop.zerorpc_python",
        bridge.endpoint,
        what,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0
    return json.loads(output)


async def test_calls_and_builtins() -> None:
    async with lab() as bridge:
        assert await run(bridge, "calls") == [
            "now",
            "then",
            ["pong", "aleph-sidecar"],
            "aleph-sidecar",
            ["blob", "blobs"],
            [["params"], None, None, [None]],
            None,
            ["args", "doc"],
        ]


async def test_errors_are_code_message_and_json() -> None:
    async with lab() as bridge:
        internal, refused, wrong, unknown, missing, alive = await run(bridge, "errors")
        assert internal[:2] == ["internal", "internal error e1"]
        assert "Traceback" not in internal[2]
        assert refused[:2] == ["invalid-params", "not now"]
        assert json.loads(refused[2])["details"] == {"why": "test"}
        assert wrong[0] == "invalid-params"
        assert json.loads(unknown[2])["details"] == {"field": "txt"}
        assert missing[0] == "not-implemented"
        assert alive == "alive"


async def test_a_stream_of_5000_items() -> None:
    async with lab() as bridge:
        assert await run(bridge, "stream") == list(range(5000))


async def test_a_stream_that_breaks() -> None:
    async with lab() as bridge:
        assert await run(bridge, "broken_stream") == ["internal", 300]


async def test_an_answer_of_20_megabytes() -> None:
    async with lab() as bridge:
        assert await run(bridge, "blob") == 20_000_000


async def test_200_calls_at_once() -> None:
    async with lab() as bridge:
        assert await run(bridge, "concurrent") == [str(n) for n in range(200)]


async def test_a_dropped_stream_blocks_nobody() -> None:
    async with lab() as bridge:
        assert await run(bridge, "abandoned") == [300, "fresh"]
