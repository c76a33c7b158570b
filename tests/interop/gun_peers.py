"""Real gun.js programs as test peers: a relay, clients driven by JSON lines; and our relay beside them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.peers import NODE_PEERS, need
from tests.sidecars import Process, spawn

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


class OurRelay:
    """``aleph-sidecar relay`` with the interface of :class:`GunJsRelay`."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self._folder = folder
        self._flags = flags
        self.process: Process | None = None
        self.up = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/gun"

    async def start(self) -> None:
        flags = (
            "--host",
            "127.0.0.1",
            "--gun-port",
            str(self.port),
            "--no-turn",
            "--data",
            str(self._folder),
        )
        self.process = await spawn("relay", *flags, *self._flags)
        ready = await self.process.first_line()
        self.port = urlsplit(ready["gun"]).port or 0
        self.up.set()

    async def knows(self, soul: str, clients: int) -> None:
        """Wait until it has written who follows a soul, a moment after it was asked for it."""
        (database,) = self._folder.rglob("gun.db")
        question, known = "SELECT COUNT(DISTINCT pid) FROM follows WHERE soul = ?", (0,)
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            async with asyncio.timeout(DEADLINE_S):
                while known < (clients,):
                    await asyncio.sleep(0.01)
                    known = connection.execute(question, (soul,)).fetchone()

    async def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.up.clear()
            with contextlib.suppress(ProcessLookupError):
                self.process.process.send_signal(how)
            await self.process.kill() if how is signal.SIGKILL else await self.process.exit_code()
            self.process = None


@contextlib.asynccontextmanager
async def door(relay: OurRelay) -> AsyncIterator[str]:
    """A URL that takes connections while the relay is away and lets them in when it is back.

    gun.js tries again once, after 2 s, and gives up for good if that is refused; a busy machine takes longer.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.transport.abort()

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            await relay.up.wait()
            there, back = await asyncio.open_connection("127.0.0.1", relay.port)
            ends.append(back)
            await asyncio.gather(carry(reader, back), carry(there, writer))
        finally:
            for end in ends:
                end.transport.abort()
            await asyncio.sleep(0)  # the transports close with the loop's next turn

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(enter(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/gun"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class GunJs:
    """A node process of gun.js clients, ``core`` (gun/gun.js and ws) or ``full`` (``require('gun')``).

    Each client is a Gun instance with nothing in common with the others, ``skew_ms`` ahead of the true time.
    """

    def __init__(self, program: NodeProgram) -> None:
        self._program = program
        self._names = itertools.count()
        self._numbers = itertools.count()
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._clients: dict[str, GunJsClient] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def spawn(cls, build: str, folder: Path, *, skew_ms: int = 0) -> GunJs:
        own = tempfile.mkdtemp(dir=folder)
        return cls(await NodeProgram.spawn("gun_client.js", build, own, str(skew_ms)))

    async def client(self, url: str) -> GunJsClient:
        """One more client, on its way to a relay."""
        name = f"machine{next(self._names)}"
        client = self._clients[name] = GunJsClient(self, name)
        await client.call("open", url=url)
        return client

    def tell(self, message: dict[str, Any]) -> asyncio.Future[Any]:
        number = next(self._numbers)
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        self._program.write({"call": number, **message})
        return answer

    async def _read(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                line = await self._program.line()
                if "watch" in line:
                    self._clients[line["as"]].told(line["watch"], line["key"], line["value"])
                elif "call" in line:
                    self._calls.pop(line["call"]).set_result(line["result"])

    async def stop(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._program.stop()


class GunJsClient:
    """One Gun instance. A watch that was begun under a name is waited for with ``hears``."""

    def __init__(self, program: GunJs, name: str) -> None:
        self._program = program
        self._name = name
        self._heard: dict[str, asyncio.Queue[tuple[str, Any]]] = {"connected": asyncio.Queue()}

    def tell(self, op: str, **params: Any) -> asyncio.Future[Any]:
        """A call whose answer may never come, such as a put made offline."""
        return self._program.tell({"as": self._name, "op": op, **params})

    async def call(self, op: str, **params: Any) -> Any:
        return await asyncio.wait_for(self.tell(op, **params), DEADLINE_S)

    async def put(self, path: list[str], value: Any, **more: Any) -> None:
        """A put that must be acknowledged."""
        answer = await self.call("put", path=path, value=value, **more)
        assert answer == {"ok": True, "err": None}, answer

    async def watch(self, op: str, name: str, path: list[str]) -> None:
        self._heard[name] = asyncio.Queue()
        await self.call(op, name=name, path=path)

    def told(self, name: str, key: str, value: Any) -> None:
        self._heard[name].put_nowait((key, value))

    def forget(self, name: str) -> None:
        """Only what a watch hears from now on counts."""
        self._heard[name] = asyncio.Queue()

    async def hears(self, name: str, value: Any, *, key: str | None = None) -> None:
        """Wait until a watch is told a value (and key); earlier ones are skipped."""
        skipped: list[Any] = []
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    heard_key, heard = await self._heard[name].get()
                    if heard == value and key in (None, heard_key):
                        return
                    skipped.append(heard)
        except TimeoutError:
            raise AssertionError(f"{name} never was {value!r} but {skipped[-5:]!r}") from None

    async def settle(self) -> None:
        """Wait until the relay knows what it was told so far, its handshake too: gun.js keeps the order."""
        await self.put([f"settled {self._name}"], {"yes": True})

    async def reconnects(self) -> None:
        """Wait for a new connection since ``forget("connected")``; gun.js tries every 2 s."""
        await self.hears("connected", True)

    async def reads(self, path: list[str], value: Any) -> None:
        """Ask for something once more: it is, or soon becomes, that value."""
        await self.watch("on", "read", path)
        await self.hears("read", value)

    async def close(self) -> None:
        """It leaves, and does not come back."""
        await self.call("close")


@contextlib.asynccontextmanager
async def gun_js(build: str, folder: Path, *, skew_ms: int = 0) -> AsyncIterator[GunJs]:
    program = await GunJs.spawn(build, folder, skew_ms=skew_ms)
    try:
        yield program
    finally:
        await program.stop()


@contextlib.asynccontextmanager
async def gun_client(build: str, url: str, folder: Path, *, skew_ms: int = 0) -> AsyncIterator[GunJsClient]:
    """A client alone in its process."""
    async with gun_js(build, folder, skew_ms=skew_ms) as program:
        yield await program.client(url)
