"""Real gun.js clients on our relay: the core build and ``require('gun')`` (gun.md sections 6 and 9)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.graph_nodes import SOUL, Heard, graph_client, graph_relay, leaf, open_sqlite
from tests.interop.gun_peers import gun_client

pytestmark = pytest.mark.real_peer("gun")

BUILDS = [("core", "core"), ("full", "full"), ("core", "full")]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with graph_relay() as (_, url):
        yield url


@pytest.mark.parametrize(("one", "other"), BUILDS, ids=["core-core", "full-full", "core-full"])
async def test_ordinary_data_is_exchanged(url: str, tmp_path: Path, one: str, other: str) -> None:
    async with gun_client(one, url, tmp_path) as alice, gun_client(other, url, tmp_path) as bob:
        await bob.watch("on", "colour", ["car", "colour"])
        assert await alice.call("put", path=["car"], value={"colour": "red", "wheels": 4, "old": False}) == {
            "ok": True, "err": None
        }  # fmt: skip
        await bob.hears("colour", "red")
        await alice.call("put", path=["car", "colour"], value="blue")
        await bob.hears("colour", "blue")
        assert await bob.call("once", path=["car"]) == {"colour": "blue", "wheels": 4, "old": False}
        assert await bob.call("once", path=["nothing", "here"]) == {"missing": True}


async def test_a_deep_graph_and_a_map_are_followed(url: str, tmp_path: Path) -> None:
    async with gun_client("core", url, tmp_path) as alice, gun_client("core", url, tmp_path) as bob:
        await bob.watch("map", "list", ["list"])
        await bob.watch("on", "deep", ["foo", "child", "y", "z"])
        await alice.call("put", path=["list"], value={"a": 1, "b": 2})
        await alice.call("put", path=["foo", "child", "y"], value={"z": "deep"})
        await bob.hears("list", 1, key="a")
        await bob.hears("list", 2, key="b")
        await bob.hears("deep", "deep")
        await alice.call("set", path=["list"], value={"name": "third"})
        await bob.hears("list", {"name": "third"})


async def test_a_delete_is_seen_by_a_late_reader(url: str, tmp_path: Path) -> None:
    async with gun_client("core", url, tmp_path) as alice:
        await alice.call("put", path=["note"], value={"text": "x", "kept": 1})
        await alice.call("put", path=["note", "text"], value=None)
        async with gun_client("core", url, tmp_path) as bob:
            assert await bob.call("once", path=["note"]) == {"text": None, "kept": 1}


async def test_a_node_of_60_keys_is_read_whole(url: str, tmp_path: Path) -> None:
    node = {f"field{number:02}": "x" * 2_000 + str(number) for number in range(60)}
    async with gun_client("core", url, tmp_path) as alice:
        assert (await alice.call("put", path=["large"], value=node))["ok"]
        async with gun_client("full", url, tmp_path) as bob:
            assert await bob.call("once", path=["large"], wait=1_000) == node


async def test_leaves_pass_both_ways(url: str, tmp_path: Path) -> None:
    ours, theirs = leaf("from us"), leaf("from gun.js")
    async with gun_client("core", url, tmp_path) as alice, graph_client(url) as bob:
        heard = Heard()
        bob.watch_leaves(SOUL, heard)
        await alice.watch("on", "leaf", [SOUL, ours[0]])
        await bob.put_leaf(SOUL, *ours)
        await alice.hears("leaf", "from us")
        assert (await alice.call("put", path=[SOUL, theirs[0]], value=theirs[1]))["ok"]
        await heard.until(1)
        assert heard.leaves == dict([theirs])


async def test_a_leaf_that_is_not_its_hash_is_refused_with_guns_words(url: str, tmp_path: Path) -> None:
    key, _ = leaf("honest")
    async with gun_client("core", url, tmp_path) as mallory:
        answer = await mallory.call("put", path=["public#", key], value="forged")
        assert answer == {"ok": False, "err": "Data hash not same as hash!"}


async def test_a_user_writes_and_signs_in_from_a_second_machine(url: str, tmp_path: Path) -> None:
    async with gun_client("core", url, tmp_path) as alice:
        created = await alice.call("create", alias="alice610", **{"pass": "a long passphrase"})
        assert created["err"] is None
        await alice.call("auth", alias="alice610", **{"pass": "a long passphrase"})
        assert await alice.call("own", key="mood", value="fine") == {"ok": True, "err": None}
        async with gun_client("core", url, tmp_path) as laptop:
            signed_in = await laptop.call("auth", alias="alice610", **{"pass": "a long passphrase"})
            assert signed_in == {"ok": True, "err": None}
            assert await laptop.call("once", path=[f"~{created['pub']}", "mood"]) == "fine"


async def test_a_watch_survives_a_restart_of_the_relay(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path / "relay.db")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(store.close)
        async with graph_relay(store) as (_, url):
            alice = await stack.enter_async_context(gun_client("core", url, tmp_path))
            bob = await stack.enter_async_context(gun_client("core", url, tmp_path))
            await bob.watch("on", "n", ["counter", "n"])
            await alice.call("put", path=["counter"], value={"n": 1})
            await bob.hears("n", 1)
            alice.forget("connected")
            bob.forget("connected")
        async with graph_relay(store, port=_port(url)):
            await alice.hears("connected", True)
            await bob.hears("connected", True)
            await alice.call("put", path=["counter", "n"], value=2)
            await bob.hears("n", 2)
            assert await bob.call("once", path=["counter"]) == {"n": 2}


@pytest.mark.parametrize("build", ["core", "full"])
async def test_a_watch_survives_a_lost_connection(tmp_path: Path, build: str) -> None:
    """``require('gun')`` does not ask again: the relay knows it by its pid."""
    async with graph_relay() as (server, url), gun_client("core", url, tmp_path) as alice:
        async with gun_client(build, url, tmp_path) as bob:
            await bob.watch("on", "n", ["counter", "n"])
            await alice.call("put", path=["counter"], value={"n": 1})
            await bob.hears("n", 1)
            alice.forget("connected")
            bob.forget("connected")
            for connection in server._connections.values():
                connection.transport.abort()
            await alice.hears("connected", True)
            await bob.hears("connected", True)
            await alice.call("put", path=["counter", "n"], value=2)
            await bob.hears("n", 2)


async def test_what_was_written_offline_surfaces(tmp_path: Path) -> None:
    """gun.js never sends it again, but the relay asks back whoever asks."""
    store = open_sqlite(tmp_path / "relay.db")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(store.close)
        async with graph_relay(store) as (_, url):
            alice = await stack.enter_async_context(gun_client("core", url, tmp_path))
            await alice.watch("on", "note", ["note"])
            await alice.call("put", path=["note"], value={"text": "online"})
            alice.forget("connected")
        alice.tell("put", path=["note"], value={"text": "offline"})
        await alice.hears("note", {"text": "offline"})
        async with graph_relay(store, port=_port(url)):
            bob = await stack.enter_async_context(gun_client("core", url, tmp_path))
            await bob.watch("on", "note", ["note"])
            await alice.hears("connected", True)
            await bob.hears("note", {"text": "offline"})


def _port(url: str) -> int:
    return urlsplit(url).port or 0
