"""Calls between a page that has its own media and a sidecar that has them: run in a network of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.integration.test_one_call import stats_until
from tests.netlab.page import Page, chromium
from tests.sidecars import Sidecar, pair, relay


async def main(folder: Path) -> None:
    """What was seen is its last line."""
    async with (
        relay(folder / "relay") as gun,
        pair(folder, [gun.ready["gun"]]) as (alice, bob),
        chromium(bob, folder) as page,
    ):
        await bob.call("system:hello", mediaOwner="renderer")
        seen = {
            "called": await page_is_called(alice, bob, page),
            "calls": await page_calls(alice, bob, page),
            "problems": [item for item in page.said.entries if item["what"] in ("problem", "error")],
        }
    sys.stdout.write(json.dumps(seen) + "\n")


async def page_is_called(alice: Sidecar, bob: Sidecar, page: Page) -> dict[str, object]:
    """The sidecar offers; then the path is replaced, a camera muted, and the call ended by the peer."""
    session = await alice.call("call:initiate", userId=bob.me["userId"], type="video")
    call_id = str(session["id"])
    for node in (alice, bob):
        await node.event("aleph:callStateChange", callId=call_id, state="active")
    sides = await both_see(alice, page, call_id)
    measured = await stats_until(bob, call_id, lambda peer: "rttMs" in peer)

    to = {"callId": call_id, "targetUserId": alice.me["userId"]}
    page.said.entries.clear()
    await bob.call("rtc:report", **to, gen=0, state="connected", silentMs=3000)
    start = await bob.event("aleph:rtcStart", callId=call_id, gen=1)
    await page.says("tracks", callId=call_id)
    again = await page.says("pictures", callId=call_id)

    await bob.call("call:mute-video", callId=call_id, muted=True)
    await page.says("enabled", audio=True, video=False)
    muted = await alice.event(
        "aleph:mediaStateChange", userId=bob.me["userId"], videoEnabled=False, audioEnabled=True
    )
    await alice.call("call:mute-audio", callId=call_id, muted=True)
    await page.says("state", callId=call_id, audio=False, video=True)
    await alice.call("call:end", callId=call_id)
    left = await page.says("left", callId=call_id)
    summary = await bob.event("aleph:callSummary", callId=call_id)
    return {
        **sides,
        "role": start["role"],
        "again": again,
        "muted": muted,
        "left": left["calls"],
        "measured": measured,
        "summary": summary["stats"]["participants"][0],
    }


async def page_calls(alice: Sidecar, bob: Sidecar, page: Page) -> dict[str, object]:
    """The page offers, and hangs up."""
    await page.do("page:call", to=alice.me["userId"])
    offer = await alice.event("aleph:callOffer")
    call_id = offer["callId"]
    await alice.call("call:accept", callId=call_id)
    for node in (alice, bob):
        await node.event("aleph:callStateChange", callId=call_id, state="active")
    sides = await both_see(alice, page, call_id)
    await bob.call("call:end", callId=call_id)
    ended = await alice.event("aleph:callStateChange", callId=call_id, state="ended")
    return {**sides, "ended": ended["reason"]}


async def both_see(alice: Sidecar, page: Page, call_id: str) -> dict[str, object]:
    """What arrives at each end, once enough has."""
    pictures = await page.says("pictures", callId=call_id)
    sound = await page.says("sound", callId=call_id)
    peer = await stats_until(
        alice,
        call_id,
        lambda peer: (
            peer.get("video", {}).get("framesDecoded", 0) > 10
            and peer.get("audio", {}).get("received", 0) > 50
        ),
    )
    return {"page": {**pictures, **sound}, "sidecar": peer}


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
