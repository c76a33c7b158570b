"""The ordered checks, one at a time: what passes, what is dropped under which name, what is bounded."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest

from sidecar.signaling import sealing
from sidecar.signaling.inbox import Place
from sidecar.signaling.limits import Limits
from sidecar.signaling.messages import AcceptBody, EmptyBody, Incoming, InviteBody, Kind, Party, ReasonBody
from sidecar.signaling.sealing import Leaf, Lock
from sidecar.trust import boxkeys
from sidecar.trust.identity import Identity
from sidecar.trust.rates import Rate
from tests.signaling_kit import (
    ALICE,
    BOB,
    BOB_DEVICE,
    MALLORY,
    NOW_MS,
    SESSION,
    STRANGERS,
    Receiver,
    SeededRandom,
    friend,
    friends,
    pairwise_place,
    session_place,
    shared,
    signal_from,
    social,
)

KEY = boxkeys.of_identity(BOB.seed)
PAIRWISE = pairwise_place(BOB, ALICE)
IN_SESSION = session_place(BOB, ALICE)
SOUL = "calls/p/x#<?172800"


class Writer:
    """Seals what a test wants sealed; every leaf and nonce is new."""

    def __init__(self, author: Identity = ALICE, seed: int = 5) -> None:
        self.author = author
        self.random = SeededRandom(seed)

    def leaf(self, *, openly: bool = False, key: boxkeys.BoxKey = KEY, **changes: Any) -> Leaf:
        if "nonce" not in changes:
            changes["nonce"] = self.random.bytes(16).hex()
        signal = signal_from(self.author, BOB, **changes)
        lock = Lock(key.kid, key.public, None if openly else shared(self.author, BOB))
        return sealing.seal_signal(signal, self.author, lock, SOUL, self.random)


def take(receiver: Receiver, leaf: Leaf, place: Place = PAIRWISE) -> Incoming | None:
    return receiver.take(place, leaf.key, leaf.value)


def test_a_valid_invitation_arrives() -> None:
    receiver = Receiver(contacts=social({"friends": [friend(ALICE, "Alice")]}))
    incoming = take(receiver, Writer().leaf())
    assert incoming is not None
    assert incoming.signal.call_id == "call_1"
    assert incoming.user_id == ALICE.fingerprint
    assert incoming.contact
    assert incoming.verified_name == "Alice"
    assert receiver.drops == []


def test_a_strangers_invitation_arrives_without_being_a_contacts() -> None:
    receiver = Receiver()
    incoming = take(receiver, Writer(MALLORY).leaf(openly=True), STRANGERS)
    assert incoming is not None
    assert (incoming.contact, incoming.verified_name) == (False, None)
    assert receiver.pins.pub(MALLORY.fingerprint) == MALLORY.pub


def test_a_friend_may_knock_at_the_stranger_inbox() -> None:
    incoming = take(Receiver(), Writer().leaf(openly=True), STRANGERS)
    assert incoming is not None
    assert incoming.contact


def test_a_friend_without_a_full_key_is_a_stranger() -> None:
    contacts = social({"friends": [{"id": MALLORY.fingerprint, "displayName": "M"}]})
    incoming = take(Receiver(contacts=contacts), Writer(MALLORY).leaf(openly=True), STRANGERS)
    assert incoming is not None
    assert (incoming.contact, incoming.verified_name) == (False, "M")


def test_s08_a_redelivered_leaf_is_a_silent_duplicate() -> None:
    receiver, leaf = Receiver(), Writer().leaf()
    assert take(receiver, leaf) is not None
    assert [take(receiver, leaf) for _ in range(100)] == [None] * 100
    assert receiver.drops == ["duplicate"] * 100


def test_own_leaves_come_back_silently() -> None:
    receiver, leaf = Receiver(), Writer().leaf()
    receiver.inbox.ignore(leaf.key)
    assert take(receiver, leaf) is None
    assert receiver.drops == ["duplicate"]


def test_any_of_our_box_keys_opens() -> None:
    receiver, writer = Receiver(), Writer()
    weekly = boxkeys.make(b"\x33" * 32, NOW_MS + 1)
    receiver.inbox.set_box_keys([weekly, KEY])
    assert take(receiver, writer.leaf(key=weekly)) is not None
    assert take(receiver, writer.leaf()) is not None
    assert take(receiver, writer.leaf(key=weekly, openly=True), STRANGERS) is not None


def test_a_forgotten_box_key_opens_nothing() -> None:
    receiver = Receiver()
    leaf = Writer().leaf(key=boxkeys.make(b"\x33" * 32, NOW_MS))
    assert take(receiver, leaf) is None
    assert receiver.drops == ["kid"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recipient": Party(MALLORY.pub)}, "audience"),
        ({"recipient": Party(BOB.pub, "99" * 8)}, "audience"),
        ({"issued_at_ms": NOW_MS - 70_000, "expires_at_ms": NOW_MS - 10_000}, "expired"),
        ({"issued_at_ms": NOW_MS - 58_000, "expires_at_ms": NOW_MS + 2_000}, "expired"),
        ({"issued_at_ms": NOW_MS + 61_000, "expires_at_ms": NOW_MS + 90_000}, "future"),
        ({"expires_at_ms": NOW_MS + 3_600_000}, "lifetime"),
        ({"sender": Party(MALLORY.pub, "a1" * 8)}, "fingerprint"),
        ({"kind": Kind.END, "body": EmptyBody()}, "payload"),
    ],
)
def test_a_claim_that_does_not_hold_is_dropped(changes: dict[str, Any], reason: str) -> None:
    receiver = Receiver()
    assert take(receiver, Writer().leaf(**changes)) is None
    assert receiver.drops == [reason]


def test_a_signal_for_this_device_arrives() -> None:
    assert take(Receiver(), Writer().leaf(recipient=Party(BOB.pub, BOB_DEVICE))) is not None


def test_only_an_invitation_needs_time_left_to_ring() -> None:
    late = {"issued_at_ms": NOW_MS - 58_000, "expires_at_ms": NOW_MS + 2_000}
    leaf = Writer().leaf(kind=Kind.RINGING, body=EmptyBody(), **late)
    assert take(Receiver(), leaf, IN_SESSION) is not None


def test_s17_a_blocked_user_is_dropped_whatever_the_way() -> None:
    contacts = friends(ALICE, blocked=(ALICE.fingerprint, MALLORY.fingerprint))
    receiver = Receiver(contacts=contacts)
    assert take(receiver, Writer().leaf()) is None
    assert take(receiver, Writer(MALLORY).leaf(openly=True), STRANGERS) is None
    assert receiver.drops == ["blocked", "blocked"]


def test_a_changed_key_is_dropped() -> None:
    receiver = Receiver(contacts=friends())
    receiver.pins.learn(MALLORY.fingerprint, ALICE.pub)
    assert take(receiver, Writer(MALLORY).leaf(openly=True), STRANGERS) is None
    assert receiver.drops == ["pin"]


def test_our_own_signals_are_not_taken_back() -> None:
    receiver = Receiver()
    place = session_place(BOB, BOB)
    signal = signal_from(BOB, BOB)
    lock = Lock(KEY.kid, KEY.public, shared(BOB, BOB))
    leaf = sealing.seal_signal(signal, BOB, lock, SOUL, SeededRandom())
    assert take(receiver, leaf, place) is None
    assert receiver.drops == ["sender"]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": Kind.END, "body": ReasonBody(reason="declined")},
        {"body": InviteBody(call_type="audio", session=SESSION, display_name="", sdp="v=0")},
    ],
    ids=["end", "sdp"],
)
def test_strangers_may_only_knock_and_without_sdp(changes: dict[str, Any]) -> None:
    receiver = Receiver()
    assert take(receiver, Writer(MALLORY).leaf(openly=True, **changes), STRANGERS) is None
    assert receiver.drops == ["place"]


def accept(writer: Writer, gen: int, **changes: Any) -> Leaf:
    body = AcceptBody(sdp="v=0", sdp_type="answer")
    return writer.leaf(kind=Kind.ACCEPT, body=body, gen=gen, **changes)


def test_s12_an_older_generation_is_dropped_and_a_repeated_one_is_not() -> None:
    receiver, writer = Receiver(), Writer()
    assert take(receiver, accept(writer, 1), IN_SESSION) is not None
    assert take(receiver, accept(writer, 1), IN_SESSION) is not None
    assert take(receiver, accept(writer, 0), IN_SESSION) is None
    assert take(receiver, accept(writer, 0, call_id="call_2"), IN_SESSION) is not None
    assert take(receiver, accept(writer, 0, sender=Party(ALICE.pub, "ff" * 8)), IN_SESSION) is not None
    assert receiver.drops == ["generation"]


def test_a_restarted_device_begins_anew_and_its_old_epoch_is_over() -> None:
    receiver, writer = Receiver(), Writer()
    assert take(receiver, accept(writer, 5), IN_SESSION) is not None
    newer = {"epoch": "ee" * 8, "issued_at_ms": NOW_MS + 10}
    assert take(receiver, accept(writer, 0, **newer), IN_SESSION) is not None
    assert take(receiver, accept(writer, 6), IN_SESSION) is None
    assert receiver.drops == ["generation"]


def test_an_end_of_an_older_generation_still_counts() -> None:
    receiver, writer = Receiver(), Writer()
    assert take(receiver, accept(writer, 3), IN_SESSION) is not None
    assert take(receiver, writer.leaf(kind=Kind.RINGING, body=EmptyBody(), gen=0), IN_SESSION) is not None


def test_a_session_takes_signals_of_its_members_only() -> None:
    receiver = Receiver(contacts=friends(ALICE, MALLORY))
    leaf = Writer(MALLORY).leaf(kind=Kind.RINGING, body=EmptyBody())
    assert take(receiver, leaf, IN_SESSION) is None
    receiver.inbox.forget_parked(IN_SESSION.name)
    assert receiver.drops == ["kid"]
    later = Writer(MALLORY, seed=6).leaf(kind=Kind.RINGING, body=EmptyBody())
    assert take(receiver, later, session_place(BOB, ALICE, MALLORY)) is not None


def test_a_nonce_is_burned_last() -> None:
    receiver, writer = Receiver(limits=Limits(contact_invites=Rate(1, 1))), Writer()
    assert take(receiver, writer.leaf()) is not None
    assert take(receiver, writer.leaf(nonce="77" * 16)) is None
    receiver.clock.advance(2)
    assert take(receiver, writer.leaf(nonce="77" * 16)) is not None
    assert receiver.drops == ["rate"]


def test_s16_a_friend_may_call_often_but_not_without_end() -> None:
    receiver, writer = Receiver(), Writer()
    rung = [take(receiver, writer.leaf()) is not None for _ in range(20)]
    assert rung == [True] * 12 + [False] * 8
    receiver.clock.advance(10.1)
    assert take(receiver, writer.leaf(issued_at_ms=receiver.clock.now_ms)) is not None
    assert set(receiver.drops) == {"rate"}


def test_calls_that_were_taken_do_not_count_against_the_friend() -> None:
    receiver, writer = Receiver(), Writer()
    for _ in range(60):
        assert take(receiver, writer.leaf()) is not None
        receiver.inbox.taken(ALICE.fingerprint)
    assert receiver.drops == []


def test_s16_a_flood_of_strangers_costs_a_friend_nothing() -> None:
    receiver, writer = Receiver(), Writer(MALLORY)
    for _ in range(400):
        take(receiver, writer.leaf(openly=True), STRANGERS)
    assert receiver.drops.count("budget") > 100
    assert receiver.drops.count("rate") > 40
    assert take(receiver, Writer().leaf()) is not None
    knocked = take(receiver, Writer(seed=8).leaf(openly=True), STRANGERS)
    assert knocked is None  # the common inbox is full, and the friend does not need it


def test_forgers_in_the_stranger_inbox_cannot_use_up_a_friends_rate() -> None:
    receiver = Receiver()
    for number in range(50):
        forged = signal_from(ALICE, BOB, nonce=f"{number:032x}")
        lock = Lock(KEY.kid, KEY.public, None)
        leaf = sealing.seal_signal(forged, MALLORY, lock, SOUL, SeededRandom(number))
        assert take(receiver, leaf, STRANGERS) is None
    assert "fingerprint" in receiver.drops
    assert take(receiver, Writer().leaf()) is not None


def test_the_stranger_inbox_has_a_budget_of_characters() -> None:
    receiver, writer = Receiver(), Writer(MALLORY)
    noise = base64.b64encode(random.Random(1).randbytes(9_000)).decode()
    big = InviteBody(call_type="audio", session=SESSION, display_name="", sdp=noise)
    for _ in range(15):
        take(receiver, writer.leaf(openly=True, body=big), STRANGERS)
    assert receiver.drops.count("budget") >= 3


def test_what_is_remembered_is_bounded() -> None:
    limits = Limits(
        seen_leaves=20, generations=10, contact_invites=Rate(10_000, 1), pairwise_budget=Rate(10_000, 1)
    )
    receiver, writer = Receiver(limits=limits), Writer()
    first = writer.leaf()
    take(receiver, first)
    for number in range(50):
        assert take(receiver, writer.leaf(call_id=f"call_{number}")) is not None
    assert take(receiver, first) is None
    assert receiver.drops == ["replay"]  # out of the set of seen leaves, but its nonce is burnt
