"""What is written where, to which device, and when the outbox knocks again."""

from __future__ import annotations

import pytest

from sidecar.errors import LocalError
from sidecar.signaling import layout
from sidecar.signaling.messages import EmptyBody, Incoming, InviteBody, Kind, ReasonBody
from sidecar.signaling.outbox import MAX_CALLS, Message, Recipient
from sidecar.signaling.sealing import Leaf
from sidecar.trust import boxkeys
from sidecar.trust.cards import CardKey, KeyCard
from tests.signaling_kit import (
    ALICE,
    ALICE_DEVICE,
    BOB,
    BOB_DEVICE,
    NOW_MS,
    SESSION,
    STRANGERS,
    Receiver,
    invite,
    pairwise_place,
    recipient,
    sender,
    session_place,
    shared,
)

TO_BOB = recipient(ALICE, BOB)
TO_STRANGER = recipient(ALICE, BOB, contact=False)
PAIRWISE_SOUL = layout.pairwise_soul(shared(ALICE, BOB), BOB.fingerprint, NOW_MS)
STRANGER_SOUL = layout.stranger_soul(BOB.fingerprint, NOW_MS)


def ringing(call_id: str = "call_1") -> Message:
    return Message(call_id, Kind.RINGING, EmptyBody(), 0, 60, SESSION)


def open_at(receiver: Receiver, leaf: Leaf) -> Incoming:
    place = (
        STRANGERS
        if leaf.soul.startswith("calls/inbox/")
        else session_place(BOB, ALICE)
        if leaf.soul.startswith("calls/s/")
        else pairwise_place(BOB, ALICE)
    )
    incoming = receiver.take(place, leaf.key, leaf.value)
    assert incoming is not None, receiver.drops
    return incoming


def card(device: str, private: bytes, not_after_ms: int = NOW_MS + 1000) -> tuple[KeyCard, boxkeys.BoxKey]:
    key = boxkeys.make(private, not_after_ms)
    return KeyCard(BOB.pub, device, NOW_MS, (CardKey(key.kid, key.public, not_after_ms),)), key


def test_a_contacts_invitation_goes_to_the_pairwise_inbox_with_its_offer() -> None:
    (leaf,) = sender().write(invite(), TO_BOB, NOW_MS, 0)
    assert leaf.soul == PAIRWISE_SOUL
    signal = open_at(Receiver(), leaf).signal
    assert isinstance(signal.body, InviteBody)
    assert signal.body.sdp == "v=0"
    assert (signal.issued_at_ms, signal.expires_at_ms) == (NOW_MS, NOW_MS + 60_000)
    assert (signal.sender.pub, signal.sender.device) == (ALICE.pub, ALICE_DEVICE)
    assert signal.recipient.device is None


def test_s22_a_strangers_invitation_carries_no_sdp() -> None:
    outbox = sender()
    (leaf,) = outbox.write(invite(sdp="v=0 candidate"), TO_STRANGER, NOW_MS, 0)
    assert leaf.soul == STRANGER_SOUL
    body = open_at(Receiver(), leaf).signal.body
    assert isinstance(body, InviteBody)
    assert (body.sdp, body.session) == (None, SESSION)
    assert outbox.next_deadline() is None


@pytest.mark.parametrize("to", [TO_BOB, TO_STRANGER])
def test_everything_else_goes_to_the_session(to: Recipient) -> None:
    (leaf,) = sender().write(ringing(), to, NOW_MS, 0)
    assert leaf.soul == layout.session_soul(SESSION)
    assert open_at(Receiver(), leaf).signal.kind is Kind.RINGING


def test_signals_of_a_call_are_numbered() -> None:
    outbox, receiver = sender(), Receiver()
    numbers = [open_at(receiver, outbox.write(ringing(), TO_BOB, NOW_MS, 0)[0]).signal.seq for _ in range(3)]
    other = open_at(receiver, outbox.write(ringing("call_2"), TO_BOB, NOW_MS, 0)[0]).signal.seq
    assert (numbers, other) == ([0, 1, 2], 0)


def test_every_device_gets_its_own_leaf_sealed_to_its_own_key() -> None:
    one, key_one = card(BOB_DEVICE, b"\x31" * 32)
    two, key_two = card("ff" * 8, b"\x32" * 32)
    leaves = sender().write(invite(), TO_BOB._replace(cards=(one, two)), NOW_MS, 0)
    assert len(leaves) == 2
    for device, key, leaf in ((BOB_DEVICE, key_one, leaves[0]), ("ff" * 8, key_two, leaves[1])):
        receiver = Receiver(device=device)
        receiver.inbox.set_box_keys([key])
        assert open_at(receiver, leaf).signal.recipient.device == device
    stranger_to_it = Receiver()
    stranger_to_it.inbox.set_box_keys([key_one])
    assert stranger_to_it.take(pairwise_place(BOB, ALICE), leaves[1].key, leaves[1].value) is None
    assert stranger_to_it.drops == ["kid"]


def test_one_device_can_be_meant() -> None:
    one, _ = card(BOB_DEVICE, b"\x31" * 32)
    two, key = card("ff" * 8, b"\x32" * 32)
    message = ringing()._replace(device="ff" * 8)
    (leaf,) = sender().write(message, TO_BOB._replace(cards=(one, two)), NOW_MS, 0)
    receiver = Receiver(device="ff" * 8)
    receiver.inbox.set_box_keys([key])
    assert open_at(receiver, leaf).signal.recipient.device == "ff" * 8


@pytest.mark.parametrize("not_after_ms", [NOW_MS, NOW_MS - 1])
def test_a_card_that_ran_out_never_downgrades_to_silence(not_after_ms: int) -> None:
    stale, _ = card(BOB_DEVICE, b"\x31" * 32, not_after_ms)
    (leaf,) = sender().write(invite(), TO_BOB._replace(cards=(stale,)), NOW_MS, 0)
    assert open_at(Receiver(), leaf).signal.recipient.device == BOB_DEVICE


def test_an_unknown_device_is_reached_through_the_identity_key() -> None:
    (leaf,) = sender().write(ringing()._replace(device=BOB_DEVICE), TO_BOB, NOW_MS, 0)
    assert open_at(Receiver(), leaf).signal.recipient.device == BOB_DEVICE


def test_without_a_receipt_in_3_s_the_stranger_form_follows() -> None:
    outbox, receiver = sender(), Receiver()
    (first,) = outbox.write(invite(), TO_BOB, NOW_MS, 100.0)
    assert outbox.next_deadline() == 103.0
    assert outbox.knock_again(NOW_MS + 2_900, 102.9) == []
    (second,) = outbox.knock_again(NOW_MS + 3_000, 103.0)
    assert second.soul == STRANGER_SOUL
    one, two = open_at(receiver, first).signal, open_at(receiver, second).signal
    assert one.call_id == two.call_id
    assert one.nonce != two.nonce
    assert one.expires_at_ms == two.expires_at_ms
    assert isinstance(two.body, InviteBody)
    assert (two.body.sdp, two.body.session) == (None, SESSION)
    assert outbox.next_deadline() is None
    assert outbox.knock_again(NOW_MS + 9_000, 110.0) == []


def test_an_answer_of_any_kind_stops_the_second_knock() -> None:
    outbox = sender()
    outbox.write(invite(), TO_BOB, NOW_MS, 100.0)
    outbox.answered("call_1")
    assert outbox.next_deadline() is None


def test_so_does_a_cancel_of_our_own() -> None:
    outbox = sender()
    outbox.write(invite(), TO_BOB, NOW_MS, 100.0)
    outbox.write(
        Message("call_1", Kind.CANCEL, ReasonBody(reason="cancelled"), 0, 60, SESSION), TO_BOB, NOW_MS, 101.0
    )
    assert outbox.next_deadline() is None


def test_an_invitation_that_ran_out_is_not_repeated() -> None:
    outbox = sender()
    outbox.write(invite(ttl_s=2), TO_BOB, NOW_MS, 100.0)
    assert outbox.knock_again(NOW_MS + 3_000, 103.0) == []
    assert outbox.next_deadline() is None


def test_several_invitations_wait_side_by_side() -> None:
    outbox = sender()
    outbox.write(invite("call_1"), TO_BOB, NOW_MS, 100.0)
    outbox.write(invite("call_2"), TO_BOB, NOW_MS, 101.0)
    assert outbox.next_deadline() == 103.0
    assert len(outbox.knock_again(NOW_MS, 103.5)) == 1
    assert outbox.next_deadline() == 104.0


def test_what_is_kept_in_mind_is_bounded() -> None:
    outbox = sender()
    for number in range(MAX_CALLS + 10):
        outbox.write(invite(f"call_{number}"), TO_BOB, NOW_MS, 100.0)
    assert len(outbox.knock_again(NOW_MS, 103.0)) == MAX_CALLS


def test_what_is_too_large_is_said_to_the_sender_at_once() -> None:
    outbox = sender()
    with pytest.raises(LocalError, match="bytes"):
        outbox.write(invite(sdp="x" * 20_000), TO_BOB, NOW_MS, 100.0)
