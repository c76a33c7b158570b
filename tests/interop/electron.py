"""A real Electron under Xvfb, running the example application, for the tests beside this file."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.interop.typescript import ELECTRON_PACKAGE, PACKAGE, line, started
from tests.peers import ROOT, need

EXAMPLE = ROOT / "bindings" / "example" / "electron"
HARNESS = ELECTRON_PACKAGE / "test" / "harness.cjs"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-software-rasterizer")


def install_example(folder: Path) -> Path:
    """A copy of the example as ``npm install && npm run bundle`` would leave it."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    scope = folder / "node_modules" / "@alephnet"
    scope.mkdir(parents=True)
    (scope / "sidecar").symlink_to(PACKAGE)
    (scope / "sidecar-electron").symlink_to(ELECTRON_PACKAGE)
    bundle = json.loads((folder / "package.json").read_text())["scripts"]["bundle"]
    path = f"{ELECTRON_PACKAGE / 'node_modules' / '.bin'}:{os.environ['PATH']}"
    run = subprocess.run(
        ["sh", "-c", bundle], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return folder


@dataclass
class Page:
    """The page of the running application."""

    process: asyncio.subprocess.Process
    electron: str

    async def run(self, code: str, timeout_s: float = 30) -> Any:
        """Evaluates an expression, awaiting it if it is a promise."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{' '.join(code.split())}\n".encode())
        answer = json.loads(await line(self.process, timeout_s))
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def sidecars(self) -> list[psutil.Process]:
        """The processes the application spawned, its own kind aside."""
        mine = psutil.Process(self.process.pid)
        return [child for child in mine.children() if "electron" not in child.exe()]

    async def navigate(self, url: str) -> None:
        """Sends the page elsewhere by its own script and waits until it is there."""
        assert await self.run(f"void setTimeout(() => {{ location.href = {json.dumps(url)}; }})") is None
        assert json.loads(await line(self.process))["loaded"] == url

    async def quit(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await asyncio.wait_for(self.process.wait(), 30)


@asynccontextmanager
async def display() -> AsyncIterator[str]:
    """A virtual screen; its number is its own choice."""
    need("xvfb")
    read, write = os.pipe()
    server = await asyncio.create_subprocess_exec(
        "Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp", "-noreset",
        pass_fds=[write], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            number = await asyncio.wait_for(asyncio.to_thread(pipe.readline), 30)
        yield f":{number.strip()}"
    finally:
        server.terminate()
        await server.wait()


@asynccontextmanager
async def application(folder: Path, user_data: Path, env: Mapping[str, str]) -> AsyncIterator[Page]:
    """The application in ``folder``, loaded, with ``user_data`` as its own; killed if it does not quit."""
    command = [need("electron"), *FLAGS, str(HARNESS), str(folder), str(user_data)]
    async with (
        display() as number,
        started(command, env={**os.environ, "DISPLAY": number, **env}) as process,
    ):
        ready = json.loads(await line(process, timeout_s=60))
        yield Page(process, ready["electron"])
