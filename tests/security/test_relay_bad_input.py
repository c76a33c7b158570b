"""What one client can do to a relay and its other clients: nothing (FAULTS S09, S18, S19, R12).

The relay is a real process with a database.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.security.relays import Client, client, put, relay_process

FAST = {"messages_per_s": 1e9, "burst": 1e9, "messages_per_s_per_address": 1e9, "burst_per_address": 1e9}
"""No rate limit: the test is about another one."""
MEGABYTE = 1_000_000
CRASHERS = (
    "toString",
    "constructor",
    "hasOwnProperty",
    "valueOf",
    "isPrototypeOf",
    "__proto__",
    "big",
    "trim",
)


def now_ms() -> float:
    return time.time() * 1000


async def serves(one: Client, other: Client) -> None:
    """Both still get what they ask for, and what one writes reaches the other."""
    soul = f"after/{now_ms()}"
    assert "put" not in await other.ask({"get": {"#": soul}})
    assert (await one.ask(put(soul, now_ms() - 5, k="v")))["ok"] is True
    heard = await other.until(lambda message: soul in message.get("put", {}) and "@" not in message)
    assert heard["put"][soul]["k"] == "v"


async def test_S18_bad_frames_are_dropped_and_the_connection_stays(tmp_path: Path) -> None:
    state = now_ms() - 1_000
    deep: Any = 1
    for _ in range(150):
        deep = [deep]
    bad: list[dict[str, Any] | str | bytes] = [
        "{bad", "[bad", "5", "hello", "null", "", "[[]]", "\ufeff{}", b"\x00\xff", "[" * 1_000 + "]" * 1_000,
        '{"a":' * 1_000 + "1" + "}" * 1_000, '{"#":"nan","put":{"s":{"_":{"#":"s",">":{"k":NaN}},"k":1}}}',
        '{"#":"inf","put":{"s":{"_":{"#":"s",">":{"k":1}},"k":Infinity}}}', '{"#":"\\ud800","get":{"#":"s"}}',
        *(put("s", bad_state, k=1) for bad_state in ("5", None, True, [state], -1)), put("s", state, k=deep),
        put("s", state, k=[1]), put("s", state, k={"a": 1}), put("s", state, k={"#": "s", "x": 1}),
        put("s", state, __proto__="x"), put("k" * 5_000, state, k=1), put("s", state, **{"k" * 5_000: 1}),
        put("", state, k=1), {"put": []}, {"put": {"s": None}}, {"put": {}}, {"get": []},
        {"get": {"#": {"*": ""}}}, {"get": {"#": "s", ".": {"*": {}}}}, {"@": {}, "ok": 1},
        {"dam": "opt", "opt": {"peers": "http://127.0.0.1:1"}},
        {"dam": "mob", "peers": {}}, {"dam": "?", "pid": "p" * 10_000}, {"foo": 1},
        *(put(soul, state, k=1) for soul in CRASHERS), *({"get": {"#": soul}} for soul in CRASHERS),
        *(put("s", state, k={"#": soul}) for soul in CRASHERS),
    ]  # fmt: skip
    async with relay_process(tmp_path) as relay, client(relay.url) as one, client(relay.url) as other:
        await other.ask({"get": {"#": "s"}})
        for soul in CRASHERS:
            await other.say({"get": {"#": soul}})
        for frame in bad:
            await one.say(frame)
        await one.say(
            json.dumps([json.dumps({"#": f"b{number}", **put("s", "x", k=1)}) for number in range(500)])
        )
        await serves(one, other)
        assert not any("put" in message and "@" not in message for message in other.heard[:-1])
        assert relay.lives
        assert (await relay.health())["status"] == "ok"


async def test_R12_five_megabytes_cost_their_sender_the_connection_and_nobody_else(tmp_path: Path) -> None:
    async with relay_process(tmp_path) as relay, client(relay.url) as other, client(relay.url) as another:
        before = relay.rss
        for frame in (
            json.dumps({"#": "big", **put("s", 5, k="x" * 5 * MEGABYTE)}),
            '{"a":' * MEGABYTE,
            "[" * (5 * MEGABYTE),
            json.dumps(["{}"] * (5 * MEGABYTE // 4)),
        ):
            async with client(relay.url) as one:
                await one.say(frame)
                assert await one.close_code() == 1009
        await serves(other, another)
        assert relay.rss - before < 60 * MEGABYTE


@pytest.mark.parametrize("named", [False, True], ids=["whole souls", "keys"])
async def test_S19_a_hundred_thousand_subscriptions_of_one_client_are_bounded(
    tmp_path: Path, named: bool
) -> None:
    """Every get is answered; beyond the limit it subscribes no more."""
    count, batch = 100_000, 1_000
    async with (
        relay_process(tmp_path, server_limits=FAST) as relay,
        client(relay.url) as greedy,
        client(relay.url) as one,
        client(relay.url) as other,
    ):
        before = relay.rss
        for start in range(0, count, batch):
            gets = [
                {
                    "#": f"g{number}",
                    "get": {"#": "s", ".": f"k{number}"} if named else {"#": f"calls/{number}"},
                }
                for number in range(start, start + batch)
            ]
            await greedy.say(json.dumps(gets))
            await greedy.answer(f"g{start + batch - 1}")
            if start == count // 2:
                await serves(one, other)
        await serves(one, other)
        assert relay.rss - before < 60 * MEGABYTE
        last = put("s", now_ms() - 5, **{f"k{count - 1}": 1}) if named else put(f"calls/{count - 1}", 5, k=1)
        first = put("s", now_ms() - 5, k0=1) if named else put("calls/0", 5, k=1)
        await one.ask(last)
        await one.ask(first)
        heard = await greedy.until(lambda message: "put" in message and "@" not in message)
        assert heard["put"] == first["put"]


async def test_R12_a_client_that_never_reads_is_dropped_and_slows_nobody(tmp_path: Path) -> None:
    limits = {"server_limits": FAST | {"unsent_bytes": 512 * 1024}}
    value = "x" * 64_000
    async with (
        relay_process(tmp_path, **limits) as relay,
        client(relay.url, max_queue=1) as deaf,
        client(relay.url) as reader,
        client(relay.url) as writer,
    ):
        await deaf.say({"get": {"#": "news"}})
        await reader.ask({"get": {"#": "news"}})
        before, started = relay.rss, now_ms() - 60_000
        for number in range(300):
            await writer.ask(put("news", started + number, k=f"{number}{value}"))
            heard = await reader.until(lambda message: "put" in message and "@" not in message)
            assert heard["put"]["news"]["k"].startswith(f"{number}x")
        assert relay.rss - before < 60 * MEGABYTE
        assert (await relay.health())["connections"] == 2


async def test_S09_states_of_the_future_are_capped_in_time_and_number(tmp_path: Path) -> None:
    limits = {"deferred": 100, "future_ms": 600_000}
    async with (
        relay_process(tmp_path, limits=limits, server_limits=FAST) as relay,
        client(relay.url) as one,
        client(relay.url) as other,
    ):
        far = await one.ask(put("s", now_ms() + 660_000, k="from afar"))
        assert far["err"] == "State is too far in the future."
        soon = now_ms() + 300_000
        refused = 0
        for number in range(150):
            await one.say(put(f"f{number}", soon, k="later"))
        last = await one.say(put("s", now_ms() - 5, k="now"))
        await one.answer(last)
        refused = sum("err" in message for message in one.heard) - 1
        assert refused == 50
        assert "put" not in await other.ask({"get": {"#": "f0"}})
        await serves(one, other)


async def test_S18_links_in_a_circle_lead_nowhere(tmp_path: Path) -> None:
    async with relay_process(tmp_path) as relay, client(relay.url) as one, client(relay.url) as other:
        circle: dict[str, Any] = {}
        for number in range(100):
            circle |= put(f"c{number}", 5, next={"#": f"c{(number + 1) % 100}"}, self={"#": f"c{number}"})[
                "put"
            ]
        assert (await one.ask({"put": circle}))["ok"] is True
        answer = await other.ask({"get": {"#": "c0"}})
        assert [*answer["put"]] == ["c0"]
        await serves(one, other)


async def test_R12_clients_that_come_and_go_leave_nothing(tmp_path: Path) -> None:
    async with relay_process(tmp_path, server_limits=FAST) as relay, client(relay.url) as other:
        for round_number in range(2):
            for number in range(100):
                async with client(relay.url) as one:
                    await one.say({"dam": "?", "pid": f"p{number}"})
                    await one.say("{bad")
                    await one.ask({"get": {"#": f"s{number}"}})
            if round_number == 0:
                before = relay.rss
        assert relay.rss - before < 10 * MEGABYTE
        async with client(relay.url) as one, asyncio.timeout(30):
            await serves(one, other)
