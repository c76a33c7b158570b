"""The built TypeScript packages and programs that use them, for the tests beside this file."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.peers import ROOT, need

PACKAGE = ROOT / "bindings" / "typescript"
ELECTRON_PACKAGE = ROOT / "bindings" / "electron"
PEERS = PACKAGE / "test" / "peer"


def build(package: Path) -> None:
    """Builds a package whose sources are newer than its dist; skips where its npm packages are missing."""
    need("node")
    dist = package / "dist"
    if (package / "node_modules").is_dir() and _stale(package, dist):
        run = subprocess.run(["npm", "run", "--silent", "build"], cwd=package, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
        dist.touch()
    need("typescript-client")


def compile_tests(package: Path) -> None:
    """Compiles a built package's tests and the programs they use into its ``dist/test``."""
    run = subprocess.run(
        [package / "node_modules" / ".bin" / "tsc", "-p", "tsconfig.test.json"],
        cwd=package,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout


def _stale(package: Path, dist: Path) -> bool:
    if not dist.is_dir():
        return True
    sources = [package / "package.json", *(path for path in (package / "src").rglob("*") if path.is_file())]
    return any(source.stat().st_mtime > dist.stat().st_mtime for source in sources)


async def node(script: Path, *args: str, env: Mapping[str, str] | None = None, timeout_s: float = 60) -> Any:
    """Runs a program to its end and gives the JSON of its last line."""
    async with started(["node", str(script), *args], env=env) as process:
        out = await asyncio.wait_for(process.stdout.read(), timeout_s)
        await asyncio.wait_for(process.wait(), 5)
        assert process.returncode == 0, (await process.stderr.read()).decode()
        return json.loads(out.decode().splitlines()[-1])


@asynccontextmanager
async def started(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program with its three pipes, gone when the block ends."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env) if env is not None else None,
        cwd=cwd,
        limit=1 << 24,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        # Reads what is left, so that the pipes are closed with the process.
        await process.communicate()


async def line(process: asyncio.subprocess.Process, timeout_s: float = 30) -> str:
    """The next line of a program's output; its errors, if it ended instead."""
    assert process.stdout is not None
    assert process.stderr is not None
    text = (await asyncio.wait_for(process.stdout.readline(), timeout_s)).decode().strip()
    assert text, f"it ended: {(await process.stderr.read()).decode()}"
    return text


class Exit:
    """The end of a process that is not our child, seen even if nobody reaps it."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    async def wait(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.add_reader(self._fd, ended.set_result, None)
        try:
            await asyncio.wait_for(ended, timeout_s)
        finally:
            loop.remove_reader(self._fd)
            os.close(self._fd)
