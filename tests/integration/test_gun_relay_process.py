"""The relay as a process of its own: handshake, exit codes, and what kill -9 leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sidecar.app import exit_codes
from tests.graph_nodes import SOUL, graph_client, leaf

DEADLINE_S = 20.0


@contextlib.asynccontextmanager
async def relay_process(config: dict[str, Any] | str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sidecar.app.processes.gun_relay",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    line = config if isinstance(config, str) else json.dumps(config)
    process.stdin.write(line.encode() + b"\n")
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        process._transport.close()


async def ready_url(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), DEADLINE_S))
    assert ready["ready"] is True
    return f"http://{ready['host']}:{ready['port']}/gun"


async def ends(process: asyncio.subprocess.Process) -> int:
    return await asyncio.wait_for(process.wait(), DEADLINE_S)


def config(folder: Path | None, port: int = 0) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "data_dir": None if folder is None else str(folder)}


async def test_it_serves_until_its_stdin_ends() -> None:
    async with relay_process(config(None)) as process:
        async with graph_client(await ready_url(process)) as client:
            key, value = leaf("x")
            await client.put_leaf(SOUL, key, value)
            assert await client.read_leaves(SOUL, timeout_s=5) == {key: value}
        assert process.stdin is not None
        process.stdin.close()
        assert await ends(process) == exit_codes.CLEAN


async def test_sigterm_drains_and_ends_it(tmp_path: Path) -> None:
    async with relay_process(config(tmp_path)) as process:
        await ready_url(process)
        process.send_signal(signal.SIGTERM)
        assert await ends(process) == exit_codes.CLEAN


async def test_nothing_acknowledged_is_lost_to_kill_9(tmp_path: Path) -> None:
    sent = dict(leaf(f"{number}" + "x" * 2_000) for number in range(100))
    async with relay_process(config(tmp_path)) as process:
        async with graph_client(await ready_url(process)) as client:
            await asyncio.gather(*(client.put_leaf(SOUL, key, value) for key, value in sent.items()))
            process.kill()
            await ends(process)
    async with relay_process(config(tmp_path)) as process:
        async with graph_client(await ready_url(process)) as client:
            assert await client.read_leaves(SOUL, timeout_s=5) == sent


async def test_a_port_in_use_is_the_environments_fault(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with relay_process(config(tmp_path, taken.getsockname()[1])) as process:
            assert await ends(process) == exit_codes.ENVIRONMENT


async def test_a_folder_that_cannot_be_used_is_the_environments_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    async with relay_process(config(tmp_path / "file")) as process:
        assert await ends(process) == exit_codes.ENVIRONMENT


async def test_a_configuration_that_is_none_is_bad_usage() -> None:
    for line in ("{bad", '{"port":"x"}', "[]"):
        async with relay_process(line) as process:
            assert await ends(process) == exit_codes.USAGE
