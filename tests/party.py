"""Several sidecars that are friends of one another, in processes of their own, and a graph that is slow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tests.sidecars import Record, Sidecar, friend, identity, sidecar

LOOPBACK = {"iceInterfaces": ["127.0.0.0/8"], "camera": "pattern:", "microphone": "tone:440"}
FIRST_TONE_HZ, NEXT_TONE_HZ = 440, 110
"""What the first of a party sends, and how far the tones of two neighbours are apart."""


@contextlib.asynccontextmanager
async def party(
    folder: Path,
    names: list[str],
    peers: list[str],
    *,
    rooms: bool = False,
    media: Record | None = None,
    processes: Mapping[str, Record] | None = None,
) -> AsyncIterator[dict[str, Sidecar]]:
    """A sidecar for each name, all contacts of all others, healthy; with ``rooms`` all are in ``room_1``.

    Each sends a tone of its own. ``processes`` says how those of some names are started.
    """
    people = dict(zip(names, await asyncio.gather(*(identity(folder / n) for n in names)), strict=True))
    room = {
        "id": "room_1",
        "name": "Room",
        "members": [me["userId"] for me in people.values()],
        "createdBy": people[names[0]]["userId"],
    }

    def config(name: str) -> Record:
        friends = [friend(me, other) for other, me in people.items() if other != name]
        social = {"self": {"displayName": name}, "friends": friends, "rooms": [room] if rooms else []}
        tone = {"microphone": f"tone:{tone_hz(names.index(name))}"}
        return {"media": LOOPBACK | tone | (media or {}), "social": social}

    async with contextlib.AsyncExitStack() as stack:
        nodes = {}
        for name in names:
            options = (processes or {}).get(name, {})
            node = sidecar(folder / name, peers=peers, config=config(name), process_options=options)
            nodes[name] = await stack.enter_async_context(node)
        await asyncio.gather(*(node.healthy() for node in nodes.values()))
        yield nodes


def tone_hz(place: int) -> int:
    """The tone of the one who has that place in a party."""
    return FIRST_TONE_HZ + NEXT_TONE_HZ * place


@contextlib.asynccontextmanager
async def slow(url: str, delay_s: float) -> AsyncIterator[str]:
    """A way to the relay at ``url`` on which everything takes ``delay_s`` longer, in both directions."""
    port = urlsplit(url).port or 0
    tasks: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                loop.call_later(delay_s, _write, writer, data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(carry(reader, back), carry(there, writer))
        finally:
            back.close()
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/gun"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)
