"""Two users' signaling on a graph in memory: calls, sessions, cards, receipts, buckets, failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar import log
from sidecar.calls.events import Relation
from sidecar.errors import Code, DeniedError, LocalError, UnavailableError
from sidecar.signaling import layout
from sidecar.signaling.messages import AcceptBody, EmptyBody, InviteBody, Kind, ReasonBody
from sidecar.trust import boxkeys
from tests.signaling_kit import (
    ALICE,
    BOB,
    MALLORY,
    SESSION,
    World,
    settle,
    shared,
)

ACCEPT = AcceptBody(sdp="v=0", sdp_type="answer", offer_digest="ab" * 32)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    for node in world.nodes:
        await node.service.stop()


async def test_a_whole_call_between_contacts(world: World) -> None:
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
    alice.service.join_session("call_1", SESSION, BOB.fingerprint)
    await alice.invites(BOB)
    rung = await bob.next()
    assert (rung.user_id, rung.contact, rung.signal.kind) == (ALICE.fingerprint, True, Kind.INVITE)
    assert isinstance(rung.signal.body, InviteBody)
    assert rung.signal.body.sdp == "v=0\r\n"
    assert (await alice.next()).signal.kind is Kind.RECEIPT
    bob.service.join_session("call_1", rung.signal.body.session, ALICE.fingerprint)
    await bob.say(ALICE, Kind.RINGING, EmptyBody())
    await bob.say(ALICE, Kind.ACCEPT, ACCEPT)
    assert (await alice.next()).signal.kind is Kind.RINGING
    accepted = await alice.next()
    assert accepted.signal.body == ACCEPT
    assert accepted.signal.sender.device == bob.service.device
    await alice.say(BOB, Kind.END, ReasonBody(reason="local-hangup"))
    assert (await bob.next()).signal.kind is Kind.END
    for node in (alice, bob):
        assert [name for name in node.counters if "dropped" in name] == []
    assert alice.counters["signal.sent"] == 2
    assert bob.counters["signal.received"] == 2


async def test_p05_the_graph_shows_no_names_outside_cards_and_the_stranger_inbox(world: World) -> None:
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
    await alice.invites(BOB)
    await bob.next()
    await bob.say(ALICE, Kind.ACCEPT, ACCEPT)
    private = {
        soul: leaves
        for soul, leaves in world.graph.souls.items()
        if soul.startswith(("calls/p/", "calls/s/"))
    }
    assert len([leaf for leaves in private.values() for leaf in leaves]) == 3
    for secret in (ALICE.fingerprint, BOB.fingerprint, ALICE.pub, BOB.pub, alice.service.device, "call_1"):
        assert secret not in repr(private)
    assert all(soul.startswith("calls/") for soul in world.graph.souls)


async def test_the_first_signal_after_a_card_is_sealed_to_the_weekly_key(world: World) -> None:
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
    await alice.invites(BOB)
    signal = (await bob.next()).signal
    assert signal.recipient.device == bob.service.device
    (card,) = alice.service.directory.pins.cards(BOB.fingerprint, world.clock.now_ms)
    assert card.box_key(world.clock.now_ms) is not None


async def test_without_any_card_a_contact_is_reached_through_the_identity_key(world: World) -> None:
    alice = await world.node(ALICE, BOB)
    await alice.invites(BOB)
    bob = await world.node(BOB, ALICE)  # comes later, reads what waits
    assert (await bob.next()).signal.recipient.device is None


async def test_two_devices_of_one_user_are_both_invited(world: World) -> None:
    alice = await world.node(ALICE, BOB)
    desk, phone = await world.node(BOB, ALICE), await world.node(BOB, ALICE)
    assert desk.service.device != phone.service.device
    await alice.invites(BOB)
    for node in (desk, phone):
        assert (await node.next()).signal.recipient.device == node.service.device
    await settle()
    assert desk.counters["signal.dropped.kid"] == 1  # the leaf of the other device


async def test_a_contact_that_does_not_know_us_hears_the_second_knock(world: World) -> None:
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB)
    await alice.invites(BOB)
    await settle()
    assert bob.arrived.empty()
    world.clock.advance(3)
    alice.service.delivery.tick()
    rung = await bob.next()
    assert not rung.contact
    assert isinstance(rung.signal.body, InviteBody)
    assert (rung.signal.body.sdp, rung.signal.call_id) == (None, "call_1")
    await settle()
    assert not any(soul.startswith("calls/s/") for soul in world.graph.souls)  # no receipt for a stranger


async def test_the_second_knock_of_a_contact_has_the_same_call_id(world: World) -> None:
    alice = await world.node(ALICE, BOB)
    await alice.invites(BOB)
    world.clock.advance(3)
    alice.service.delivery.tick()
    await settle()
    bob = await world.node(BOB, ALICE)
    one, two = await bob.next(), await bob.next()
    assert one.signal.call_id == two.signal.call_id == "call_1"
    assert one.contact
    assert two.contact


async def test_a_receipt_ends_the_wait_for_a_second_knock(world: World) -> None:
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
    alice.service.join_session("call_1", SESSION, BOB.fingerprint)
    await alice.invites(BOB)
    await bob.next()
    assert (await alice.next()).signal.kind is Kind.RECEIPT
    world.clock.advance(10)
    alice.service.delivery.tick()
    await settle()
    assert not any(leaves for soul, leaves in world.graph.souls.items() if soul.startswith("calls/inbox/"))


async def test_a_strangers_invitation_carries_no_offer_and_the_call_can_go_on(world: World) -> None:
    alice, bob = await world.node(ALICE), await world.node(BOB)
    alice.service.join_session("call_1", SESSION, BOB.fingerprint)
    await alice.invites(BOB, sdp="v=0 secret")
    rung = await bob.next()
    assert isinstance(rung.signal.body, InviteBody)
    assert (rung.contact, rung.signal.body.sdp) == (False, None)
    bob.service.join_session("call_1", SESSION, ALICE.fingerprint)
    await bob.say(ALICE, Kind.ACCEPT, AcceptBody(sdp="v=0", sdp_type="offer"))
    assert (await alice.next()).signal.kind is Kind.ACCEPT


async def test_what_we_know_of_a_user(world: World) -> None:
    alice = await world.node(ALICE, BOB, blocked=(MALLORY.fingerprint,))
    await world.node(BOB)
    relation = alice.service.relation
    assert await relation(BOB.fingerprint) is Relation.CONTACT
    assert await relation(MALLORY.fingerprint) is Relation.BLOCKED
    assert await relation("0" * 16) is Relation.UNKNOWN
    stranger = await world.node(MALLORY)
    assert await stranger.service.relation(BOB.fingerprint) is Relation.STRANGER
    reads = len(world.graph.reads)
    assert await stranger.service.relation(BOB.fingerprint) is Relation.STRANGER
    assert len(world.graph.reads) == reads  # known from now on


async def test_whom_we_cannot_or_may_not_call(world: World) -> None:
    alice = await world.node(ALICE, BOB, blocked=(MALLORY.fingerprint,))
    for user in (MALLORY, ALICE):
        with pytest.raises(DeniedError) as denied:
            await alice.invites(user)
        assert denied.value.code is Code.POLICY_BLOCKED
    unknown = ALICE._replace(fingerprint="0" * 16)
    with pytest.raises(UnavailableError) as missing:
        await alice.invites(unknown)
    assert missing.value.code is Code.GRAPH_UNREACHABLE
    with pytest.raises(LocalError) as large:
        await alice.invites(BOB, sdp="x" * 20_000)
    assert large.value.code is Code.TOO_LARGE


async def test_no_relay_is_said_to_the_caller(world: World) -> None:
    alice = await world.node(ALICE, BOB)
    world.graph.reachable = False
    with pytest.raises(UnavailableError) as caught:
        await alice.invites(BOB)
    assert caught.value.code is Code.GRAPH_UNREACHABLE
    alice.service.prefetch(BOB.fingerprint)  # nobody waits for it, so nobody hears of it
    await settle()


async def test_start_needs_no_relay(world: World) -> None:
    world.graph.reachable = False
    alice = await world.node(ALICE, BOB)
    assert len(world.graph.watched()) >= 4
    assert alice.counters == {}


async def test_an_identity_with_foreign_keys_is_refused(world: World) -> None:
    with pytest.raises(LocalError, match=r"identity\.priv"):
        await world.node(ALICE._replace(priv=BOB.priv))


async def test_the_previous_day_is_read_and_the_next_one_in_time(world: World) -> None:
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
    secret = shared(ALICE, BOB)
    day = layout.DAY_MS
    for _ in range(3):
        now = world.clock.now_ms
        for at_ms in (now, now - day):
            assert layout.pairwise_soul(secret, BOB.fingerprint, at_ms) in world.graph.watched()
        assert layout.pairwise_soul(secret, BOB.fingerprint, now - 2 * day) not in world.graph.watched()
        world.clock.advance(86_400)
        alice.service.refresh()
        bob.service.refresh()
        await alice.invites(BOB)
        assert (await bob.next()).signal.kind is Kind.INVITE
    watched = world.graph.watched()
    assert sum(soul.startswith("calls/p/") for soul in watched) == 4
    assert sum(soul.startswith("calls/inbox/") for soul in watched) == 4


async def test_cards_and_keys_follow_the_weeks(world: World) -> None:
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
    soul = layout.keys_soul(BOB.fingerprint)
    assert len(world.graph.souls[soul]) == 1
    for _ in range(4):
        world.clock.advance(boxkeys.LIFETIME_MS / 1000)
        alice.service.refresh()
        bob.service.refresh()
        await settle()
        await alice.invites(BOB)
        signal = (await bob.next()).signal
        assert signal.recipient.device == bob.service.device
    assert len(world.graph.souls[soul]) == 5
    (card,) = alice.service.directory.pins.cards(BOB.fingerprint, world.clock.now_ms)
    assert card.issued_at_ms == world.clock.now_ms


async def test_forged_cards_are_dropped_and_counted(world: World) -> None:
    alice = await world.node(ALICE, BOB)
    mallory = await world.node(MALLORY)
    ((_, text),) = world.graph.souls[layout.keys_soul(MALLORY.fingerprint)].items()
    soul = layout.keys_soul(BOB.fingerprint)
    await world.graph.put_leaf(soul, layout.leaf_key(b"\x01" * 16, text), text)
    await world.graph.put_leaf(soul, layout.leaf_key(b"\x02" * 16, "junk"), "junk")
    assert alice.counters == {"signal.dropped.card-owner": 1, "signal.dropped.card-shape": 1}
    assert alice.service.directory.pins.cards(BOB.fingerprint, world.clock.now_ms) == ()
    assert mallory.counters == {}


async def test_a_session_is_left(world: World) -> None:
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
    alice.service.join_session("call_1", SESSION, BOB.fingerprint)
    alice.service.join_session("call_1", SESSION, BOB.fingerprint)
    assert len(world.graph.watchers[layout.session_soul(SESSION)]) == 1
    alice.service.leave_session("call_1")
    alice.service.leave_session("call_1")
    await bob.say(ALICE, Kind.RINGING, EmptyBody())
    await settle()
    assert alice.arrived.empty()


async def test_relays_are_kept_close_while_a_call_lives(world: World) -> None:
    alice = await world.node(ALICE, BOB)
    alice.service.join_session("call_1", SESSION, BOB.fingerprint)
    alice.service.join_session("call_2", "02" * 16, BOB.fingerprint)
    alice.service.leave_session("call_1")
    assert world.graph.kept_close
    alice.service.leave_session("call_2")
    assert not world.graph.kept_close


async def test_sessions_are_bounded(world: World) -> None:
    alice = await world.node(ALICE, BOB)
    for number in range(200):
        alice.service.join_session(f"call_{number}", f"{number:032x}", BOB.fingerprint)
    assert sum(soul.startswith("calls/s/") for soul in world.graph.watched()) == 64


async def test_stop_leaves_nothing_behind(world: World) -> None:
    alice = await world.node(ALICE, BOB)
    alice.service.join_session("call_1", SESSION, BOB.fingerprint)
    await alice.invites(BOB)
    before = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert before
    await alice.service.stop()
    assert world.graph.watched() == set()
    assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()


async def test_a_hundred_taken_calls_in_a_row(world: World) -> None:
    """A friend whose calls are accepted is never slowed down."""
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
    for number in range(100):
        await alice.invites(BOB, call_id=f"call_{number}")
        assert (await bob.next()).signal.call_id == f"call_{number}"
        await bob.say(ALICE, Kind.ACCEPT, ACCEPT, call_id=f"call_{number}")
    assert [name for name in bob.counters if "dropped" in name] == []


async def test_p03_log_lines_name_kind_call_and_generation_only(world: World) -> None:
    lines: list[bytes] = []
    log.configure(lines.append, lambda: 0, "debug")
    try:
        alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
        await alice.invites(BOB)
        await bob.next()
        world.graph.plant(
            layout.pairwise_soul(shared(ALICE, BOB), BOB.fingerprint, world.clock.now_ms), "junk", "junk"
        )
    finally:
        log.configure(lambda line: None, lambda: 0, "off")
    text = b"".join(lines).decode()
    assert '"msg":"signal sent","kind":"invite","call_id":"call_1","gen":0' in text
    assert '"msg":"signal received","kind":"invite"' in text
    assert '"msg":"signal dropped","reason":"shape"' in text
    for secret in (ALICE.fingerprint, BOB.fingerprint, ALICE.pub[20:], "v=0", SESSION, alice.service.device):
        assert secret not in text
