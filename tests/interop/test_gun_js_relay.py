"""Our peer through a real gun.js relay, AXE off and on (gun.md section 9)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from sidecar.app.system_clock import SystemRandom
from sidecar.errors import Code, UnavailableError
from sidecar.graph.core import sea
from tests.graph_nodes import Heard, Values, WatchedStore, gate, graph_client, leaf
from tests.interop.gun_peers import GunJsRelay, gun_client

pytestmark = [pytest.mark.real_peer("gun"), pytest.mark.asyncio(loop_scope="module")]

MODES = {"axe-off": False, "axe-on": True}
PAIR = sea.make_pair(SystemRandom())
NUMBERS = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=MODES.values(), ids=MODES)
async def relay(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[GunJsRelay]:
    relay = GunJsRelay(tmp_path_factory.mktemp("relay"), axe=request.param)
    await relay.start()
    yield relay
    await relay.stop()


@pytest.fixture
def soul() -> str:
    """A soul of leaves that no other test uses."""
    return f"calls/s/{next(NUMBERS):032x}#<?172800"


@pytest.fixture
def owned() -> str:
    """A soul of signed values that no other test uses."""
    return f"~{PAIR['pub']}/lease{next(NUMBERS)}"


async def say(url: str, puts: Iterable[dict[str, Any]]) -> None:
    """Somebody without manners; ends when the relay has taken in all of it."""
    async with connect(url.replace("http", "ws"), proxy=None) as socket, asyncio.timeout(10):
        for number, put in enumerate(puts):
            await socket.send(json.dumps({"#": f"forged{next(NUMBERS)}.{number}", "put": put}))
        last = f"last{next(NUMBERS)}"
        await socket.send(json.dumps({"#": last, "get": {"#": "nothing at all"}}))
        async for text in socket:
            if last in str(text):
                return


def node(soul: str, key: str, value: Any, state: float) -> dict[str, Any]:
    return {soul: {"_": {"#": soul, ">": {key: state}}, key: value}}


async def test_leaves_reach_a_subscriber_and_a_late_reader(relay: GunJsRelay, soul: str) -> None:
    sent = dict(leaf(f'{{"n":{n}}}' + "x" * 3000) for n in range(20))
    async with graph_client(relay.url) as alice, graph_client(relay.url) as bob:
        heard = Heard()
        bob.watch_leaves(soul, heard)
        await asyncio.gather(*(alice.put_leaf(soul, key, value) for key, value in sent.items()))
        await heard.until(20)
        assert heard.leaves == sent
        assert heard.times_told == 20
        async with graph_client(relay.url) as carol:
            assert await carol.read_leaves(soul, timeout_s=10) == sent


async def test_20_writers_of_one_soul_lose_nothing(relay: GunJsRelay, soul: str) -> None:
    """60 leaves: a reader that comes late gets them in parts."""
    sent = [leaf(f"{number}" + "x" * 1_000) for number in range(60)]
    async with contextlib.AsyncExitStack() as stack:
        clients = (stack.enter_async_context(graph_client(relay.url)) for _ in range(22))
        reader, late, *writers = await asyncio.gather(*clients)
        heard = Heard()
        reader.watch_leaves(soul, heard)
        await asyncio.gather(*(writers[n % 20].put_leaf(soul, *one) for n, one in enumerate(sent)))
        await heard.until(60)
        assert heard.leaves == dict(sent)
        assert await late.read_leaves(soul, timeout_s=10) == dict(sent)


async def test_an_empty_soul_is_read_as_empty(relay: GunJsRelay, soul: str) -> None:
    async with graph_client(relay.url) as alice:
        assert await alice.read_leaves(soul, timeout_s=10) == {}


async def test_the_relays_date_is_learnt(relay: GunJsRelay, soul: str) -> None:
    store = WatchedStore()
    async with graph_client(relay.url, skew_ms=600_000, store=store) as alice:
        await store.until(lambda: alice.network_offset_ms() != 0)
        assert abs(alice.network_offset_ms() + 600_000) < 2_000
        async with graph_client(relay.url) as bob:
            heard = Heard()
            bob.watch_leaves(soul, heard)
            await alice.put_leaf(soul, *leaf("from a wrong clock"))
            await heard.until(1)


async def test_a_gun_js_client_puts_and_hears_leaves(relay: GunJsRelay, soul: str, tmp_path: Path) -> None:
    ours, theirs = leaf("from us"), leaf("from gun.js")
    async with graph_client(relay.url) as bob, gun_client("core", relay.url, tmp_path) as gun:
        heard = Heard()
        bob.watch_leaves(soul, heard)
        await gun.watch("on", "leaf", [soul, ours[0]])
        await gun.put([soul, theirs[0]], theirs[1])
        await heard.until(1)
        await bob.put_leaf(soul, *ours)
        await gun.hears("leaf", "from us")
        assert heard.leaves[theirs[0]] == "from gun.js"


# Signed values


async def test_signed_values_reach_a_subscriber_and_a_late_reader(relay: GunJsRelay, owned: str) -> None:
    async with graph_client(relay.url) as alice, graph_client(relay.url) as bob:
        values, late = Values(), Values()
        bob.watch_values(owned, values)
        for word in ("first", {"second": [1, 2.5, None]}, "third"):
            await alice.put_value(owned, "k", word, PAIR)
            await values.until({"k": word})
        await alice.put_value(owned, "other", True, PAIR)
        await values.until({"k": "third", "other": True})
        assert values.states == sorted(values.states)
        async with graph_client(relay.url) as carol:
            carol.watch_values(owned, late)
            await late.until({"k": "third", "other": True})


async def test_of_two_quick_signed_values_the_newer_one_is_told_last(relay: GunJsRelay, owned: str) -> None:
    """gun.js may keep the older one (gun.md section 3); our reader never goes back."""
    async with graph_client(relay.url) as alice, graph_client(relay.url) as bob:
        values = Values()
        bob.watch_values(owned, values)
        for number in range(0, 10, 2):
            await asyncio.gather(*(alice.put_value(owned, "k", n, PAIR) for n in (number, number + 1)))
            await values.until({"k": number + 1})
        assert values.states == sorted(set(values.states))


async def test_S06_what_a_third_party_makes_of_a_signed_value_reaches_no_reader(
    relay: GunJsRelay, owned: str
) -> None:
    other = sea.make_pair(SystemRandom())
    async with graph_client(relay.url) as alice, graph_client(relay.url) as bob:
        values, late = Values(), Values()
        bob.watch_values(owned, values)
        await alice.put_value(owned, "k", "true", PAIR)
        await values.until({"k": "true"})
        now, states = values.states[0], (1.0, values.states[0] + 1, 9e15)
        forged = [(None, state) for state in states] + [("junk", state) for state in states]
        forged += [(sea.sign_value(owned, "k", "forged", int(now) + 1, other), now + 1)]
        forged += [(sea.sign_value(owned, "k", "true", int(now), PAIR), now + 1)]
        await say(relay.url, [node(owned, "k", *one) for one in forged])
        await alice.put_value(owned, "last", 1, PAIR)
        await values.until({"k": "true", "last": 1})
        async with graph_client(relay.url) as carol:
            carol.watch_values(owned, late)
            await late.until({"k": "true", "last": 1})
        assert len(values.states) == len(late.states) == 2


# Forgers


async def test_S06_junk_and_nulls_of_a_third_party_reach_no_reader(relay: GunJsRelay, soul: str) -> None:
    true, last, junk = leaf("the truth"), leaf("last"), [None, "junk", 5, True, {"#": "elsewhere"}]
    async with graph_client(relay.url) as alice, graph_client(relay.url) as bob:
        heard = Heard()
        bob.watch_leaves(soul, heard)
        await alice.put_leaf(soul, *true)
        await heard.until(1)
        now_ms = alice._clock.network_ms()
        states = (1, now_ms - 3_000, now_ms, now_ms + 50, 9e15)
        await say(relay.url, [node(soul, true[0], value, state) for value in junk for state in states])
        await alice.put_leaf(soul, *last)
        await heard.until(2)
        assert heard.leaves == dict([true, last])
        assert heard.times_told == 2
        async with graph_client(relay.url) as carol:
            assert await carol.read_leaves(soul, timeout_s=10) == dict([true, last])


async def test_S06_who_answers_the_gets_of_others_with_nulls_reaches_no_reader(
    relay: GunJsRelay, soul: str
) -> None:
    """gun.js hands gets to other peers, whose answers it passes on unchecked (gun.md section 9)."""
    true, answered = leaf("true"), asyncio.Event()

    async def lie() -> None:
        async with connect(relay.url.replace("http", "ws"), proxy=None) as socket:
            await socket.send(json.dumps({"#": f"mallory{next(NUMBERS)}", "get": {"#": soul}}))
            async for text in socket:
                message = json.loads(text)
                for asked in message if isinstance(message, list) else [message]:
                    if isinstance(asked, dict) and (asked.get("get") or {}).get("#") == soul:
                        for state in (1, 9e15):
                            answer = {"@": asked["#"], "put": node(soul, true[0], None, state)}
                            await socket.send(json.dumps({"#": f"lie{next(NUMBERS)}", **answer}))
                        answered.set()

    async with graph_client(relay.url) as alice:
        await alice.put_leaf(soul, *true)
        liar = asyncio.create_task(lie())
        try:
            heard = Heard()
            while not answered.is_set():
                async with graph_client(relay.url) as carol:
                    assert await carol.read_leaves(soul, timeout_s=10) == dict([true])
                    carol.watch_leaves(soul, heard)
                    await heard.until(1)
            assert heard.leaves == dict([true])
        finally:
            liar.cancel()
            await asyncio.gather(liar, return_exceptions=True)


# Connections and relays that go away


async def test_a_lost_connection_costs_no_watch(relay: GunJsRelay, soul: str, owned: str) -> None:
    async with gate(relay.url) as way, graph_client(relay.url) as alice, graph_client(way.url) as bob:
        heard, values = Heard(), Values()
        bob.watch_leaves(soul, heard)
        bob.watch_values(owned, values)
        await alice.put_leaf(soul, *leaf("before"))
        await alice.put_value(owned, "k", "before", PAIR)
        await heard.until(1)
        await values.until({"k": "before"})
        way.shut()
        await alice.put_leaf(soul, *leaf("meanwhile"))
        await alice.put_value(owned, "k", "meanwhile", PAIR)
        bob.wake()
        await heard.until(2)
        await values.until({"k": "meanwhile"})
        await alice.put_leaf(soul, *leaf("after"))
        await heard.until(3)
        assert heard.times_told == 3


async def test_after_a_restart_old_and_new_leaves_are_read(relay: GunJsRelay, soul: str, owned: str) -> None:
    """A restarted gun.js answers a whole get with what came since only: the hole of gun.md section 9."""
    old, new, newer = leaf("old"), leaf("new"), leaf("newer")
    async with graph_client(relay.url) as alice, graph_client(relay.url) as bob:
        heard, values = Heard(), Values()
        bob.watch_leaves(soul, heard)
        bob.watch_values(owned, values)
        await alice.put_leaf(soul, *old)
        await alice.put_value(owned, "old", 1, PAIR)
        await heard.until(1)
        await values.until({"old": 1})
        await relay.stop()
        with pytest.raises(UnavailableError) as caught:
            await alice.put_leaf(soul, *new, timeout_s=0.2)
        assert caught.value.code is Code.GRAPH_UNREACHABLE
        with pytest.raises(UnavailableError):
            await alice.put_value(owned, "k", "away", PAIR, timeout_s=0.2)
        await relay.start()
        alice.wake()
        bob.wake()
        await heard.until(2)
        await values.until({"old": 1, "k": "away"})
        await alice.put_leaf(soul, *newer)
        await heard.until(3)
        assert heard.times_told == 3
        for _ in range(2):
            async with graph_client(relay.url) as carol:
                assert await carol.read_leaves(soul, timeout_s=10) == dict([old, new, newer])
                late = Values()
                carol.watch_values(owned, late)
                await late.until({"old": 1, "k": "away"})


async def test_what_the_last_run_left_is_sent(relay: GunJsRelay, soul: str, owned: str) -> None:
    store = WatchedStore()
    async with graph_client("http://127.0.0.1:1/gun", store=store, connected=False) as alice:
        with pytest.raises(UnavailableError):
            await alice.put_leaf(soul, *leaf("written offline"), timeout_s=0.05)
        for word in ("older", "newest"):
            with pytest.raises(UnavailableError):
                await alice.put_value(owned, "k", word, PAIR, timeout_s=0.05)
    assert len(store.outbox()) == 2
    async with graph_client(relay.url) as bob, graph_client(relay.url, store=store):
        heard, values = Heard(), Values()
        bob.watch_leaves(soul, heard)
        bob.watch_values(owned, values)
        await heard.until(1)
        await values.until({"k": "newest"})
        await store.until(lambda: not store.outbox())


async def test_a_leaf_the_relay_already_has_leaves_the_outbox(relay: GunJsRelay, soul: str) -> None:
    """gun.js never acknowledges what it has: reading it back must do."""
    store = WatchedStore()
    key, value = leaf("stored, its ack lost")
    async with graph_client(relay.url, store=store) as alice:
        await alice.put_leaf(soul, key, value)
    store.add_to_outbox((soul, key, value, 1_795_340_995_891.0, 9e12))
    async with graph_client(relay.url, store=store):
        await store.until(lambda: not store.outbox())


async def test_two_relays_one_of_them_down(relay: GunJsRelay, soul: str) -> None:
    async with graph_client([relay.url, "http://127.0.0.1:1/gun"]) as alice:
        key, value = leaf("one is enough")
        await alice.put_leaf(soul, key, value)
        assert await alice.read_leaves(soul, timeout_s=10) == {key: value}
        assert [state.connected for state in alice.relays] == [True, False]
