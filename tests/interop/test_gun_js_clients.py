"""Real gun.js clients on our relay: the core build and ``require('gun')`` (gun.md section 10)."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from tests.graph_nodes import SOUL, Heard, graph_client, leaf
from tests.interop.gun_peers import GunJs, GunJsClient, OurRelay, gun_js

pytestmark = [pytest.mark.real_peer("gun"), pytest.mark.asyncio(loop_scope="module")]

PASSPHRASE = "a long passphrase"
Builds = dict[str, GunJs]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    relay = OurRelay(tmp_path_factory.mktemp("relay"))
    await relay.start()
    yield relay.url
    await relay.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def builds(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Builds]:
    folder = tmp_path_factory.mktemp("clients")
    async with gun_js("core", folder) as core, gun_js("full", folder) as full:
        yield {"core": core, "full": full}


@pytest.fixture(params=[("core", "full"), ("full", "core")], ids="-".join)
def pair(request: pytest.FixtureRequest, builds: Builds) -> tuple[GunJs, GunJs]:
    """The process of who writes, and that of who reads."""
    one, other = request.param
    return builds[one], builds[other]


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A soul that no other test uses."""
    return f"room of {request.node.name}"


async def user(client: GunJsClient, alias: str) -> str:
    """A new user who is signed in; the public key."""
    created = await client.call("create", alias=alias, **{"pass": PASSPHRASE})
    assert created["err"] is None
    await sign_in(client, alias)
    return str(created["pub"])


async def sign_in(client: GunJsClient, alias: str) -> None:
    signed_in = await client.call("auth", alias=alias, **{"pass": PASSPHRASE})
    assert signed_in == {"ok": True, "err": None}


async def node_at(url: str, soul: str) -> dict[str, Any]:
    """What the relay has of a soul, without its states."""
    question = uuid.uuid4().hex
    async with connect(url.replace("http", "ws"), proxy=None) as socket, asyncio.timeout(10):
        await socket.send(json.dumps({"#": question, "get": {"#": soul}}))
        async for text in socket:
            message = json.loads(text)
            for part in message if isinstance(message, list) else [message]:
                if part.get("@") == question:
                    node = dict(part.get("put", {}).get(soul, {}))
                    node.pop("_", None)
                    return node
    raise AssertionError("the relay closed the connection")


async def test_ordinary_data_is_exchanged(url: str, pair: tuple[GunJs, GunJs], room: str) -> None:
    alice, bob = await pair[0].client(url), await pair[1].client(url)
    await bob.watch("on", "colour", [room, "colour"])
    await alice.put([room], {"colour": "red", "wheels": 4, "old": False})
    await bob.hears("colour", "red")
    await alice.put([room, "colour"], "blue")
    await bob.hears("colour", "blue")
    assert await bob.call("once", path=[room]) == {"colour": "blue", "wheels": 4, "old": False}
    assert await bob.call("once", path=[room, "nothing"]) == {"missing": True}


async def test_a_deep_graph_and_a_map_are_followed(url: str, pair: tuple[GunJs, GunJs], room: str) -> None:
    alice, bob = await pair[0].client(url), await pair[1].client(url)
    await bob.watch("map", "list", [room])
    await bob.watch("on", "deep", [room, "child", "y", "z"])
    await alice.put([room], {"a": 1, "b": 2})
    await alice.put([room, "child", "y"], {"z": "deep"})
    await bob.hears("list", 1, key="a")
    await bob.hears("list", 2, key="b")
    await bob.hears("deep", "deep")
    await alice.call("set", path=[room], value={"name": "third"})
    await bob.hears("list", {"name": "third"})


async def test_a_delete_is_seen_by_a_late_reader(url: str, pair: tuple[GunJs, GunJs], room: str) -> None:
    alice = await pair[0].client(url)
    await alice.put([room], {"text": "x", "kept": 1})
    await alice.put([room, "text"], None)
    await alice.close()
    bob = await pair[1].client(url)
    await bob.reads([room], {"text": None, "kept": 1})


async def test_a_node_of_60_keys_is_read_in_chunks(url: str, pair: tuple[GunJs, GunJs], room: str) -> None:
    node = {f"field{number:02}": "x" * 2_000 + str(number) for number in range(60)}
    alice = await pair[0].client(url)
    await alice.put([room], node)
    await alice.close()
    bob = await pair[1].client(url)
    await bob.reads([room], node)
    assert await bob.call("once", path=[room]) == node


async def test_20_writers_of_one_soul_lose_nothing(url: str, builds: Builds, room: str) -> None:
    reader = await builds["core"].client(url)
    await reader.watch("on", "all", [room])
    writers = [await builds[build].client(url) for build in ("core", "full") * 10]
    await asyncio.gather(
        *(writer.put([room], {f"from{number}": number}) for number, writer in enumerate(writers))
    )
    everything = {f"from{number}": number for number in range(20)}
    await reader.hears("all", everything)
    for build in ("core", "full"):
        await (await builds[build].client(url)).reads([room], everything)
    for writer in writers:
        await writer.close()


async def test_leaves_pass_both_ways(url: str, pair: tuple[GunJs, GunJs]) -> None:
    ours, theirs = leaf("from us"), leaf("from gun.js")
    reader, writer = await pair[0].client(url), await pair[1].client(url)
    async with graph_client(url) as bob:
        heard = Heard()
        bob.watch_leaves(SOUL, heard)
        await reader.watch("on", "leaf", [SOUL, ours[0]])
        await bob.put_leaf(SOUL, *ours)
        await reader.hears("leaf", "from us")
        await writer.put([SOUL, theirs[0]], theirs[1])
        while theirs[0] not in heard.leaves:
            await heard.until(len(heard.leaves) + 1)
        assert heard.leaves[theirs[0]] == theirs[1]


async def test_a_leaf_that_is_not_its_hash_is_refused_with_guns_words(url: str, builds: Builds) -> None:
    mallory = await builds["core"].client(url)
    answer = await mallory.call("put", path=["public#", leaf("honest")[0]], value="forged")
    assert answer == {"ok": False, "err": "Data hash not same as hash!"}


# Users


async def test_a_user_signs_in_on_a_second_machine(url: str, pair: tuple[GunJs, GunJs], room: str) -> None:
    alice = await pair[0].client(url)
    pub = await user(alice, f"alice, {room}")
    assert (await alice.call("own", path=["mood"], values=["fine"]))["ok"]
    laptop, stranger = await pair[1].client(url), await pair[1].client(url)
    await stranger.reads([f"~{pub}", "mood"], "fine")
    await sign_in(laptop, f"alice, {room}")
    await laptop.reads([f"~{pub}", "mood"], "fine")
    assert (await laptop.call("own", path=["mood"], values=["tired"]))["ok"]
    await stranger.hears("read", "tired")


async def test_the_newer_of_two_quick_signed_writes_wins(
    url: str, pair: tuple[GunJs, GunJs], room: str
) -> None:
    """gun.js relays end with the older one (gun.md section 3)."""
    alice = await pair[0].client(url)
    pub = await user(alice, f"quick, {room}")
    words = [f"word {number}" for number in range(6)]
    for first, second in zip(words[::2], words[1::2], strict=True):
        await alice.call("own", path=["mood"], values=[first, second])
        late = await pair[1].client(url)
        await late.reads([f"~{pub}", "mood"], second)
        assert await late.call("once", path=[f"~{pub}", "mood"]) == second
        stored = await node_at(url, f"~{pub}")
        assert json.loads(stored["mood"])[":"] == second
        await late.close()


async def test_another_user_writes_with_a_certificate_and_nobody_without(
    url: str, pair: tuple[GunJs, GunJs], room: str
) -> None:
    alice, bob, mallory = await pair[0].client(url), await pair[1].client(url), await pair[1].client(url)
    alice_pub, bob_pub = await user(alice, f"owner, {room}"), await user(bob, f"guest, {room}")
    await user(mallory, f"mallory, {room}")
    cert = await alice.call("certify", pub=bob_pub, policy={"*": "inbox"})
    space = f"~{alice_pub}"
    await alice.watch("on", "inbox", [space, "inbox", "from bob"])
    await bob.put([space, "inbox", "from bob"], "hello", cert=cert)
    await alice.hears("inbox", "hello")
    late = await pair[0].client(url)
    await late.reads([space, "inbox", "from bob"], "hello")
    mallory.tell("put", path=[space, "inbox", "from mallory"], value="junk", cert=cert)
    mallory.tell("put", path=[space, "inbox", "from bob"], value="junk")
    bob.tell("put", path=[space, "outbox", "from bob"], value="not allowed", cert=cert)
    await bob.put([space, "inbox", "from bob"], "again", cert=cert)
    await alice.hears("inbox", "again")
    assert set(await node_at(url, f"{space}/inbox")) == {"from bob"}
    assert await node_at(url, f"{space}/outbox") == {}


# AXE


async def test_a_client_with_axe_gives_what_it_is_asked_for(
    url: str, builds: Builds, room: str, tmp_path: Path
) -> None:
    """``require('gun')`` with all its defaults sends what it writes only to those who asked it for that."""
    async with gun_js("axe", tmp_path) as program:
        axe, listener = await program.client(url), await builds["core"].client(url)
        await axe.watch("on", "theirs", [room, "theirs"])
        await listener.watch("on", "word", [room, "word"])
        axe.tell("put", path=[room, "word"], value="before it was asked")
        await listener.put([room, "theirs"], "hello")
        await axe.hears("theirs", "hello")
        await (await builds["full"].client(url)).reads([room, "word"], "before it was asked")
        await listener.hears("word", "before it was asked")
        axe.tell("put", path=[room, "word"], value="since")
        await listener.hears("word", "since")
        axe.forget("connected")
        await axe.call("drop")
        await axe.reconnects()
        await listener.put([room, "theirs"], "after")
        await axe.hears("theirs", "after")
        axe.tell("put", path=[room, "word"], value="later")
        await listener.hears("word", "later")


# A clock that is wrong


@pytest.mark.parametrize("build", ["core", "full"])
async def test_a_client_two_minutes_ahead_hears_and_is_acknowledged(
    url: str, builds: Builds, room: str, tmp_path: Path, build: str
) -> None:
    """Clients with a right clock have to hold its words back until they are due, here as with gun.js."""
    other = await builds["core"].client(url)
    await other.put([room, "word"], "on time")
    async with gun_js(build, tmp_path, skew_ms=120_000) as program:
        ahead, as_wrong = await program.client(url), await program.client(url)
        await as_wrong.watch("on", "word", [room, "word"])
        await as_wrong.hears("word", "on time")
        await ahead.reads([room, "word"], "on time")
        await ahead.put([room, "word"], "early")
        await as_wrong.hears("word", "early")
    assert (await node_at(url, room))["word"] == "on time"
    await other.put([room, "more"], "goes on")
    await (await builds["full"].client(url)).reads([room], {"word": "on time", "more": "goes on"})


@pytest.mark.parametrize("build", ["core", "full"])
async def test_what_a_client_ahead_wrote_is_read_when_it_is_due(
    url: str, builds: Builds, room: str, tmp_path: Path, build: str
) -> None:
    other = await builds["core"].client(url)
    await other.watch("on", "word", [room, "word"])
    async with gun_js(build, tmp_path, skew_ms=2_000) as program:
        await (await program.client(url)).put([room, "word"], "early")
    await other.hears("word", "early")
    await (await builds["full"].client(url)).reads([room], {"word": "early"})
