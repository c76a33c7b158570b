"""Media of a front end through a real sidecar and its socket: whose events they are, who may take over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.ipc.zmq_client import CallFailed, ZmqClient
from tests.sidecars import DEADLINE_S, friend, identity, sidecar
from tests.unit.media_sdp_samples import offer


async def test_I03_a_second_client_takes_over_when_the_first_is_gone(tmp_path: Path) -> None:
    bob = await identity(tmp_path / "bob")
    social = {"friends": [friend(bob, "Bob")]}
    async with sidecar(tmp_path / "alice", config={"social": social}) as node:
        page = ZmqClient(node.ready["endpoint"])
        hello = await page.call("system:hello", {"mediaOwner": "renderer"})
        events = page.stream("events", {"since": hello["seq"]})
        session = await page.call("call:initiate", {"userId": bob["userId"], "type": "video"})
        async for item in events:
            if item["event"] == "aleph:rtcStart":
                break
        assert (item["data"]["callId"], item["data"]["gen"]) == (session["id"], 0)
        with pytest.raises(CallFailed, match=r"call\.wrong-state"):
            await node.call("rtc:attach", callId=session["id"])
        await node.event("aleph:callStateChange", callId=session["id"])
        await events.aclose()
        page.close()

        starts = None
        async with asyncio.timeout(DEADLINE_S):
            while starts is None:
                try:
                    starts = await node.call("rtc:attach", callId=session["id"])
                except CallFailed:
                    await asyncio.sleep(0.02)
        assert starts == [item["data"]]
        assert not [entry for entry in node.events.entries if entry["event"] == "aleph:rtcStart"]
        sdp = offer() + "a=end-of-candidates\r\n"
        await node.call("rtc:send-offer", callId=session["id"], targetUserId=bob["userId"], sdp=sdp)
        await node.call("call:end", callId=session["id"])
        ended = await node.call("call:get", callId=session["id"])
        assert ended["endReason"] == "cancelled"
        assert not [line for line in node.log.entries if line.get("level") == "error"], node.raw_log
