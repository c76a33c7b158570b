"""Our peer through a real gun.js relay, AXE off and on (gun.md section 9)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from sidecar.errors import Code, UnavailableError
from tests.graph_nodes import SOUL, Heard, WatchedStore, graph_client, leaf
from tests.interop.gun_peers import GunJsRelay

pytestmark = pytest.mark.real_peer("gun")


@pytest.fixture(params=[False, True], ids=["axe-off", "axe-on"])
async def relay(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GunJsRelay]:
    relay = GunJsRelay(tmp_path, axe=request.param)
    await relay.start()
    yield relay
    await relay.stop()


async def test_leaves_reach_a_subscriber_and_a_late_reader(relay: GunJsRelay) -> None:
    sent = dict(leaf(f'{{"n":{n}}}' + "x" * 3000) for n in range(20))
    async with graph_client(relay.url) as alice, graph_client(relay.url) as bob:
        heard = Heard()
        bob.watch_leaves(SOUL, heard)
        await asyncio.gather(*(alice.put_leaf(SOUL, key, value) for key, value in sent.items()))
        await heard.until(20)
        assert heard.leaves == sent
        assert heard.times_told == 20
        async with graph_client(relay.url) as carol:
            assert await carol.read_leaves(SOUL, timeout_s=10) == sent


async def test_an_empty_soul_is_read_as_empty(relay: GunJsRelay) -> None:
    async with graph_client(relay.url) as alice:
        assert await alice.read_leaves(SOUL, timeout_s=10) == {}


async def test_the_relays_date_is_learnt(relay: GunJsRelay) -> None:
    store = WatchedStore()
    async with graph_client(relay.url, skew_ms=600_000, store=store) as alice:
        await store.until(lambda: alice.network_offset_ms() != 0)
        assert abs(alice.network_offset_ms() + 600_000) < 2_000
        async with graph_client(relay.url) as bob:
            heard = Heard()
            bob.watch_leaves(SOUL, heard)
            key, value = leaf("from a wrong clock")
            await alice.put_leaf(SOUL, key, value)
            await heard.until(1)


async def test_after_a_restart_old_and_new_leaves_are_read(relay: GunJsRelay) -> None:
    old, new, newer = leaf("old"), leaf("new"), leaf("newer")
    async with graph_client(relay.url) as alice, graph_client(relay.url) as bob:
        heard = Heard()
        bob.watch_leaves(SOUL, heard)
        await alice.put_leaf(SOUL, *old)
        await heard.until(1)
        await relay.stop()
        with pytest.raises(UnavailableError) as caught:
            await alice.put_leaf(SOUL, *new, timeout_s=0.2)
        assert caught.value.code is Code.GRAPH_UNREACHABLE
        await relay.start()
        alice.wake()
        bob.wake()
        await heard.until(2)
        await alice.put_leaf(SOUL, *newer)
        await heard.until(3)
        async with graph_client(relay.url) as carol:
            assert await carol.read_leaves(SOUL, timeout_s=10) == dict([old, new, newer])


async def test_a_leaf_left_by_the_last_run_is_sent(relay: GunJsRelay) -> None:
    store = WatchedStore()
    key, value = leaf("written offline")
    async with graph_client("http://127.0.0.1:1/gun", store=store, connected=False) as alice:
        with pytest.raises(UnavailableError):
            await alice.put_leaf(SOUL, key, value, timeout_s=0.05)
    assert len(store.outbox()) == 1
    async with graph_client(relay.url) as bob, graph_client(relay.url, store=store):
        heard = Heard()
        bob.watch_leaves(SOUL, heard)
        await heard.until(1)
        await store.until(lambda: not store.outbox())


async def test_a_leaf_the_relay_already_has_leaves_the_outbox(relay: GunJsRelay) -> None:
    """gun.js never acknowledges what it has: reading it back must do."""
    store = WatchedStore()
    key, value = leaf("stored, its ack lost")
    async with graph_client(relay.url, store=store) as alice:
        await alice.put_leaf(SOUL, key, value)
    store.add_to_outbox((SOUL, key, value, 1_795_340_995_891.0, 9e12))
    async with graph_client(relay.url, store=store):
        await store.until(lambda: not store.outbox())


async def test_S06_junk_and_nulls_of_a_third_party_reach_no_reader(relay: GunJsRelay) -> None:
    key, value = leaf("true")
    async with graph_client(relay.url) as alice, graph_client(relay.url) as bob:
        heard = Heard()
        bob.watch_leaves(SOUL, heard)
        await alice.put_leaf(SOUL, key, value)
        await heard.until(1)
        async with connect(relay.url.replace("http", "ws"), proxy=None) as mallory:
            for number, (forged, state) in enumerate([(None, 1), ("junk", 1), (None, 9e15), ("junk", 9e15)]):
                node = {"_": {"#": SOUL, ">": {key: state}}, key: forged}
                await mallory.send(json.dumps({"#": f"forged{number}", "put": {SOUL: node}}))
            last = leaf("last")
            await alice.put_leaf(SOUL, *last)
            await heard.until(2)
        assert heard.leaves == dict([(key, value), last])
        async with graph_client(relay.url) as carol:
            assert await carol.read_leaves(SOUL, timeout_s=10) == dict([(key, value), last])


async def test_two_relays_one_of_them_down(relay: GunJsRelay) -> None:
    async with graph_client([relay.url, "http://127.0.0.1:1/gun"]) as alice:
        key, value = leaf("one is enough")
        await alice.put_leaf(SOUL, key, value)
        assert await alice.read_leaves(SOUL, timeout_s=10) == {key: value}
        assert [state.connected for state in alice.relays] == [True, False]
