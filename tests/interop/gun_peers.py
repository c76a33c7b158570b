"""Real gun.js programs as test peers: a relay, and clients driven by JSON lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.peers import NODE_PEERS, need

DEADLINE_S = 20.0


class NodeProgram:
    """A node script: JSON lines out, ended through its stdin or killed by its pid."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.ready: dict[str, Any] = {}

    @classmethod
    async def spawn(cls, script: str, *args: str) -> NodeProgram:
        need("gun")
        process = await asyncio.create_subprocess_exec(
            need("node"),
            str(NODE_PEERS / script),
            *args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=16 * 1024 * 1024,
        )
        program = cls(process)
        while not program.ready.get("ready"):
            program.ready = await asyncio.wait_for(program.line(), DEADLINE_S)
        return program

    async def line(self) -> dict[str, Any]:
        """The next JSON line; gun.js greets in prose before."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            with contextlib.suppress(ValueError):
                parsed = json.loads(line)
                if isinstance(parsed, dict):
                    return parsed
        raise EOFError("the node program ended")

    def write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def stop(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        # the pipes' transports close with the loop's next turns; without this they warn when collected
        self._process._transport.close()


class GunJsRelay:
    """gun.js as relay; ``restart`` keeps port and data."""

    def __init__(self, folder: Path, *, axe: bool) -> None:
        self._folder = folder
        self._axe = axe
        self._program: NodeProgram | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/gun"

    async def start(self) -> None:
        self._program = await NodeProgram.spawn(
            "gun_relay.js", str(self.port), str(self._folder), str(self._axe).lower()
        )
        self.port = self._program.ready["port"]

    async def stop(self) -> None:
        if self._program is not None:
            await self._program.stop()
            self._program = None


class GunJsClient:
    """gun.js as client. ``heard[name]`` collects what a watch was told."""

    def __init__(self, program: NodeProgram) -> None:
        self._program = program
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self.heard: dict[str, asyncio.Queue[tuple[str, Any]]] = {"connected": asyncio.Queue()}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def spawn(cls, build: str, url: str, folder: Path) -> GunJsClient:
        return cls(await NodeProgram.spawn("gun_client.js", build, url, str(folder)))

    async def call(self, op: str, **params: Any) -> Any:
        number = len(self._calls)
        self._calls[number] = asyncio.get_running_loop().create_future()
        self._program.write({"call": number, "op": op, **params})
        return await asyncio.wait_for(self._calls[number], DEADLINE_S)

    def tell(self, op: str, **params: Any) -> None:
        """A call whose answer may never come, such as a put made offline."""
        number = len(self._calls)
        self._calls[number] = asyncio.get_running_loop().create_future()
        self._program.write({"call": number, "op": op, **params})

    def forget(self, name: str) -> None:
        """Only what a watch hears from now on counts."""
        self.heard[name] = asyncio.Queue()

    async def watch(self, op: str, name: str, path: list[str]) -> None:
        self.heard[name] = asyncio.Queue()
        await self.call(op, name=name, path=path)

    async def hears(self, name: str, value: Any, *, key: str | None = None) -> None:
        """Wait until a watch is told a value (and key); earlier ones are skipped."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                heard_key, heard = await self.heard[name].get()
                if heard == value and key in (None, heard_key):
                    return

    async def _read(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                line = await self._program.line()
                if "watch" in line:
                    self.heard[line["watch"]].put_nowait((line["key"], line["value"]))
                elif "call" in line and not self._calls[line["call"]].done():
                    self._calls[line["call"]].set_result(line["result"])

    async def stop(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._program.stop()


@contextlib.asynccontextmanager
async def gun_client(build: str, url: str, folder: Path) -> AsyncIterator[GunJsClient]:
    client = await GunJsClient.spawn(build, url, folder)
    try:
        yield client
    finally:
        await client.stop()
