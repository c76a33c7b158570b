"""The social channels of real sidecars: what is handed over is merged, holds at once and survives the end."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.ipc.zmq_client import CallFailed
from sidecar.trust import identity as identities
from sidecar.trust.pins import Pin
from tests.sidecars import Sidecar, friend, identity, pair, relay, sidecar

MEDIA = {"iceInterfaces": ["127.0.0.0/8"], "camera": "pattern:", "microphone": "tone:440"}


@asynccontextmanager
async def node(folder: Path, peers: list[str], **config: Any) -> AsyncIterator[Sidecar]:
    async with sidecar(folder, peers=peers, config={"media": MEDIA, **config}) as one:
        yield one


async def calls_in_vain(caller: Sidecar, callee: Sidecar) -> str:
    """A call that leaves no trace at the callee; returns when its leaf has been seen and dropped there."""
    session = await caller.call("call:initiate", userId=callee.me["userId"], type="audio")
    await caller.log.wait(lambda line: line.get("msg") == "signal sent" and line["call_id"] == session["id"])
    return str(session["id"])


def heard(node: Sidecar) -> list[str]:
    return [item["event"] for item in node.events.entries if item["event"] != "aleph:callStateChange"]


async def test_s17_blocked_then_restarted_then_an_empty_sync_is_still_blocked(tmp_path: Path) -> None:
    alice_me, bob_me = await asyncio.gather(identity(tmp_path / "alice"), identity(tmp_path / "bob"))
    async with relay(tmp_path / "relay") as gun:
        peers = [gun.ready["gun"]]
        known = {"self": {"displayName": "Alice"}, "friends": [friend(bob_me, "Bob")]}
        async with node(tmp_path / "alice", peers, social=known) as alice:
            async with node(tmp_path / "bob", peers) as bob:
                counts = await bob.call("social:sync", friends=[friend(alice_me, "Alice")])
                assert counts == {"counts": {"friends": 1, "rooms": 0, "domains": 0, "blocked": 0}}
                assert await bob.call("social:block", userId=alice_me["userId"]) == {"blocked": True}
                await bob.kill()
            async with node(tmp_path / "bob", peers, logging={"level": "debug"}) as bob:
                empty: dict[str, Any] = {"friends": [], "blocked": [], "removed": {}}
                counts = (await bob.call("social:sync", **empty))["counts"]
                assert counts == {"friends": 1, "rooms": 0, "domains": 0, "blocked": 1}
                await asyncio.gather(alice.healthy(), bob.healthy())
                call_id = await calls_in_vain(alice, bob)
                # After 3 s without a receipt the second knock lies where anybody may knock.
                await bob.log.wait(
                    lambda line: line.get("msg") == "signal dropped" and line["reason"] == "blocked"
                )
                assert heard(bob) == []
                assert not [line for line in bob.log.entries if line.get("msg") == "signal sent"]
                assert (await alice.call("call:get", callId=call_id))["state"] == "initiating"
                with pytest.raises(CallFailed) as refused:
                    await bob.call("call:initiate", userId=alice_me["userId"], type="audio")
                assert refused.value.code == "policy.blocked"
                await alice.call("call:end", callId=call_id)

                assert await bob.call("social:unblock", userId=alice_me["userId"]) == {"blocked": False}
                session = await alice.call("call:initiate", userId=bob_me["userId"], type="audio")
                offer = await bob.event("aleph:callOffer", callId=session["id"])
                assert offer["fromDisplayName"] == "Alice"


async def test_a_friend_who_is_added_while_running_rings_and_one_who_is_removed_does_not(
    tmp_path: Path,
) -> None:
    alice_me, bob_me = await asyncio.gather(identity(tmp_path / "alice"), identity(tmp_path / "bob"))
    async with (
        relay(tmp_path / "relay") as gun,
        node(tmp_path / "alice", [gun.ready["gun"]]) as alice,
        node(tmp_path / "bob", [gun.ready["gun"]], logging={"level": "debug"}) as bob,
    ):
        await asyncio.gather(alice.healthy(), bob.healthy())
        hers = {"friends": [friend(bob_me, "Bob")], "self": {"displayName": "Ally"}}
        await alice.client.call("social:sync", hers)
        assert (await alice.call("system:hello"))["self"]["displayName"] == "Ally"
        await bob.call("social:sync", friends=[friend(alice_me, "Alice")])
        session = await alice.call("call:initiate", userId=bob_me["userId"], type="audio")
        offer = await bob.event("aleph:callOffer", callId=session["id"])
        assert offer["fromDisplayName"] == "Alice"
        await alice.event("aleph:callStateChange", callId=session["id"], state="ringing")

        await bob.call("social:block", userId=alice_me["userId"])  # a block ends what rings
        await bob.event("aleph:callStateChange", callId=session["id"], state="ended")
        assert await bob.call("call:list-active") == []
        await alice.call("call:end", callId=session["id"])

        await bob.call("social:unblock", userId=alice_me["userId"])
        removed = await bob.call("social:sync", removed={"friends": [alice_me["userId"]]})
        assert removed["counts"]["friends"] == 0
        before = len(heard(bob))
        second = await calls_in_vain(alice, bob)
        await bob.log.wait(
            lambda line: line.get("msg") == "signal received" and line.get("call_id") == second
        )
        await bob.call("system:health")
        assert len(heard(bob)) == before  # a stranger's knock, which does not ring


async def test_c18_an_invitation_that_is_still_alive_does_not_ring_again_after_kill_9(tmp_path: Path) -> None:
    async with (
        relay(tmp_path / "relay") as gun,
        pair(tmp_path, [gun.ready["gun"]]) as (alice, bob),
    ):
        session = await alice.call("call:initiate", userId=bob.me["userId"], type="audio")
        await bob.event("aleph:callOffer", callId=session["id"])
        await bob.kill()
        async with node(tmp_path / "bob", [gun.ready["gun"]], logging={"level": "debug"}) as again:
            await again.log.wait(
                lambda line: line.get("msg") == "signal dropped" and line["reason"] == "replay"
            )
            assert set(heard(again)) <= {"aleph:callSummary"}  # of the call that was cut off
            assert await again.call("call:list-active") == []


async def test_what_cannot_be_used_is_named_and_nothing_of_it_holds(tmp_path: Path) -> None:
    async with node(tmp_path, []) as one:
        for params, field in (
            ({"blocked": ["0" * 16], "friends": [{"id": "x", "displayName": ""}]}, "friends[0].id"),
            ({"blocked": ["0" * 16, one.me["userId"]]}, "blocked"),
            ({"blocked": ["0" * 16], "removed": {"blocked": []}}, "removed.blocked"),
        ):
            with pytest.raises(CallFailed) as caught:
                await one.call("social:sync", **params)
            assert caught.value.code == "invalid-params"
            assert field in str(caught.value)
        for channel in ("social:block", "social:unblock"):
            with pytest.raises(CallFailed) as caught:
                await one.call(channel, userId="")
            assert caught.value.code == "invalid-params"
        for user_id in ("nobody", one.me["userId"]):
            with pytest.raises(CallFailed) as caught:
                await one.call("social:block", userId=user_id)
            assert caught.value.code == "invalid-params"
        assert (await one.call("social:sync"))["counts"]["blocked"] == 0


async def test_the_configuration_is_merged_into_what_is_stored(tmp_path: Path) -> None:
    blocks = {"blocked": ["1" * 16]}
    async with node(tmp_path, [], social={**blocks, "self": {"displayName": "One"}}) as one:
        await one.call("social:sync", rooms=[{"id": "room_1", "members": [one.me["userId"]]}])
        assert await one.end() == 0
    async with node(tmp_path, [], social={"blocked": ["2" * 16]}) as one:
        assert one.me["displayName"] == "One"
        counts = (await one.call("social:sync"))["counts"]
        assert counts == {"friends": 0, "rooms": 1, "domains": 0, "blocked": 2}


async def test_P02_a_key_that_is_not_the_pinned_one_is_told_of_over_the_bridge(tmp_path: Path) -> None:
    """No two keys with one fingerprint are at hand: the other is put where an earlier run keeps its own."""
    alice, other = identities.generate(b"\x11" * 32), identities.generate(b"\x22" * 32)
    await identity(tmp_path)
    with sqlite3.connect(tmp_path / "trust.db") as database:
        pin = msgspec.json.encode(Pin(other.pub, ()))
        database.execute("INSERT INTO pins VALUES (?, 1, ?)", (alice.fingerprint, pin))
    database.close()
    changed = {"userId": alice.fingerprint, "oldKey": other.pub, "newKey": alice.pub}
    known = {"id": alice.fingerprint, "displayName": "Alice", "publicKey": alice.pub}
    async with node(tmp_path, []) as one:
        await one.call("social:sync", friends=[known])
        assert await one.event("aleph:keyChanged") == changed
        await one.kill()
    async with node(tmp_path, []) as one:  # the new key is the pinned one now
        await one.call("social:sync", friends=[{**known, "displayName": "Al"}])
        assert heard(one) == []
