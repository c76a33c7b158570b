"""Calls between two real sidecars: every way to end, a crash on either side, muting, sharing, recording."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.ipc.zmq_client import CallFailed
from tests.sidecars import Sidecar, pair, relay

Pair = tuple[Sidecar, Sidecar]


@asynccontextmanager
async def couple(folder: Path, config: dict[str, Any] | None = None) -> AsyncIterator[Pair]:
    async with relay(folder / "relay") as gun, pair(folder, [gun.ready["gun"]], config) as both:
        yield both


async def dial(alice: Sidecar, bob: Sidecar, call_type: str = "video") -> str:
    """Alice calls; it rings at Bob, and Alice knows."""
    session = await alice.call("call:initiate", userId=bob.me["userId"], type=call_type)
    call_id = str(session["id"])
    await bob.event("aleph:callOffer", callId=call_id)
    await alice.event("aleph:callStateChange", callId=call_id, state="ringing")
    return call_id


async def connect(alice: Sidecar, bob: Sidecar, call_type: str = "video") -> str:
    call_id = await dial(alice, bob, call_type)
    await bob.call("call:accept", callId=call_id)
    for node in (alice, bob):
        await node.event("aleph:callStateChange", callId=call_id, state="active")
        await node.event("aleph:participantJoined", callId=call_id)
    return call_id


async def reasons(call_id: str, *nodes: Sidecar) -> list[str]:
    """Why the call ended, at each of them; waits for the end."""
    found = []
    for node in nodes:
        await node.events.wait(
            lambda item: (
                item.get("event") == "aleph:callStateChange"
                and item["data"]["callId"] == call_id
                and item["data"]["state"] in ("ended", "failed")
            )
        )
        found.append((await node.call("call:get", callId=call_id))["endReason"])
    return found


async def refused(node: Sidecar, channel: str, **params: Any) -> str:
    with pytest.raises(CallFailed) as caught:
        await node.call(channel, **params)
    return caught.value.code


async def test_both_ends_tell_one_story_of_every_way_to_end(tmp_path: Path) -> None:
    async with couple(tmp_path) as (alice, bob):
        cancelled = await dial(alice, bob)
        await alice.call("call:end", callId=cancelled)
        assert await reasons(cancelled, alice, bob) == ["cancelled", "cancelled"]

        declined = await dial(alice, bob)
        assert await refused(alice, "call:accept", callId=declined) == "call.wrong-state"
        await bob.call("call:reject", callId=declined, reason="in a meeting")
        assert await reasons(declined, alice, bob) == ["declined", "declined"]
        said = await alice.log.wait(lambda line: line.get("detail") == "in a meeting")
        assert said["reason"] == "declined"

        hung_up = await connect(alice, bob, "audio")
        assert await refused(bob, "call:reject", callId=hung_up) == "call.wrong-state"
        await bob.call("call:end", callId=hung_up)
        assert await reasons(hung_up, alice, bob) == ["remote-hangup", "local-hangup"]
        assert await refused(bob, "call:accept", callId=hung_up) == "call.wrong-state"

        gone = await connect(alice, bob, "audio")
        assert await alice.end() == 0
        assert await reasons(gone, bob) == ["app-gone"]
        records = [cancelled, declined, hung_up, gone]
    with sqlite3.connect(tmp_path / "alice" / "calls.db") as history:
        assert {row for (row,) in history.execute("SELECT call_id FROM calls")} == set(records)
    history.close()


async def test_kill_9_of_one_sidecar_ends_the_call_at_the_other_with_a_reason(tmp_path: Path) -> None:
    quick = {"calls": {"suspectSeconds": 0.5, "reconnectingSeconds": 1, "lostSeconds": 2}}
    async with couple(tmp_path, quick) as (alice, bob):
        call_id = await connect(alice, bob, "audio")
        for process in alice.children():
            process.send_signal(signal.SIGKILL)
        alice.process.send_signal(signal.SIGKILL)
        assert await reasons(call_id, bob) == ["connection-lost"]
        assert (await bob.call("call:get", callId=call_id))["state"] == "ended"


async def test_a_media_process_that_dies_ends_the_call_and_the_next_one_works(tmp_path: Path) -> None:
    async with couple(tmp_path, {"media": {"process": "child"}}) as (alice, bob):
        call_id = await connect(alice, bob, "audio")
        (media,) = alice.children()
        media.send_signal(signal.SIGKILL)
        assert await reasons(call_id, alice, bob) == ["media-failed", "media-failed"]
        await alice.log.wait(lambda line: line.get("msg") == "media process died")
        await alice.healthy()
        again = await connect(alice, bob, "audio")
        await alice.call("call:end", callId=again)
        assert await reasons(again, alice, bob) == ["local-hangup", "remote-hangup"]


async def test_muting_sharing_and_recording_show_at_both_ends(tmp_path: Path) -> None:
    async with couple(tmp_path) as (alice, bob):
        call_id = await connect(alice, bob)
        me = alice.me["userId"]
        await alice.call("call:mute-audio", callId=call_id, muted=True)
        for node in (alice, bob):
            await node.event("aleph:mediaStateChange", callId=call_id, userId=me, audioEnabled=False)
        await alice.call("call:share-screen", callId=call_id, enabled=True, sourceId="pattern:")
        for node in (alice, bob):
            await node.event("aleph:mediaStateChange", callId=call_id, userId=me, screenSharing=True)

        started = await bob.call("call:record-start", callId=call_id, mode="mixed")
        await bob.event("aleph:recording", callId=call_id, recording=True)
        assert (await bob.call("call:get", callId=call_id))["recording"] is True
        await alice.call("call:end", callId=call_id)
        stopped = await bob.event("aleph:recording", callId=call_id, recording=False)
        path = Path(stopped["path"])
        assert path.is_relative_to(tmp_path / "bob" / "recordings" / started["recordingId"])
        assert await asyncio.to_thread(path.read_bytes)
        result = await bob.call("call:record-stop", recordingId=started["recordingId"])
        assert result == {"path": str(path), "durationMs": stopped["durationMs"]}


async def test_an_audio_call_gets_a_picture_when_the_camera_is_unmuted(tmp_path: Path) -> None:
    async with couple(tmp_path) as (alice, bob):
        call_id = await connect(alice, bob, "audio")
        me = alice.me["userId"]
        session = await bob.call("call:get", callId=call_id)
        assert not any(person["videoEnabled"] for person in session["participants"])
        await alice.call("call:mute-video", callId=call_id, muted=False)
        await bob.event("aleph:mediaStateChange", callId=call_id, userId=me, videoEnabled=True)
        async with asyncio.timeout(30):
            while True:
                (stats,) = (await bob.call("call:stats", callId=call_id))["participants"]
                if stats.get("video", {}).get("framesDecoded", 0) > 0:
                    break
                await asyncio.sleep(0.05)  # asked again as fast as media counts


async def test_a_call_to_a_user_who_is_away_does_not_claim_to_ring(tmp_path: Path) -> None:
    async with couple(tmp_path) as (alice, bob):
        await bob.end()
        session = await alice.call("call:initiate", userId=bob.me["userId"], type="audio")
        await alice.log.wait(lambda line: line.get("msg") == "signal sent")
        assert (await alice.call("call:get", callId=session["id"]))["state"] == "initiating"
        again = {"userId": bob.me["userId"], "type": "audio"}
        assert await refused(alice, "call:initiate", **again) == "call.wrong-state"
        await alice.call("call:end", callId=session["id"])
        assert await reasons(session["id"], alice) == ["cancelled"]
