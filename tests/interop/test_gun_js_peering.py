"""Our relay peering with a real gun.js relay: both sides' clients see each other's changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sidecar.app.system_clock import SystemRandom
from sidecar.graph.core import sea
from tests.graph_nodes import SOUL, Heard, Values, graph_client, leaf
from tests.interop.gun_peers import GunJsRelay, OurRelay, door, gun_client, gun_js
from tests.sidecars import Process, relay

pytestmark = pytest.mark.real_peer("gun")
DEADLINE_S = 20.0
PAIR = sea.make_pair(SystemRandom())
OWNED = f"~{PAIR['pub']}/lease"


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


async def test_our_client_on_both_relays_is_told_everything_once(
    theirs: GunJsRelay, ours: Process, tmp_path: Path
) -> None:
    near, far = leaf("through our relay"), leaf("through theirs")
    async with (
        gun_js("core", tmp_path) as program,
        graph_client([ours.ready["gun"], theirs.url]) as alice,
        graph_client(ours.ready["gun"]) as bob,
    ):
        here, there = await program.client(ours.ready["gun"]), await program.client(theirs.url)
        heard, values = Heard(), Values()
        alice.watch_leaves(SOUL, heard)
        alice.watch_values(OWNED, values)
        await here.put([SOUL, near[0]], near[1])
        await there.put([SOUL, far[0]], far[1])
        await bob.put_value(OWNED, "k", "signed", PAIR)
        await heard.until(2)
        await values.until({"k": "signed"})
        key, value = leaf("to both")
        for client in (here, there):
            await client.watch("on", "leaf", [SOUL, key])
        await alice.put_leaf(SOUL, key, value)
        await asyncio.gather(here.hears("leaf", value), there.hears("leaf", value))
        await alice.put_value(OWNED, "k", "newer", PAIR)
        await values.until({"k": "newer"})
        assert {key: heard.leaves[key] for key in (near[0], far[0])} == dict([near, far])
        assert heard.times_told == len(heard.leaves)
        assert len(values.states) == 2


async def test_users_deletes_and_signed_writes_cross(
    theirs: GunJsRelay, ours: Process, tmp_path: Path
) -> None:
    who = {"alias": "alice", "pass": "a long passphrase"}
    async with gun_js("core", tmp_path) as core, gun_js("full", tmp_path) as full:
        there, here = await core.client(theirs.url), await full.client(ours.ready["gun"])
        pub = (await there.call("create", **who))["pub"]
        assert (await there.call("auth", **who))["ok"]
        assert (await there.call("own", path=["mood"], values=["fine"]))["ok"]
        await here.reads([f"~{pub}", "mood"], "fine")
        assert (await here.call("auth", **who))["ok"]
        await there.watch("on", "mood", [f"~{pub}", "mood"])
        assert (await here.call("own", path=["mood"], values=["tired"]))["ok"]
        await there.hears("mood", "tired")
        await there.put(["note"], {"text": "x", "kept": 1})
        await here.reads(["note"], {"text": "x", "kept": 1})
        await here.put(["note", "text"], None)
        await (await core.client(theirs.url)).reads(["note"], {"text": None, "kept": 1})


async def test_what_their_clients_wrote_while_our_relay_was_away_is_heard(
    theirs: GunJsRelay, tmp_path: Path
) -> None:
    relay = OurRelay(tmp_path / "ours", "--peer", theirs.url)
    await relay.start()
    try:
        async with gun_js("core", tmp_path) as program, door(relay) as url:
            there, here = await program.client(theirs.url), await program.client(url)
            await there.watch("on", "word", ["room", "answer"])
            await here.watch("on", "word", ["room", "word"])
            await there.put(["room", "word"], "before")
            await here.hears("word", "before")
            here.forget("connected")
            await relay.stop()
            await there.put(["room", "word"], "meanwhile")
            await relay.start()
            await here.reconnects()
            await here.hears("word", "meanwhile")
            await here.put(["room", "answer"], "after")
            await there.hears("word", "after")
    finally:
        await relay.stop()
