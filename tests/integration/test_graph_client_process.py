"""Our peer and relays that are processes of their own: killed, away and back again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sidecar.app.system_clock import SystemRandom
from sidecar.errors import UnavailableError
from sidecar.graph.core import sea
from tests.graph_nodes import SOUL, Heard, Values, WatchedStore, graph_client, leaf, until
from tests.integration.test_gun_relay_process import config, ends, ready_url, relay_process

PAIR = sea.make_pair(SystemRandom())
OWNED = f"~{PAIR['pub']}/lease"


async def test_clients_go_on_after_kill_9_and_a_restart(tmp_path: Path) -> None:
    """What is said while the relay is away arrives; nothing is told twice, of a value only the newest."""
    store, heard, values = WatchedStore(), Heard(), Values()
    async with relay_process(config(tmp_path)) as process:
        url = await ready_url(process)
        async with graph_client(url, store=store) as alice, graph_client(url) as bob:
            bob.watch_leaves(SOUL, heard)
            bob.watch_values(OWNED, values)
            await alice.put_leaf(SOUL, *leaf("before"))
            await alice.put_value(OWNED, "k", "before", PAIR)
            await heard.until(1)
            await values.until({"k": "before"})
            process.kill()
            await ends(process)
            for word in ("first", "second"):
                with pytest.raises(UnavailableError):
                    await alice.put_value(OWNED, "k", word, PAIR, timeout_s=0.05)
            with pytest.raises(UnavailableError):
                await alice.put_leaf(SOUL, *leaf("during"), timeout_s=0.05)
            async with relay_process(config(tmp_path, urlsplit(url).port or 0)) as again:
                await ready_url(again)
                alice.wake()
                bob.wake()
                await heard.until(2)
                await values.until({"k": "second"})
                await alice.put_leaf(SOUL, *leaf("after"))
                await heard.until(3)
                await store.until(lambda: not store.outbox())
            assert heard.times_told == 3
            assert len(values.states) == 2


async def test_a_call_keeps_its_second_relay_when_the_first_is_killed() -> None:
    async with relay_process(config(None)) as first, relay_process(config(None)) as second:
        urls = [await ready_url(first), await ready_url(second)]
        async with graph_client(urls) as alice, graph_client(urls) as bob:
            heard, last = Heard(), 0.0
            bob.watch_leaves(SOUL, heard)
            for client in (alice, bob):
                client.keep_close(True)
            await alice.put_leaf(SOUL, *leaf("on both"))
            await heard.until(1)
            first.kill()
            for number in range(2, 12):
                begin = time.perf_counter()
                await alice.put_leaf(SOUL, *leaf(str(number)))
                await heard.until(number)
                last = max(last, time.perf_counter() - begin)
            assert last < 1.0
            await until(lambda: [one.url for one in alice.relays if one.connected] == urls[1:], alice)


async def test_a_burst_from_many_writers_reaches_everybody() -> None:
    async with relay_process(config(None)) as process:
        url = await ready_url(process)
        async with graph_client(url) as alice, graph_client(url) as bob, graph_client(url) as carol:
            heard, values = Heard(), Values()
            carol.watch_leaves(SOUL, heard)
            carol.watch_values(OWNED, values)
            leaves = [leaf(str(number)) for number in range(200)]
            clients = (alice, bob)
            await asyncio.gather(
                *(clients[number % 2].put_leaf(SOUL, *one) for number, one in enumerate(leaves)),
                *(clients[number % 2].put_value(OWNED, f"{number}", number, PAIR) for number in range(50)),
            )
            await heard.until(200)
            await values.until({f"{number}": number for number in range(50)})
            assert heard.leaves == dict(leaves)
