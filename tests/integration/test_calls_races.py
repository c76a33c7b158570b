"""What only real processes show: two that call each other, several devices of one user, a call that grows."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from tests.party import LOOPBACK, party, slow
from tests.sidecars import Sidecar, friend, identity, pair, relay, sidecar


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
                for device in (phone, tablet):
                    stopped = await device.event(
                        "aleph:callStateChange", callId=session["id"], state="ended", timeout_s=5.0
                    )
                    assert stopped["reason"] == "answered-elsewhere"
                for node in (alice, laptop):
                    await node.event("aleph:callStateChange", callId=session["id"], state="active")


async def test_a_call_grows_to_three_and_its_first_connection_is_never_touched(tmp_path: Path) -> None:
    async with (
        relay(tmp_path / "relay") as gun,
        party(tmp_path, ["alice", "bob", "carol"], [gun.ready["gun"]]) as people,
    ):
        alice, bob, carol = people.values()
        session = await alice.call("call:initiate", userId=bob.me["userId"], type="audio")
        call_id = session["id"]
        await bob.event("aleph:callOffer", callId=call_id)
        await bob.call("call:accept", callId=call_id)
        for node in (alice, bob):
            await node.event("aleph:callStateChange", callId=call_id, state="active")
        invited = await alice.call("conference:invite", callId=call_id, userId=carol.me["userId"])
        assert invited == {"invited": True}
        await carol.event("aleph:callOffer", callId=call_id)
        await carol.call("conference:join", callId=call_id)
        for node, others in ((alice, (carol,)), (bob, (carol,)), (carol, (alice, bob))):
            for other in others:
                joined = await node.event("aleph:participantJoined", callId=call_id)
                assert joined, other.me
        await asyncio.gather(*(_sees(node, call_id, 3) for node in people.values()))
        for node in (alice, bob):
            assert not [item for item in node.events.entries if item.get("event") == "aleph:reconnecting"]
        await carol.call("conference:leave", callId=call_id)
        await asyncio.gather(*(_sees(node, call_id, 2) for node in (alice, bob)))


async def test_K02_of_five_in_a_conference_a_killed_one_is_gone_from_all_rosters(tmp_path: Path) -> None:
    names = ["alice", "bob", "carol", "dave", "erin"]
    async with (
        relay(tmp_path / "relay") as gun,
        party(tmp_path, names, [gun.ready["gun"]], rooms=True) as people,
    ):
        alice, *others = people.values()
        session = await alice.call("conference:create", roomId="room_1", type="audio")
        call_id = session["id"]
        for node in others:
            await node.event("aleph:callOffer", callId=call_id)
            await node.call("conference:join", callId=call_id)
        await asyncio.gather(*(_sees(node, call_id, 5) for node in people.values()))
        victim = people["dave"]
        await victim.kill()
        left = [node for node in people.values() if node is not victim]
        for node in left:
            gone = await node.event(
                "aleph:participantLeft", callId=call_id, userId=victim.me["userId"], timeout_s=75.0
            )
            assert gone["reason"] == "connection-lost"
        await asyncio.gather(*(_sees(node, call_id, 4) for node in left))


async def test_P05_a_dump_of_the_relays_store_shows_no_fingerprint_beside_a_call(tmp_path: Path) -> None:
    async with (
        relay(tmp_path / "relay") as gun,
        party(tmp_path, ["alice", "bob", "carol"], [gun.ready["gun"]], rooms=True) as people,
    ):
        alice, bob, carol = people.values()
        session = await alice.call("conference:create", roomId="room_1", type="audio")
        for node in (bob, carol):
            await node.event("aleph:callOffer", callId=session["id"])
            await node.call("conference:join", callId=session["id"])
        await asyncio.gather(*(_sees(node, session["id"], 3) for node in people.values()))
        rows = _dump(tmp_path / "relay")
        names = {node.me["userId"] for node in people.values()} | {session["id"], "room_1"}
        for soul, key, value in rows:
            if soul.startswith(("calls/keys/", "calls/inbox/")):
                continue
            assert not [name for name in names if name in f"{soul} {key} {value}"], soul
        assert {soul.split("/")[1] for soul, _, _ in rows if soul.startswith("calls/")} >= {"p", "s", "keys"}


def _dump(folder: Path) -> list[tuple[str, str, str]]:
    with sqlite3.connect(folder / "gun.db") as database:
        return list(database.execute("SELECT soul, key, value FROM cells"))


async def _sees(node: Sidecar, call_id: str, count: int) -> None:
    """Waits until so many are in the call, ourselves included."""
    async with asyncio.timeout(75):
        while True:
            session = await node.call("call:get", callId=call_id)
            there = [p for p in session["participants"] if p["state"] == "connected"]
            if len(there) == count:
                return
            await asyncio.sleep(0.1)
