"""What only real processes show: two that call each other, several devices of one user."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from tests.party import LOOPBACK, slow
from tests.sidecars import Sidecar, friend, identity, pair, relay, sidecar

FIVE_TIMES_S = 5.0
"""The slack that a deadline of one second has in tests (FAULTS section 4)."""


async def active(node: Sidecar) -> list[dict[str, Any]]:
    sessions = await node.call("call:list-active")
    return [session for session in sessions if session["state"] == "active"]


async def test_C01_two_that_call_each_other_at_once_through_a_slow_graph_get_one_call(tmp_path: Path) -> None:
    async with (
        relay(tmp_path / "relay") as gun,
        slow(gun.ready["gun"], 0.3) as url,
        pair(tmp_path, [url]) as (alice, bob),
    ):
        mine, theirs = await asyncio.gather(
            alice.call("call:initiate", userId=bob.me["userId"], type="video"),
            bob.call("call:initiate", userId=alice.me["userId"], type="audio"),
        )
        smaller = alice.me["publicKey"] < bob.me["publicKey"]
        stands, lost = (mine["id"], theirs["id"]) if smaller else (theirs["id"], mine["id"])
        loser = bob if smaller else alice
        for node in (alice, bob):
            await node.event("aleph:callStateChange", callId=stands, state="active")
            assert [session["id"] for session in await active(node)] == [stands]
            assert not [item for item in node.events.entries if item.get("event") == "aleph:callOffer"]
        ended = await loser.event("aleph:callStateChange", callId=lost, state="ended")
        assert ended["reason"] == "glare"


async def test_C08_of_three_devices_one_accepts_and_two_stop_within_a_second(tmp_path: Path) -> None:
    alice_me, bob_me = await asyncio.gather(identity(tmp_path / "alice"), identity(tmp_path / "bob"))

    def config(own: str, other: dict[str, Any], name: str) -> dict[str, Any]:
        return {"media": LOOPBACK, "social": {"self": {"displayName": own}, "friends": [friend(other, name)]}}

    shared = str(tmp_path / "bob" / "identity.json")
    async with relay(tmp_path / "relay") as gun:
        peers = [gun.ready["gun"]]
        bobs = {"peers": peers, "config": config("Bob", alice_me, "Alice"), "identityFile": shared}
        async with (
            sidecar(tmp_path / "bob", **bobs) as phone,
            sidecar(tmp_path / "laptop", **bobs) as laptop,
            sidecar(tmp_path / "tablet", **bobs) as tablet,
        ):
            devices = (phone, laptop, tablet)
            assert {device.me["userId"] for device in devices} == {bob_me["userId"]}
            await asyncio.gather(*(device.healthy() for device in devices))
            alice_config = config("Alice", bob_me, "Bob")
            async with sidecar(tmp_path / "alice", peers=peers, config=alice_config) as alice:
                await alice.healthy()
                session = await alice.call("call:initiate", userId=bob_me["userId"], type="audio")
                for device in devices:
                    await device.event("aleph:callOffer", callId=session["id"])
                await laptop.call("call:accept", callId=session["id"])
                began, ended = time.monotonic(), {"callId": session["id"], "state": "ended"}
                for stopped in await asyncio.gather(
                    *(
                        device.event("aleph:callStateChange", timeout_s=FIVE_TIMES_S, **ended)
                        for device in (phone, tablet)
                    )
                ):
                    assert stopped["reason"] == "answered-elsewhere"
                sys.stdout.write(f"both stopped after {(time.monotonic() - began) * 1000:.0f} ms\n")
                for node in (alice, laptop):
                    await node.event("aleph:callStateChange", callId=session["id"], state="active")
