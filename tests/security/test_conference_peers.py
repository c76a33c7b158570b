"""What a contact or a member who means ill can do to the calls and conferences of others: whole nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.conference.accounts import signed, signer
from sidecar.conference.table import State
from sidecar.media import messages as m
from sidecar.signaling.messages import AnnounceBody, JoinBody, Kind, MemberInfo
from tests.homes import Home, settle
from tests.signaling_kit import ALICE, BOB
from tests.town import CAROL, ROOM, Town, people


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    made = Town(tmp_path)
    yield made
    await made.close()


def announcement(number: int, *, ring: bool) -> AnnounceBody:
    """Of a conference that belongs to no room."""
    word = f"{number:032x}"
    return AnnounceBody(
        call_type="audio", session=word, key=2 * word, nonce=word, display_name="Bob", created_at=0,
        ring=ring, members=[],
    )  # fmt: skip


async def say(home: Home, to: Home, kind: Kind, body: Any, call_id: str, **more: Any) -> None:
    """What only a client that means ill says."""
    ways = {"session": None, "gen": 0, "ttl_s": 60.0} | more
    await home.signaling.send(call_id=call_id, user_id=to.user_id, kind=kind, body=body, **ways)
    await settle()


async def in_a_call(alice: Home, bob: Home) -> str:
    call_id = (await bob("call:initiate", userId=alice.user_id, type="audio"))["id"]
    await alice("call:accept", callId=call_id)
    assert (await alice("call:get", callId=call_id))["state"] == "active"
    return call_id


async def test_C20_a_conference_with_the_id_of_a_call_takes_nobody_the_power_to_hang_up(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    call_id = await in_a_call(alice, bob)
    for ring in (False, True):
        await say(bob, alice, Kind.ANNOUNCE, announcement(1, ring=ring), call_id)
    assert alice.dropped["id-of-a-call"] == 2
    assert await alice("call:mute-audio", callId=call_id, muted=True) == {"muted": True}
    assert await alice("call:end", callId=call_id) == {"ended": True}
    assert (await alice("call:get", callId=call_id))["state"] == "ended"
    assert any(isinstance(command, m.CloseCall) for command in alice.media.sent)


async def test_C08_a_call_grows_when_another_device_of_ours_is_in_already(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    call_id = await in_a_call(alice, bob)
    soon = town.clock.network_ms() + 1000
    other = MemberInfo(pub=ALICE.pub, device="other", joined_at=soon, at=soon)
    grown = announcement(1, ring=False)
    grown = msgspec.structs.replace(grown, members=[signed(other, call_id, signer(ALICE))])
    session = alice.calling.calls.board.board._calls[call_id].facts.session
    await say(bob, alice, Kind.GROW, grown, call_id, session=session)
    ended = await alice("call:get", callId=call_id)
    assert (ended["state"], ended["endReason"]) == ("ended", "answered-elsewhere")
    assert any(isinstance(command, m.CloseCall) for command in alice.media.sent)


async def test_S16_a_contact_asks_by_conferences_as_often_as_by_calls(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    for number in range(30):
        await say(bob, alice, Kind.ANNOUNCE, announcement(number, ring=True), f"evil_{number}")
        if number % 2:
            await alice("conference:decline", callId=f"evil_{number}")
    assert len(alice.events("callOffer")) == 6
    for session in await alice("call:list-active"):
        await alice("conference:decline", callId=session["id"])
    assert (await alice("conference:create", roomId=ROOM, type="audio"))["state"] == "initiating"


async def test_a_proof_that_is_no_text_of_a_hash_is_dropped(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    call_id = (await alice("conference:create", roomId=ROOM, type="audio"))["id"]
    info = MemberInfo(pub=BOB.pub, device="d", joined_at=0, at=0)
    session = alice.calling.hall.get(call_id).facts.session
    before = alice.counters.copy()
    body = JoinBody(info=info, proof="\u00e9" * 64, display_name="Bob")
    await say(bob, alice, Kind.JOIN, body, call_id, session=session)
    assert alice.counters != before, "it was counted"
    assert people(await alice("call:get", callId=call_id)) == {alice.user_id: "connected"}


async def test_joins_of_unknown_conferences_leave_room_for_those_of_others(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    info = MemberInfo(pub=BOB.pub, device="d", joined_at=0, at=0)
    for number in range(15):
        body = JoinBody(info=info, proof="0" * 64, display_name="Bob")
        await say(bob, alice, Kind.JOIN, body, f"unknown_{number}")
    assert len(alice.calling.hall._parked) <= alice.calling.hall.rules.parked_of_user


async def test_S07_a_bad_join_that_came_before_its_conference_silences_nothing(town: Town) -> None:
    alice, bob = await town.people(ALICE, BOB)
    info = MemberInfo(pub=BOB.pub, device="d", joined_at=0, at=0)
    false = JoinBody(info=info, proof="0" * 64, display_name="Bob")
    await say(bob, alice, Kind.JOIN, false, "early")
    await say(bob, alice, Kind.ANNOUNCE, announcement(1, ring=True), "early")
    assert [offer.call_id for offer in alice.events("callOffer")] == ["early"]
    assert alice.dropped["no-proof"] == 1


async def test_K09_who_was_sent_out_is_not_let_in_by_who_joins_later(town: Town) -> None:
    alice, bob, carol = await town.people(ALICE, BOB, CAROL)
    call_id = {"callId": (await alice("conference:create", roomId=ROOM, type="audio"))["id"]}
    await bob("conference:join", **call_id)
    await town.later(5)
    await alice("conference:remove", **call_id, userId=bob.user_id)
    await town.later(3)
    ill = bob.calling.hall.get(call_id["callId"])  # a client that does not care
    ill.removed.clear()
    ill.state, ill.reason, ill._forget_at = State.KNOWN, None, None
    await carol("conference:join", **call_id)
    await town.later(5)
    await bob("conference:join", **call_id)
    await town.later(20)
    for home in (alice, carol):
        assert set(people(await home("call:get", **call_id))) == {alice.user_id, carol.user_id}


async def test_a_grown_call_has_one_moderator_for_all(town: Town) -> None:
    alice, bob, carol = await town.people(ALICE, BOB, CAROL)
    call_id = {"callId": (await alice("call:initiate", userId=bob.user_id, type="audio"))["id"]}
    await bob("call:accept", **call_id)
    await bob("conference:invite", **call_id, userId=carol.user_id)
    await carol("conference:join", **call_id)
    await town.later(10)
    for home in (alice, bob, carol):
        assert (await home("call:get", **call_id))["initiatorId"] == alice.user_id
    await alice("conference:remove", **call_id, userId=carol.user_id)
    await town.later(2)
    gone = await carol("call:get", **call_id)
    assert (gone["state"], gone["endReason"]) == ("ended", "policy-denied")
    await alice("conference:leave", **call_id)
    record = alice.history.records[0]
    assert {person.user_id for person in record.participants} == {
        home.user_id for home in (alice, bob, carol)
    }
