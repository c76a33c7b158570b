"""Conferences between real sidecars: five that hear each other, one killed; merged, grown, a wrong clock."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from itertools import pairwise
from pathlib import Path
from time import monotonic

import pytest

from sidecar.storage.sqlite import WHOLE
from sidecar.trust import sodium
from sidecar.trust.seal import SIZES
from tests.integration.test_calls_clocks import wrong
from tests.integration.test_calls_real import connect, reasons
from tests.party import LOOPBACK, party, slow, tone_hz
from tests.sidecars import DEADLINE_S, Sidecar, friend, relay, sidecar

FIVE = ["alice", "bob", "carol", "dave", "erin"]
THREE = FIVE[:3]
CONNECTED_S = 60.0
"""For a mesh of five to stand and to be heard, on two cores that do other things too."""
ANNOUNCED_S = 60.0
"""Who missed the first word about a conference hears the next one."""
GONE_S = 15.0
"""FAULTS K02."""
BUSY_S = 5.0
"""Time in which a busy machine does not let media run is not counted as silence (DESIGN D5)."""
NO_GAP_S = 2.5
"""From then on media calls a connection suspect (DESIGN D5): sound has paused for less."""


def others(people: Sequence[Sidecar], node: Sidecar) -> list[Sidecar]:
    return [other for other in people if other is not node]


async def sees(node: Sidecar, call_id: str, people: Sequence[Sidecar]) -> None:
    """Waits until the others have been told of as joined, and are the roster."""
    for other in others(people, node):
        await node.events.wait(
            lambda item, user_id=other.me["userId"]: (
                item.get("event") == "aleph:participantJoined"
                and item["data"]["callId"] == call_id
                and item["data"]["participant"]["userId"] == user_id
            ),
            timeout_s=CONNECTED_S,
        )
    assert await roster(node, call_id) == {other.me["userId"] for other in people}


async def roster(node: Sidecar, call_id: str) -> set[str]:
    session = await node.call("call:get", callId=call_id)
    return {person["userId"] for person in session["participants"] if person["state"] == "connected"}


async def hears(node: Sidecar, call_id: str, people: dict[str, Sidecar], names: Sequence[str]) -> None:
    """Waits until the tone of each of the others comes from that one."""
    wanted = {
        people[name].me["userId"]: tone_hz(list(people).index(name))
        for name in names
        if people[name] is not node
    }
    heard: dict[str, float] = {}
    try:
        async with asyncio.timeout(CONNECTED_S):
            while heard.keys() != wanted.keys() or any(abs(heard[u] - wanted[u]) > 10 for u in wanted):
                stats = await node.call("call:stats", callId=call_id)
                heard = {p["userId"]: p.get("audio", {}).get("toneHz", 0) for p in stats["participants"]}
                await asyncio.sleep(0.05)  # asked again as fast as media counts
    except TimeoutError:
        raise AssertionError(f"heard {heard} instead of {wanted}") from None


async def together(nodes: Sequence[Sidecar], call_id: str | None = None) -> str:
    """Waits until all are in one conference, the given one if one is given, and in no other."""
    everybody = {node.me["userId"] for node in nodes}
    found: list[list[str]] = []
    try:
        async with asyncio.timeout(ANNOUNCED_S + CONNECTED_S):
            while True:
                found = [[s["id"] for s in await node.call("call:list-active")] for node in nodes]
                wanted = call_id or found[0][0] if found[0] else None
                if all(ids == [wanted] for ids in found):
                    rosters = [await roster(node, str(wanted)) for node in nodes]
                    if all(one == everybody for one in rosters):
                        return str(wanted)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not together in {call_id}: {found}") from None


async def meet(people: dict[str, Sidecar]) -> str:
    """A conference of all that the first one creates; it rings at the others, and all see and hear all."""
    first, *rest = people.values()
    session = await first.call("conference:create", roomId="room_1", type="audio")
    call_id = str(session["id"])

    async def join(node: Sidecar) -> None:
        await node.event("aleph:callOffer", callId=call_id)
        await node.call("conference:join", callId=call_id)

    await asyncio.gather(*map(join, rest))
    everybody = list(people.values())
    await asyncio.gather(*(sees(node, call_id, everybody) for node in everybody))
    await asyncio.gather(*(hears(node, call_id, people, list(people)) for node in everybody))
    return call_id


@pytest.mark.timeout(240)
async def test_K02_of_five_that_hear_each_other_a_killed_one_is_gone_from_all_rosters(tmp_path: Path) -> None:
    async with (
        relay(tmp_path / "relay") as gun,
        party(tmp_path, FIVE, [gun.ready["gun"]], rooms=True) as people,
    ):
        call_id = await meet(people)
        victim = people["dave"]
        left = others(list(people.values()), victim)
        killed_at = monotonic()
        await victim.kill()

        async def sees_it_go(node: Sidecar) -> float:
            gone = await node.event(
                "aleph:participantLeft", callId=call_id, userId=victim.me["userId"], timeout_s=5 * GONE_S
            )
            after_s = monotonic() - killed_at
            assert gone["reason"] == "connection-lost"
            assert await roster(node, call_id) == {other.me["userId"] for other in left}
            return after_s

        after_s = await asyncio.gather(*map(sees_it_go, left))
        assert max(after_s) < GONE_S + BUSY_S, after_s
        names = [name for name in FIVE if name != "dave"]
        await asyncio.gather(*(hears(node, call_id, people, names) for node in left))
        for node in left:
            lost = [item for item in node.events.entries if item.get("event") == "aleph:participantLeft"]
            assert len(lost) == 1, "nobody else was ever gone"


@pytest.mark.timeout(240)
async def test_K01_two_that_create_at_once_are_one_conference_under_the_smaller_id(tmp_path: Path) -> None:
    async with (
        relay(tmp_path / "relay") as gun,
        slow(gun.ready["gun"], 0.2) as url,
        party(tmp_path, THREE, [url], rooms=True) as people,
    ):
        alice, bob, carol = people.values()
        made = await asyncio.gather(
            *(node.call("conference:create", roomId="room_1", type="audio") for node in (alice, bob))
        )
        smaller = min(str(session["id"]) for session in made)
        await carol.event("aleph:callOffer")
        await carol.call("conference:create", roomId="room_1", type="audio")  # joins what lives there
        await together(list(people.values()), smaller)
        await asyncio.gather(*(hears(node, smaller, people, THREE) for node in people.values()))
        rung = [item["data"]["callId"] for item in carol.events.entries if item["event"] == "aleph:callOffer"]
        assert len(rung) == 1, rung


@pytest.mark.timeout(240)
async def test_C18_a_killed_member_meets_the_others_again_and_hears_no_old_ring(tmp_path: Path) -> None:
    async with relay(tmp_path / "relay") as gun:
        peers = [gun.ready["gun"]]
        async with party(tmp_path, THREE, peers, rooms=True) as people:
            old = await meet(people)
            await people["carol"].kill()
            # friends and rooms are in its own copy by now
            media = LOOPBACK | {"microphone": f"tone:{tone_hz(THREE.index('carol'))}"}
            async with sidecar(tmp_path / "carol", peers=peers, config={"media": media}) as again:
                await again.healthy()
                (kept,) = (await again.call("call:history"))["records"]
                assert (kept["callId"], kept["endReason"]) == (old, "app-gone")
                assert await again.call("call:list-active") == []
                people["carol"] = again
                await again.call("conference:create", roomId="room_1", type="audio", ring=False)
                call_id = await together(list(people.values()))
                await asyncio.gather(*(hears(node, call_id, people, THREE) for node in people.values()))
                assert not [item for item in again.events.entries if item["event"] == "aleph:callOffer"]


@pytest.mark.parametrize("seconds", [600, -600], ids=["ahead", "behind"])
async def test_S10_a_conference_with_one_whose_clock_is_ten_minutes_wrong(
    tmp_path: Path, seconds: int
) -> None:
    async with (
        relay(tmp_path / "relay") as gun,
        party(tmp_path, THREE, [gun.ready["gun"]], rooms=True, processes={"bob": wrong(seconds)}) as people,
    ):
        call_id = await meet(people)
        await people["bob"].call("conference:leave", callId=call_id)
        for name in ("alice", "carol"):
            node = people[name]
            left = await node.event(
                "aleph:participantLeft", callId=call_id, userId=people["bob"].me["userId"]
            )
            assert left["reason"] == "remote-hangup"
        seen = await people["bob"].call("conference:peek", roomId="room_1")
        assert seen["callId"] == call_id
        assert {person["userId"] for person in seen["participants"]} == {
            people[name].me["userId"] for name in ("alice", "carol")
        }
        # it may come back, and create
        assert await people["bob"].call("conference:create", roomId="room_1", type="audio")
        await together(list(people.values()), call_id)


async def test_a_call_grows_to_three_and_the_sound_of_its_first_two_goes_on(tmp_path: Path) -> None:
    async with (
        relay(tmp_path / "relay") as gun,
        party(tmp_path, THREE, [gun.ready["gun"]]) as people,
    ):
        alice, bob, carol = people.values()
        call_id = await connect(alice, bob, "audio")
        watched = [Sound(alice, bob, call_id), Sound(bob, alice, call_id)]
        async with watching(watched):
            invited = await alice.call("conference:invite", callId=call_id, userId=carol.me["userId"])
            assert invited == {"invited": True}
            await carol.event("aleph:callOffer", callId=call_id)
            await carol.call("conference:join", callId=call_id)
            for node in people.values():
                await sees(node, call_id, list(people.values()))
            await asyncio.gather(*(hears(node, call_id, people, THREE) for node in people.values()))
            await carol.call("conference:leave", callId=call_id)
            for node in (alice, bob):
                await node.event("aleph:participantLeft", callId=call_id, userId=carol.me["userId"])
            for sound in watched:
                await sound.more()
        for sound in watched:
            assert all(before <= after for before, after in pairwise(sound.received)), "one connection"
            assert sound.longest_gap_s < NO_GAP_S
        for node in (alice, bob):
            assert not [item for item in node.events.entries if item["event"] == "aleph:reconnecting"]
            lost = [item["data"] for item in node.events.entries if item["event"] == "aleph:participantLeft"]
            assert [data["userId"] for data in lost] == [carol.me["userId"]]


class Sound:
    """How many packets of sound have come from one to another, counted again and again."""

    def __init__(self, node: Sidecar, source: Sidecar, call_id: str) -> None:
        self._node = node
        self._source = source
        self._call_id = call_id
        self._grew_at = monotonic()
        self._grown = asyncio.Event()
        self.received: list[int] = []
        self.longest_gap_s = 0.0

    async def follow(self) -> None:
        while True:
            stats = await self._node.call("call:stats", callId=self._call_id)
            (peer,) = (p for p in stats["participants"] if p["userId"] == self._source.me["userId"])
            self._add(peer.get("audio", {}).get("received", 0))
            await asyncio.sleep(0.05)  # asked again as fast as media counts

    def _add(self, received: int) -> None:
        now = monotonic()
        if not self.received or received > self.received[-1]:
            self._grew_at = now
            self._grown.set()
        self.longest_gap_s = max(self.longest_gap_s, now - self._grew_at)
        self.received.append(received)

    async def more(self) -> None:
        """Waits for another packet."""
        self._grown.clear()
        await asyncio.wait_for(self._grown.wait(), DEADLINE_S)


@asynccontextmanager
async def watching(sounds: Sequence[Sound]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(sound.follow()) for sound in sounds]
        for sound in sounds:
            await sound.more()
        yield
        for task in tasks:
            task.cancel()


async def test_P05_a_dump_of_the_relays_store_shows_no_fingerprint_beside_a_call(tmp_path: Path) -> None:
    folder = tmp_path / "relay"
    async with relay(folder) as gun:
        async with (
            party(tmp_path, THREE, [gun.ready["gun"]], rooms=True) as people,
            sidecar(tmp_path / "mallory", peers=[gun.ready["gun"]], config={"media": LOOPBACK}) as mallory,
        ):
            alice, bob, _ = people.values()
            called = await connect(alice, bob, "video")
            await bob.call("call:end", callId=called)
            await reasons(called, alice, bob)
            await mallory.healthy()
            await mallory.call("social:sync", friends=[friend(alice.me, "Alice")])
            asked = await mallory.call("call:initiate", userId=alice.me["userId"], type="audio")
            await alice.event("aleph:callRequest", callId=asked["id"])
            await mallory.call("call:end", callId=asked["id"])
            met = await meet(people)
            everybody = [*people.values(), mallory]
            users = [node.me[name] for node in everybody for name in ("userId", "publicKey", "device")]
            calls = [called, str(asked["id"]), met, "room_1"]
        gun.process.terminate()
        await gun.exit_code()

    with closing(sqlite3.connect(folder / "gun.db")) as database:
        beside = [line for line in database.iterdump() if not line.startswith('INSERT INTO "cells"')]
        rows = database.execute("SELECT soul, key, value FROM cells").fetchall()
    cells = [cell for row in rows for cell in unpacked(*row)]
    kinds = {kind(soul) for soul, _, _ in cells}
    assert kinds == {"calls/p", "calls/s", "calls/inbox", "calls/keys", "lease"}
    for name in users + calls:
        allowed = {"calls/inbox", "calls/keys"} if name in users else set()
        assert {kind(cell[0]) for cell in cells if name in " ".join(cell)} <= allowed, name
        assert not [line for line in beside if name in line], name
    for name in ("calls/p", "calls/s", "calls/inbox"):
        boxes = {len(b64decode(json.loads(value)["box"])) for soul, _, value in cells if kind(soul) == name}
        assert boxes <= {size + sodium.SEAL_OVERHEAD for size in SIZES}, name
    assert len({len(value) for soul, _, value in cells if kind(soul) == "lease"}) == 1


def unpacked(soul: str, key: str, value: str) -> Iterator[tuple[str, str, str]]:
    """The cells of a row: small nodes are one (docs/adr/0010)."""
    held = json.loads(value)
    if key != WHOLE:
        yield soul, key, held
        return
    for name, (one, _) in held.items():
        yield soul, name, one


def kind(soul: str) -> str:
    """What stands at a soul, going by the first two parts of its name."""
    return soul.rpartition("/")[2] if soul.startswith("~") else "/".join(soul.split("/")[:2])
