"""What remains of calls between real processes: records, summaries, what a crash or a sleep leaves behind."""

from __future__ import annotations

import asyncio
import signal
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pytest

from sidecar.app.tools.explain import explain
from sidecar.app.tools.explain_store import find
from tests.integration.test_calls_real import connect, couple, dial, reasons
from tests.party import LOOPBACK
from tests.sidecars import Sidecar, friend, pair, relay, sidecar

TOLD_WITHIN_S = 10.0


def alices(bob: Sidecar, **more: Any) -> dict[str, Any]:
    """The configuration of Alice's second life."""
    social = {"self": {"displayName": "Alice"}, "friends": [friend(bob.me, "Bob")]}
    return {"media": LOOPBACK, "social": social, **more}


async def records(node: Sidecar, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await node.call("call:history", **params))["records"]
    return found


async def stale(node: Sidecar) -> list[dict[str, Any]]:
    """The records, once the calls that the process before had left open are closed."""
    await node.log.wait(lambda line: line.get("msg") == "a call was cut off by a crash")
    return await records(node)


async def told_first(node: Sidecar) -> dict[str, Any]:
    """The first event of the process, also if it was before its client came."""
    async with aclosing(node.client.stream("events", {"since": 0})) as events:
        return dict(await anext(events))


def rings(node: Sidecar) -> int:
    return len([item for item in node.events.entries if item.get("event") == "aleph:callOffer"])


async def test_every_end_is_summed_up_kept_and_can_be_explained(tmp_path: Path) -> None:
    async with couple(tmp_path) as (alice, bob):
        missed = await dial(alice, bob, "audio")
        await alice.call("call:end", callId=missed)
        for node in (alice, bob):
            summary = await node.event("aleph:callSummary", callId=missed)
            assert "stats" not in summary
            assert summary["record"]["endReason"] == "cancelled"

        talked = await connect(alice, bob, "audio")
        await bob.call("call:end", callId=talked)
        for node, other in ((alice, bob), (bob, alice)):
            summary = await node.event("aleph:callSummary", callId=talked)
            (measured,) = summary["stats"]["participants"]
            assert measured["userId"] == other.me["userId"]
            assert measured["path"] == "host"
            kept = await records(node)
            assert [record["callId"] for record in kept] == [talked, missed]
            assert kept[0] == summary["record"]
            assert kept[0]["stats"] == summary["stats"]
            assert await records(node, before=kept[0]["endedAt"]) == kept[1:]
        folders = {"alice": alice, "bob": bob}
        for name in folders:
            told = explain(talked, *find(tmp_path / name, talked))
            assert told.problems == 0
            assert told.why.startswith("local-hangup" if name == "bob" else "remote-hangup")
            assert [step.kind for step in told.steps if step.kind in ("invite", "accept", "end")] == [
                "invite",
                "accept",
                "end",
            ]
        # the history is that of the node, not of the process
        assert await alice.end() == 0
    async with sidecar(tmp_path / "alice") as again:
        assert [record["callId"] for record in await records(again)] == [talked, missed]


async def test_C18_after_kill_9_in_a_call_and_a_restart_the_peer_is_told_and_nothing_rings(
    tmp_path: Path,
) -> None:
    async with (
        relay(tmp_path / "relay") as gun,
        pair(tmp_path, [gun.ready["gun"]]) as (alice, bob),
    ):
        call_id = await connect(bob, alice, "audio")
        await alice.kill()
        config = alices(bob, logging={"level": "debug"})
        async with sidecar(tmp_path / "alice", peers=[gun.ready["gun"]], config=config) as again:
            async with asyncio.timeout(TOLD_WITHIN_S):
                assert await reasons(call_id, bob) == ["app-gone"]
            (kept,) = await stale(again)
            assert (kept["callId"], kept["endReason"], kept["direction"]) == (call_id, "app-gone", "incoming")
            assert kept["createdAt"] <= kept["startedAt"] <= kept["endedAt"]
            first = await told_first(again)
            assert (first["event"], first["data"]["callId"]) == ("aleph:callSummary", call_id)
            # the relay has shown everything again by the time the old invitation was refused
            await again.log.wait(lambda line: line.get("reason") == "replay")
            await again.healthy()
            assert rings(again) == 0
            assert await again.call("call:list-active") == []

            # and the two can talk again at once
            anew = await connect(bob, again, "audio")
            await again.call("call:end", callId=anew)
            assert await reasons(anew, bob, again) == ["remote-hangup", "local-hangup"]


async def test_C18_what_rang_when_the_process_was_killed_is_a_missed_call_and_rings_no_more(
    tmp_path: Path,
) -> None:
    async with (
        relay(tmp_path / "relay") as gun,
        pair(tmp_path, [gun.ready["gun"]]) as (alice, bob),
    ):
        call_id = await dial(bob, alice, "audio")
        await alice.kill()
        config = alices(bob, logging={"level": "debug"})
        async with sidecar(tmp_path / "alice", peers=[gun.ready["gun"]], config=config) as again:
            await again.log.wait(lambda line: line.get("reason") == "replay")
            (kept,) = await stale(again)
            assert (kept["callId"], kept["endReason"]) == (call_id, "app-gone")
            assert "startedAt" not in kept
            assert rings(again) == 0
            # Bob's other wishes are his own: he may still be waiting for another device of hers
            await bob.call("call:end", callId=call_id)
            assert await reasons(call_id, bob) == ["cancelled"]


@pytest.mark.timeout(180)
async def test_C19_a_call_that_a_sleep_outlasted_is_over_at_both_ends_and_nothing_rings(
    tmp_path: Path,
) -> None:
    limits = {"calls": {"suspectSeconds": 1, "reconnectingSeconds": 2, "lostSeconds": 9}}
    async with couple(tmp_path, limits) as (alice, bob):
        call_id = await connect(bob, alice, "audio")
        asleep = [psutil.Process(alice.pid), *alice.children()]
        for process in asleep:
            process.send_signal(signal.SIGSTOP)
        assert await reasons(call_id, bob) == ["connection-lost"]
        for process in asleep:
            process.send_signal(signal.SIGCONT)
        await alice.log.wait(lambda line: "slept" in line.get("msg", ""))
        assert await reasons(call_id, alice) == ["connection-lost"]
        assert [record["endReason"] for record in await records(alice)] == ["connection-lost"]
        assert rings(alice) == 1
        assert not [line for line in alice.log.entries if line.get("logger") == "watchdog"]
        again = await connect(alice, bob, "audio")
        await alice.call("call:end", callId=again)
        assert await reasons(again, alice, bob) == ["local-hangup", "remote-hangup"]
