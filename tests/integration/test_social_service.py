"""Signaling that follows the social copy while it runs, and what a restart does not forget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar import log
from sidecar.app.services.social import SocialChange, SocialService
from sidecar.app.services.trust_store import DATABASE, TrustStore
from sidecar.calls.events import Relation
from sidecar.errors import Code, LocalError, UnavailableError
from sidecar.graph.core.leaves import make_key
from sidecar.signaling import layout
from sidecar.signaling.messages import Kind, ReasonBody
from sidecar.storage.database import Database
from sidecar.trust import boxkeys, cards
from sidecar.trust.pins import KeyChange, Pin
from sidecar.trust.social import Change, Fact, SocialState
from tests.signaling_kit import (
    ALICE,
    BOB,
    BOB_DEVICE,
    MALLORY,
    NOW_MS,
    MemoryTrust,
    Node,
    World,
    friend,
    settle,
    shared,
    user,
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    for node in world.nodes:
        await node.service.stop()


async def follow(node: Node, document: dict[str, Any]) -> None:
    assert node.contacts.merge(document)
    node.service.follow_contacts()
    await settle()


def inbox_of(node: Node, other: Any) -> str:
    return layout.pairwise_soul(shared(node.me, other), node.me.fingerprint, node.clock.now_ms)


async def test_a_new_contact_is_listened_to_and_its_card_is_read(world: World) -> None:
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB)
    assert inbox_of(bob, ALICE) not in world.graph.watched()
    await follow(bob, {"friends": [friend(ALICE)]})
    assert inbox_of(bob, ALICE) in world.graph.watched()
    assert bob.service.directory.pins.cards(ALICE.fingerprint, world.clock.now_ms)
    await alice.invites(BOB)
    assert (await bob.next()).contact


@pytest.mark.parametrize("way", ["removed", "blocked"])
async def test_one_who_is_removed_or_blocked_is_listened_to_no_longer(world: World, way: str) -> None:
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE)
    gone = {"removed": {"friends": [ALICE.fingerprint]}} if way == "removed" else {}
    await follow(bob, gone or {"blocked": [ALICE.fingerprint]})
    assert inbox_of(bob, ALICE) not in world.graph.watched()
    assert (
        len([soul for soul in world.graph.watched() if soul.startswith("calls/keys/")]) == 1
    )  # Alice's of Bob
    await alice.invites(BOB)
    world.clock.advance(3)
    alice.service.delivery.tick()
    await settle()
    if way == "removed":
        assert not (await bob.next()).contact
    else:
        assert bob.arrived.empty()
        assert bob.counters == {"signal.dropped.blocked": 1}
        assert await bob.service.relation(ALICE.fingerprint) is Relation.BLOCKED
    assert not any(leaves for soul, leaves in world.graph.souls.items() if soul.startswith("calls/s/"))


async def test_a_flood_of_new_contacts_leaves_the_loop_turns(world: World) -> None:
    bob = await world.node(BOB)
    many = [friend(user(number)) for number in range(10, 210)]
    bob.contacts.merge({"friends": many})
    bob.service.follow_contacts()
    turns = 0
    while sum(soul.startswith("calls/keys/") for soul in world.graph.watched()) < len(many):
        await asyncio.sleep(0)
        turns += 1
        assert turns < 1000
    assert turns >= 3


async def test_c18_an_invitation_that_rang_does_not_ring_again_after_a_restart(world: World) -> None:
    trust = MemoryTrust()
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE, trust=trust)
    await alice.invites(BOB)
    await bob.next()
    world.clock.advance(3)
    await bob.service.stop()  # before its receipt was seen: the second knock comes
    again = await world.node(BOB, ALICE, trust=trust)
    alice.service.delivery.tick()
    await settle()
    assert again.arrived.empty()
    await alice.invites(BOB, call_id="call_2")
    assert (await again.next()).signal.call_id == "call_2"


async def test_c18_an_invitation_acts_once_it_is_stored_and_after_a_hang_up_that_came_meanwhile(
    world: World,
) -> None:
    trust = MemoryTrust()
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE, trust=trust)
    trust.hold_back = True
    bob.service.join_session("call_1", "5e" * 16, ALICE.fingerprint)
    await alice.invites(BOB)
    await alice.say(BOB, Kind.CANCEL, ReasonBody(reason="cancelled"))
    await alice.say(BOB, Kind.END, ReasonBody(reason="x"), call_id="call_0")
    assert (await bob.next()).signal.call_id == "call_0"  # other calls do not wait
    await settle()
    assert bob.arrived.empty()
    trust.commit()
    assert [(await bob.next()).signal.kind for _ in range(2)] == [Kind.CANCEL, Kind.INVITE]


async def test_a_full_disk_keeps_no_call_away(world: World) -> None:
    trust = MemoryTrust()
    trust.stores = False
    alice, bob = await world.node(ALICE, BOB), await world.node(BOB, ALICE, trust=trust)
    await alice.invites(BOB)
    assert (await bob.next()).signal.kind is Kind.INVITE


async def test_pins_and_cards_are_kept(world: World) -> None:
    trust = MemoryTrust()
    alice, bob = await world.node(ALICE, trust=trust), await world.node(BOB)
    await alice.invites(BOB)
    assert (await bob.next()).user_id == ALICE.fingerprint
    (card,) = alice.service.directory.pins.cards(BOB.fingerprint, world.clock.now_ms)
    assert trust.pinned == {BOB.fingerprint: Pin(BOB.pub, (card,))}
    await alice.service.stop()
    world.graph.reachable = False
    again = await world.node(ALICE, trust=trust)
    assert await again.service.relation(BOB.fingerprint) is Relation.STRANGER  # without asking anybody


async def test_a_foreign_key_is_reported_once_whoever_brings_it(world: World) -> None:
    """As if the keys of Bob and Mallory had one fingerprint: only then can a key change at all."""
    trust = MemoryTrust()
    trust.pinned = {BOB.fingerprint: Pin(MALLORY.pub, ())}
    told = KeyChange(BOB.fingerprint, MALLORY.pub, BOB.pub)
    alice, bob = await world.node(ALICE, trust=trust), await world.node(BOB)
    await alice.service.directory.fetch(BOB.fingerprint)  # his true card
    assert alice.key_changes == [told]
    assert alice.counters == {"signal.dropped.card-pin": 1}
    await bob.invites(ALICE)
    await settle()
    assert alice.key_changes == [told]
    assert alice.arrived.empty()
    assert trust.pinned[BOB.fingerprint].pub == MALLORY.pub
    await follow(alice, {"friends": [friend(BOB)]})  # our own front end outranks what was pinned
    assert alice.key_changes == [told]
    assert trust.pinned[BOB.fingerprint].pub == BOB.pub
    await bob.invites(ALICE, call_id="call_2")
    assert (await alice.next()).contact


async def test_a_contacts_new_key_is_reported_at_start(world: World) -> None:
    trust = MemoryTrust()
    text = cards.issue(MALLORY, BOB_DEVICE, (), NOW_MS)
    card = cards.read(text, MALLORY.fingerprint, NOW_MS)
    trust.pinned = {BOB.fingerprint: Pin(MALLORY.pub, (card,))}
    alice = await world.node(ALICE, BOB, trust=trust)
    assert alice.key_changes == [KeyChange(BOB.fingerprint, MALLORY.pub, BOB.pub)]
    assert trust.pinned == {BOB.fingerprint: Pin(BOB.pub, ())}


async def test_an_old_card_never_replaces_a_newer_one_of_an_earlier_run(world: World) -> None:
    trust = MemoryTrust()
    keys = boxkeys.rotate((), NOW_MS, b"\x09" * 32)
    texts = [cards.issue(BOB, BOB_DEVICE, keys, NOW_MS - age) for age in (0, 5_000)]
    newest = cards.read(texts[0], BOB.fingerprint, NOW_MS)
    trust.pinned = {BOB.fingerprint: Pin(BOB.pub, (newest,))}
    alice = await world.node(ALICE, BOB, trust=trust)
    await world.graph.put_leaf(layout.keys_soul(BOB.fingerprint), make_key(b"\x01" * 16, texts[1]), texts[1])
    assert alice.service.directory.pins.cards(BOB.fingerprint, NOW_MS) == (newest,)


# --- the file -------------------------------------------------------------------------------------------


def store(folder: Path) -> TrustStore:
    return TrustStore(folder, asyncio.get_running_loop().call_soon_threadsafe, log.get("trust"))


class Told:
    """A social service and what it told others."""

    def __init__(self, where: Any, **configured: Any) -> None:
        self.changes: list[SocialChange] = []
        self.state = SocialState(where.facts())
        self.service = SocialService(
            self.state,
            where,
            ALICE.fingerprint,
            configured=configured,
            on_change=self.changes.append,
            log=log.get("trust"),
        )


async def test_facts_pins_and_nonces_come_back_from_the_file(tmp_path: Path) -> None:
    first = store(tmp_path)
    told = Told(first)
    document = {
        "friends": [friend(BOB, "Bob")],
        "rooms": [{"id": "r", "members": [BOB.fingerprint]}],
        "domains": [
            {
                "id": "d",
                "ownerId": BOB.fingerprint,
                "rules": {"whitelist": [BOB.fingerprint], "maxConferenceSize": 3},
                "members": [{"userId": ALICE.fingerprint, "role": "guest", "status": "active"}],
            }
        ],
        "blocked": [MALLORY.fingerprint],
        "self": {"displayName": "Alice"},
        "removed": {"rooms": ["old"]},
    }
    assert await told.service.sync(document) == {"friends": 1, "rooms": 1, "domains": 1, "blocked": 1}
    card = cards.read(cards.issue(BOB, BOB_DEVICE, (), NOW_MS), BOB.fingerprint, NOW_MS)
    first.save_pins({"b": Pin(BOB.pub, (card,)), "gone": Pin("x", ())}, 1)
    first.save_pins({"gone": None, "a": Pin(ALICE.pub, ())}, 2)
    burnt: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    first.burn([("alice", "old", 50), ("alice", "new", 200)], 0, lambda _: None)
    first.burn([("bob", "n", 300)], 100, burnt.set_result)
    assert await burnt
    first.close()
    second = store(tmp_path)
    assert SocialState(second.facts())._facts == told.state._facts
    assert list(second.pins().items()) == [("b", Pin(BOB.pub, (card,))), ("a", Pin(ALICE.pub, ()))]
    assert second.nonces() == [("alice", "new", 200), ("bob", "n", 300)]
    second.close()


async def test_others_hear_what_has_changed_for_them(tmp_path: Path) -> None:
    where = store(tmp_path)
    told = Told(where, blocked=[MALLORY.fingerprint])
    assert told.changes == []  # nobody was there yet
    await told.service.sync({"blocked": [MALLORY.fingerprint]})
    assert told.changes == []
    await told.service.sync({"self": {"displayName": "A"}, "rooms": [{"id": "r", "members": []}]})
    assert told.changes.pop() == SocialChange(contacts=False, blocked=frozenset())
    await told.service.block(BOB.fingerprint)
    assert told.changes.pop() == SocialChange(contacts=True, blocked=frozenset({BOB.fingerprint}))
    await told.service.unblock(BOB.fingerprint)
    assert told.changes.pop() == SocialChange(contacts=True, blocked=frozenset())
    with pytest.raises(LocalError) as caught:
        await told.service.block(ALICE.fingerprint)
    assert caught.value.code is Code.INVALID_PARAMS
    where.close()


class BrokenStore:
    """A disk that can be full."""

    def __init__(self) -> None:
        self.full = True
        self.saved: list[Change] = []

    def facts(self) -> list[Change]:
        return []

    def save_facts(self, changes: Any, on_done: Any) -> None:
        if not self.full:
            self.saved += changes
        asyncio.get_running_loop().call_soon(on_done, not self.full)


async def test_what_a_full_disk_did_not_take_is_written_with_the_next_change() -> None:
    disk = BrokenStore()
    told = Told(disk)
    with pytest.raises(UnavailableError):
        await told.service.block(BOB.fingerprint)
    assert told.state.is_blocked(BOB.fingerprint)  # it holds all the same
    with pytest.raises(UnavailableError):
        await told.service.block(BOB.fingerprint)  # still not safe, though nothing is new
    disk.full = False
    await told.service.sync({"self": {"displayName": "A"}})
    assert set(disk.saved) == {Change(Fact.BLOCKED, BOB.fingerprint, True), Change(Fact.SELF, "", "A")}
    disk.saved.clear()
    await told.service.sync({})
    assert disk.saved == []


async def test_a_row_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    store(tmp_path).close()
    raw = Database(tmp_path / DATABASE, ("",), lambda *_: None)
    rows = [
        ("friend", "a", b"not json"),
        ("future", "b", b"1"),
        ("room", "c", b"[1]"),
        ("blocked", "d", b"true"),
    ]
    raw.submit(
        [("INSERT INTO facts VALUES (?, ?, ?)", rows), ("INSERT INTO pins VALUES (?, ?, ?)", [("u", 1, b"")])]
    )
    raw.close()
    again = store(tmp_path)
    assert again.facts() == [Change(Fact.BLOCKED, "d", True)]
    assert again.pins() == {}
    again.close()
