"""One real call between two sidecars and a relay, all of them processes of ours, driven over the bridge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sidecars import DEADLINE_S, Sidecar, pair, relay

MODES = pytest.mark.parametrize("mode", ["child", "inline"])


async def stats_until(
    node: Sidecar, call_id: str, enough: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """``call:stats`` about the one peer, once it shows enough; asked again as fast as media counts."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            stats = await node.call("call:stats", callId=call_id)
            (peer,) = stats["participants"]
            if enough(peer):
                return dict(peer)
            await asyncio.sleep(0.05)


async def established(alice: Sidecar, bob: Sidecar, call_type: str = "video") -> str:
    """A call that is active on both sides."""
    session = await alice.call("call:initiate", userId=bob.me["userId"], type=call_type)
    call_id = str(session["id"])
    offer = await bob.event("aleph:callOffer", callId=call_id)
    assert offer["fromUserId"] == alice.me["userId"]
    assert offer["fromDisplayName"] == "Alice"
    await bob.call("call:accept", callId=call_id)
    for node in (alice, bob):
        await node.event("aleph:callStateChange", callId=call_id, state="active")
    return call_id


@MODES
async def test_a_video_call_from_click_to_hang_up(tmp_path: Path, mode: str) -> None:
    config = {"media": {"process": mode}}
    async with relay(tmp_path / "relay") as gun, pair(tmp_path, [gun.ready["gun"]], config) as (alice, bob):
        call_id = await established(alice, bob)
        for node, other in ((alice, bob), (bob, alice)):
            peer = await stats_until(
                node,
                call_id,
                lambda peer: (
                    peer.get("video", {}).get("framesDecoded", 0) > 10
                    and peer.get("audio", {}).get("received", 0) > 50
                ),
            )
            assert peer["userId"] == other.me["userId"]
            (session,) = await node.call("call:list-active")
            assert session["id"] == call_id
            assert session["state"] == "active"
            assert {p["userId"]: p["state"] for p in session["participants"]} == {
                alice.me["userId"]: "connected",
                bob.me["userId"]: "connected",
            }
        assert await alice.call("call:end", callId=call_id) == {"ended": True}
        ended = await bob.event("aleph:callStateChange", callId=call_id, state="ended")
        assert ended["reason"] == "remote-hangup"
        for node, reason in ((alice, "local-hangup"), (bob, "remote-hangup")):
            session = await node.call("call:get", callId=call_id)
            assert (session["state"], session["endReason"]) == ("ended", reason)
            assert await node.call("call:list-active") == []
        assert await alice.end() == 0
        assert await bob.end() == 0
        for node in (alice, bob):
            assert not [line for line in node.log.entries if line.get("level") == "error"], node.raw_log
