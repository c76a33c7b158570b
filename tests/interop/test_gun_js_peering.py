"""Our relay peering with a real gun.js relay: both sides' clients see each other's changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.graph_nodes import SOUL, Heard, graph_client, leaf
from tests.interop.gun_peers import GunJsRelay, gun_client
from tests.sidecars import Process, relay

pytestmark = pytest.mark.real_peer("gun")
DEADLINE_S = 20.0


@pytest.fixture(params=[False, True], ids=["axe-off", "axe-on"])
async def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GunJsRelay]:
    folder = tmp_path / "theirs"
    folder.mkdir()
    upstream = GunJsRelay(folder, axe=request.param)
    await upstream.start()
    yield upstream
    await upstream.stop()


@pytest.fixture
async def ours(theirs: GunJsRelay, tmp_path: Path) -> AsyncIterator[Process]:
    async with relay(tmp_path / "ours", "--peer", theirs.url) as process:
        await process.log.wait(lambda line: line.get("new") == "up")
        yield process


async def healthy(url: str) -> bool:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    raw = await asyncio.wait_for(reader.read(), DEADLINE_S)
    writer.close()
    return bool(json.loads(raw.partition(b"\r\n\r\n")[2])["status"] == "ok")


async def hears(heard: Heard, value: str) -> None:
    """Wait for a value; gun.js may repeat to a client what that client wrote."""
    while value not in heard.leaves.values():
        await heard.until(len(heard.leaves) + 1)


async def test_gun_js_clients_on_both_relays_hear_each_other(
    theirs: GunJsRelay, ours: Process, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    async with (
        gun_client("core", theirs.url, tmp_path / "a") as there,
        gun_client("core", ours.ready["gun"], tmp_path / "b") as here,
    ):
        await here.watch("on", "from there", ["room", "there"])
        await there.watch("on", "from here", ["room", "here"])
        assert (await there.call("put", path=["room", "there"], value="hello ours"))["ok"]
        await here.hears("from there", "hello ours")
        assert (await here.call("put", path=["room", "here"], value="hello theirs"))["ok"]
        await there.hears("from here", "hello theirs")


async def test_what_gun_js_had_before_is_found_through_our_relay(
    theirs: GunJsRelay, ours: Process, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    async with gun_client("core", theirs.url, tmp_path / "a") as there:
        assert (await there.call("put", path=["old", "name"], value="kept"))["ok"]
    async with gun_client("core", ours.ready["gun"], tmp_path / "b") as here:
        await here.watch("on", "old", ["old", "name"])
        await here.hears("old", "kept")


async def test_our_leaves_pass_both_ways_and_after_their_restart(theirs: GunJsRelay, ours: Process) -> None:
    async with graph_client(theirs.url) as there, graph_client(ours.ready["gun"]) as here:
        heard_there, heard_here = Heard(), Heard()
        there.watch_leaves(SOUL, heard_there)
        here.watch_leaves(SOUL, heard_here)
        await asyncio.gather(there.read_leaves(SOUL, timeout_s=10), here.read_leaves(SOUL, timeout_s=10))
        await there.put_leaf(SOUL, *leaf("from there"))
        await here.put_leaf(SOUL, *leaf("from here"))
        await hears(heard_there, "from here")
        await hears(heard_here, "from there")
        await theirs.stop()
        await ours.log.wait(lambda line: line.get("new") == "down")
        assert not await healthy(ours.ready["gun"])
        await here.put_leaf(SOUL, *leaf("while they were away"))
        await theirs.start()
        there.wake()
        await hears(heard_there, "while they were away")
        await there.put_leaf(SOUL, *leaf("after the restart"))
        await hears(heard_here, "after the restart")
