"""Real processes of ours for tests: sidecars and relays, their log lines and their events.

Everything waits for something that happens (a line, an event, an exit) with a deadline.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from sidecar.ipc.zmq_client import ZmqClient
from tests.peers import ROOT

COMMAND = (sys.executable, "-m", "sidecar")
READY_S = 20.0
DEADLINE_S = 30.0
"""For anything that should take seconds, on a machine that does other things too."""

Record = dict[str, Any]


class Journal:
    """Things that happened, in order, which can be waited for."""

    def __init__(self) -> None:
        self.entries: list[Record] = []
        self._news = asyncio.Condition()

    async def add(self, entry: Record) -> None:
        async with self._news:
            self.entries.append(entry)
            self._news.notify_all()

    async def wait(self, matches: Callable[[Record], bool], *, timeout_s: float = DEADLINE_S) -> Record:
        """The first entry that matches, past or coming."""

        async def found() -> Record:
            async with self._news:
                seen = 0
                while True:
                    for entry in self.entries[seen:]:
                        if matches(entry):
                            return entry
                    seen = len(self.entries)
                    await self._news.wait()

        try:
            return await asyncio.wait_for(found(), timeout_s)
        except TimeoutError:
            tail = "\n".join(json.dumps(entry) for entry in self.entries[-20:])
            raise AssertionError(f"nothing matched within {timeout_s} s; the last entries:\n{tail}") from None


class Process:
    """One process of ours: its first line of output, its log."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = Journal()
        self.raw_log: list[str] = []
        self.ready: Record = {}
        self._reader = asyncio.create_task(self._read_log())

    @property
    def pid(self) -> int:
        return self.process.pid

    async def first_line(self) -> Record:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), READY_S)
        if not line:
            code = await self.exit_code()
            raise AssertionError(f"ended with {code} before it was ready:\n" + "\n".join(self.raw_log[-20:]))
        self.ready = json.loads(line)
        return self.ready

    async def exit_code(self, *, timeout_s: float = DEADLINE_S) -> int:
        """Waits for the end, with everything it wrote to its log read."""
        await asyncio.wait_for(asyncio.gather(self.process.wait(), self._reader), timeout_s)
        assert self.process.returncode is not None
        return self.process.returncode

    def children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    async def kill(self) -> None:
        """Ends it and its children the hard way, if they have not ended."""
        children = self.children()
        with suppress(ProcessLookupError):
            self.process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        await self.exit_code()

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            text = line.decode(errors="replace").rstrip("\n")
            self.raw_log.append(text)
            try:
                await self.log.add(json.loads(text))
            except ValueError:
                await self.log.add({"raw": text})


class Sidecar(Process):
    """``aleph-sidecar ipc`` with one client and its event stream."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__(process)
        self.events = Journal()
        self.client: ZmqClient
        self.me: Record = {}
        self._follower: asyncio.Task[None] | None = None

    async def connect(self, **hello: Any) -> None:
        self.client = ZmqClient(self.ready["endpoint"])
        answer = await self.client.call("system:hello", hello)
        self.me = answer["self"]
        self._follower = asyncio.create_task(self._follow(answer["seq"]))

    async def call(self, channel: str, **params: Any) -> Any:
        return await self.client.call(channel, params or None)

    async def event(self, name: str, *, timeout_s: float = DEADLINE_S, **members: Any) -> Record:
        """The data of the first event of that name whose members are as given."""
        item = await self.events.wait(
            lambda item: (
                item.get("event") == name
                and all(item["data"].get(key) == value for key, value in members.items())
            ),
            timeout_s=timeout_s,
        )
        data = item["data"]
        assert isinstance(data, dict)
        return data

    async def healthy(self) -> Record:
        """Waits until health has no problem; it is asked again as fast as it answers."""
        health: Record = {}
        try:
            async with asyncio.timeout(DEADLINE_S):
                while health.get("status") != "ok":
                    await asyncio.sleep(0.02)
                    health = await self.call("system:health")
        except TimeoutError:
            tail = "\n".join(self.raw_log[-30:])
            raise AssertionError(f"not healthy within {DEADLINE_S} s: {health}; its log:\n{tail}") from None
        return health

    async def end(self) -> int:
        """Closes stdin and waits."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.exit_code()

    async def kill(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            self.client.close()
        await super().kill()

    async def _follow(self, since: int) -> None:
        with suppress(Exception):
            async for item in self.client.stream("events", {"since": since}):
                await self.events.add(item)


async def spawn(*args: str, kind: type[Process] = Process, **options: Any) -> Any:
    """Starts ``aleph-sidecar`` with pipes; the caller reads its first line."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *args, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, limit=1 << 20, **options
    )
    return kind(process)


@asynccontextmanager
async def relay(data_dir: Path, *args: str) -> AsyncIterator[Process]:
    """A Gun relay of ours on a free loopback port."""
    flags = ("--host", "127.0.0.1", "--gun-port", "0", "--no-turn", "--data", str(data_dir))
    process = await spawn("relay", *flags, *args)
    try:
        await process.first_line()
        yield process
    finally:
        await process.kill()


@asynccontextmanager
async def sidecar(data_dir: Path, *, connect: bool = True, **handshake: Any) -> AsyncIterator[Sidecar]:
    """A sidecar that has said that it is ready."""
    options = handshake.pop("process_options", {})
    process: Sidecar = await spawn("ipc", kind=Sidecar, **options)
    try:
        assert process.process.stdin is not None
        line = {"v": 1, "dataDir": str(data_dir), "parentPid": os.getpid(), **handshake}
        process.process.stdin.write(json.dumps(line).encode() + b"\n")
        await process.first_line()
        if connect:
            await process.connect()
        yield process
    finally:
        await process.kill()


def friend(me: Record, name: str) -> Record:
    """What another sidecar's social copy holds about ``me``."""
    return {"id": me["userId"], "displayName": name, "publicKey": me["publicKey"]}


async def identity(data_dir: Path) -> Record:
    """Makes the identity of a data directory, as ``system:hello`` tells it."""
    async with sidecar(data_dir) as node:
        me = node.me
        assert await node.end() == 0, node.raw_log[-10:]
    return me


@asynccontextmanager
async def pair(
    folder: Path, peers: list[str], config: Record | None = None, **alice_handshake: Any
) -> AsyncIterator[tuple[Sidecar, Sidecar]]:
    """Alice and Bob, who know each other, on loopback, healthy; ``alice_handshake`` is hers alone."""
    alice_me, bob_me = await asyncio.gather(identity(folder / "alice"), identity(folder / "bob"))
    base = dict(config or {})
    base["media"] = {
        "iceInterfaces": ["127.0.0.0/8"],
        "camera": "pattern:",
        "microphone": "tone:440",
    } | base.get("media", {})

    def social(own: str, other: Record, name: str) -> Record:
        return {"self": {"displayName": own}, "friends": [friend(other, name)]}

    async with (
        sidecar(
            folder / "alice",
            peers=peers,
            config={**base, "social": social("Alice", bob_me, "Bob")},
            **alice_handshake,
        ) as alice,
        sidecar(
            folder / "bob", peers=peers, config={**base, "social": social("Bob", alice_me, "Alice")}
        ) as bob,
    ):
        await asyncio.gather(alice.healthy(), bob.healthy())
        yield alice, bob
