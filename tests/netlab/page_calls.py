"""Calls between a page that has its own media and a sidecar that has them: run in a network of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from tests.integration.test_one_call import stats_until
from tests.netlab.page import Page, chromium
from tests.party import party
from tests.sidecars import DEADLINE_S, Record, Sidecar, relay


async def main(folder: Path) -> None:
    """What was seen is its last line."""
    async with (
        relay(folder / "relay") as gun,
        party(folder, ["alice", "bob", "carol"], [gun.ready["gun"]], rooms=True) as nodes,
        chromium(nodes["bob"], folder) as page,
    ):
        alice, bob, carol = nodes.values()
        await bob.call("system:hello", mediaOwner="renderer")
        seen = {
            "called": await page_is_called(alice, bob, page),
            "calls": await page_calls(alice, bob, page),
            "meets": await page_meets(alice, carol, bob, page),
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


async def page_meets(alice: Sidecar, carol: Sidecar, bob: Sidecar, page: Page) -> list[list[Record]]:
    """A conference of two sidecars and the page: what each sidecar has from the page."""
    session = await alice.call("conference:create", roomId="room_1", type="video")
    call_id = str(session["id"])
    await carol.event("aleph:callOffer", callId=call_id)
    await carol.call("conference:join", callId=call_id)
    for other in (alice, carol):
        await page.says("tracks", callId=call_id, userId=other.me["userId"])

    def has_all(node: Sidecar) -> Callable[[list[Record]], bool]:
        others = {other.me["userId"] for other in (alice, bob, carol) if other is not node}

        def found(peers: list[Record]) -> bool:
            shown = {p["userId"] for p in peers if p.get("video", {}).get("framesDecoded", 0) > 10}
            return shown == others

        return found

    seen = [await stats_of_all(node, call_id, has_all(node)) for node in (alice, carol)]
    for node in (alice, bob, carol):
        await node.call("conference:leave", callId=call_id)
    await page.says("left", callId=call_id)
    return seen


async def stats_of_all(node: Sidecar, call_id: str, enough: Callable[[list[Record]], bool]) -> list[Record]:
    """``call:stats`` once everybody in it shows enough."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            peers: list[Record] = (await node.call("call:stats", callId=call_id))["participants"]
            if enough(peers):
                return peers
            await asyncio.sleep(0.05)


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
