"""Forged, altered, stale, replayed, misaddressed signals: dropped, counted, no ring (FAULTS S02-S06, P05).

Mallory can write anything anywhere in the graph, knows every public key and has Bob's key card. What she does
not have is Alice's key, Bob's key, or the secret the two share.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.graph.core.leaves import make_key
from sidecar.ids import fingerprint
from sidecar.signaling import payload, sealing
from sidecar.signaling.messages import AcceptBody, InviteBody, Kind, Party
from sidecar.signaling.sealing import Leaf, Lock
from sidecar.trust import boxkeys, canonical, envelope
from tests.signaling_kit import (
    ALICE,
    ALICE_DEVICE,
    BOB,
    MALLORY,
    NOW_MS,
    SESSION,
    STRANGERS,
    Receiver,
    SeededRandom,
    friends,
    invite,
    pairwise_place,
    recipient,
    sender,
    session_place,
    shared,
    signal_from,
)

KEY = boxkeys.of_identity(BOB.seed)
OPEN_LOCK = Lock(KEY.kid, KEY.public, None)
PAIR_LOCK = Lock(KEY.kid, KEY.public, shared(ALICE, BOB))
PAIRWISE = pairwise_place(BOB, ALICE)


def genuine() -> dict[str, Any]:
    """A valid envelope of Alice's, as somebody who could open one box would hold it."""
    return envelope.sign(
        payload.build(signal_from(ALICE, BOB), KEY.kid),
        ALICE,
        artifact_type="service",
        created_at_ms=NOW_MS,
    )


def sealed(signed: Any, lock: Lock = OPEN_LOCK, seed: int = 1) -> Leaf:
    text = signed if isinstance(signed, str) else envelope.to_text(signed)
    return sealing.seal_text(text, lock, "calls/inbox/x#<?172800", SeededRandom(seed))


def reason(signed: Any, receiver: Receiver | None = None) -> str:
    """Why a receiver drops what Mallory seals to it at the stranger inbox."""
    receiver = receiver or Receiver()
    leaf = sealed(signed)
    assert receiver.take(STRANGERS, leaf.key, leaf.value) is None
    (dropped,) = receiver.drops
    return dropped


def test_the_genuine_one_would_ring() -> None:
    leaf = sealed(genuine())
    assert Receiver().take(STRANGERS, leaf.key, leaf.value) is not None


def altered(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    signed = copy.deepcopy(genuine())
    change(signed)
    return signed


def strip(signed: dict[str, Any]) -> None:
    del signed["signature"]


def swap_body(signed: dict[str, Any]) -> None:
    signed["payload"]["body"]["session"] = "66" * 16


def swap_call(signed: dict[str, Any]) -> None:
    signed["payload"]["callId"] = "call_other"


def swap_room(signed: dict[str, Any]) -> None:
    signed["payload"]["roomId"] = "room_other"


def swap_body_and_hash(signed: dict[str, Any]) -> None:
    swap_body(signed)
    signed["contentHash"] = canonical.content_hash(signed["payload"])


def resign_as_mallory(signed: dict[str, Any]) -> None:
    """Mallory's own valid signature under Alice's name."""
    signed |= envelope.sign(signed["payload"], MALLORY, artifact_type="service", created_at_ms=NOW_MS)


def keep_alices_author(signed: dict[str, Any]) -> None:
    author = signed["author"]
    resign_as_mallory(signed)
    signed["author"] = author


def borrow_alices_fingerprint(signed: dict[str, Any]) -> None:
    resign_as_mallory(signed)
    signed["author"]["fingerprint"] = ALICE.fingerprint


def spell_signature_loosely(signed: dict[str, Any]) -> None:
    signed["signature"] = signed["signature"].replace("=", "")


@pytest.mark.parametrize(
    ("change", "dropped"),
    [
        (strip, "signature"),
        (swap_body, "signature"),
        (swap_call, "signature"),
        (swap_room, "signature"),
        (swap_body_and_hash, "signature"),
        (resign_as_mallory, "fingerprint"),
        (keep_alices_author, "signature"),
        (borrow_alices_fingerprint, "fingerprint"),
        (spell_signature_loosely, "signature"),
        (lambda signed: signed.update(signature=""), "signature"),
        (lambda signed: signed.update(author=None), "signature"),
        (lambda signed: signed.update(payload="invite"), "version"),
        (lambda signed: signed.pop("resonanceProof"), "signature"),
    ],
)  # fmt: skip
def test_s04_forged_altered_and_stripped(change: Callable[[dict[str, Any]], None], dropped: str) -> None:
    assert reason(altered(change)) == dropped


def test_s04_an_unsigned_payload_is_no_downgrade() -> None:
    assert reason(json.dumps(genuine()["payload"])) == "version"


def test_s05_the_sender_must_own_the_place() -> None:
    """Mallory is a contact too and writes, validly signed, what only she and Bob can read: as Alice."""
    receiver = Receiver(contacts=friends(ALICE, MALLORY))
    lock = Lock(KEY.kid, KEY.public, shared(MALLORY, BOB))
    leaf = sealed(genuine(), lock)
    assert receiver.take(pairwise_place(BOB, MALLORY), leaf.key, leaf.value) is None
    assert receiver.drops == ["sender"]


def test_s05_nobody_else_can_write_into_a_pairwise_inbox() -> None:
    """Even if she learns its name: the key hint needs the secret of the two."""
    receiver = Receiver()
    for lock in (OPEN_LOCK, Lock(KEY.kid, KEY.public, shared(MALLORY, BOB))):
        leaf = sealed(genuine(), lock, seed=len(receiver.drops) + 1)
        assert receiver.take(PAIRWISE, leaf.key, leaf.value) is None
    assert receiver.drops == ["kid", "kid"]


def test_s03_a_signal_to_somebody_else_is_not_for_us() -> None:
    """Bob cannot pass Alice's invitation on to Mallory as if it were meant for her."""
    mallory = Receiver(MALLORY, "c3" * 8, contacts=friends(ALICE))
    key = mallory.identity_key
    leaf = sealed(genuine(), Lock(key.kid, key.public, None))
    assert mallory.take(STRANGERS, leaf.key, leaf.value) is None
    assert mallory.drops == ["audience"]


def test_s03_a_signal_to_another_device_is_not_for_this_one() -> None:
    signed = envelope.sign(
        payload.build(signal_from(ALICE, BOB, recipient=Party(BOB.pub, "99" * 8)), KEY.kid),
        ALICE,
        artifact_type="service",
        created_at_ms=NOW_MS,
    )
    assert reason(signed) == "audience"


def test_s03_a_signal_sealed_anew_to_another_of_our_keys_is_noticed() -> None:
    receiver = Receiver()
    weekly = boxkeys.make(b"\x21" * 32, NOW_MS + 1000)
    receiver.inbox.set_box_keys([weekly, KEY])
    leaf = sealed(genuine(), Lock(weekly.kid, weekly.public, None))
    assert receiver.take(STRANGERS, leaf.key, leaf.value) is None
    assert receiver.drops == ["audience"]


def test_s02_yesterdays_signal_is_expired() -> None:
    receiver, outbox = Receiver(), sender()
    (leaf,) = outbox.write(invite(), recipient(ALICE, BOB), NOW_MS, 0)
    receiver.clock.advance(86_400)
    assert receiver.take(PAIRWISE, leaf.key, leaf.value) is None
    assert receiver.drops == ["expired"]


def test_s03_the_same_message_under_a_new_leaf_is_a_replay() -> None:
    receiver = Receiver()
    first, second = sealed(genuine(), seed=1), sealed(genuine(), seed=2)
    assert receiver.take(STRANGERS, first.key, first.value) is not None
    assert receiver.take(STRANGERS, second.key, second.value) is None
    assert receiver.drops == ["replay"]


def test_s03_a_copied_box_does_not_fit_another_leaf_id() -> None:
    receiver, outbox = Receiver(), sender()
    (leaf,) = outbox.write(invite(), recipient(ALICE, BOB), NOW_MS, 0)
    copied = make_key(b"\x66" * 16, leaf.value)
    assert receiver.take(PAIRWISE, copied, leaf.value) is None
    assert receiver.drops == ["kid"]


def test_s03_a_copied_stranger_leaf_is_a_replay() -> None:
    receiver = Receiver()
    leaf = sealed(genuine())
    assert receiver.take(STRANGERS, leaf.key, leaf.value) is not None
    copied = make_key(b"\x66" * 16, leaf.value)
    assert receiver.take(STRANGERS, copied, leaf.value) is None
    assert receiver.drops == ["replay"]


def test_s03_a_session_signal_of_another_call_keeps_its_call_id() -> None:
    """Replayed into another session of the same two it stays a signal of its own call, and acts once."""
    accept = signal_from(
        ALICE, BOB, kind=Kind.ACCEPT, call_id="call_a", body=AcceptBody(sdp="v=0", sdp_type="answer")
    )
    leaf = sealing.seal_signal(accept, ALICE, PAIR_LOCK, "calls/s/a#<?172800", SeededRandom(4))
    receiver = Receiver()
    incoming = receiver.take(session_place(BOB, ALICE), leaf.key, leaf.value)
    assert incoming is not None
    assert incoming.signal.call_id == "call_a"
    assert receiver.take(session_place(BOB, ALICE), leaf.key, leaf.value) is None


def test_a_copy_in_the_wrong_place_does_not_hide_the_original() -> None:
    """A bystander of the relay is quick to copy a pairwise leaf into the stranger inbox."""
    receiver, outbox = Receiver(), sender()
    (leaf,) = outbox.write(invite(), recipient(ALICE, BOB), NOW_MS, 0)
    for place in (STRANGERS, session_place(BOB, MALLORY)):
        assert receiver.take(place, leaf.key, leaf.value) is None
    receiver.inbox.forget_parked("call_x")
    assert receiver.drops == ["kid", "kid"]
    assert receiver.take(PAIRWISE, leaf.key, leaf.value) is not None


@pytest.mark.parametrize("junk", ["", "null", "0", '""', "{}", "[]", "undefined", '{"#":"soul"}'])
def test_s06_nulls_and_junk_in_our_souls_mean_nothing(junk: str) -> None:
    receiver = Receiver()
    assert receiver.take(PAIRWISE, make_key(b"\x01" * 16, junk), junk) is None
    assert receiver.drops == ["shape"]


def test_a_key_with_alices_fingerprint_would_still_be_another_key() -> None:
    """64 bits can be met; the full key is what counts. The social copy holds the true one."""
    receiver = Receiver(contacts=friends())
    receiver.pins.learn(fingerprint(MALLORY.pub), ALICE.pub)  # as if the two fingerprints were one
    signed = envelope.sign(
        payload.build(signal_from(MALLORY, BOB), KEY.kid),
        MALLORY,
        artifact_type="service",
        created_at_ms=NOW_MS,
    )
    assert reason(signed, receiver) == "pin"


def test_the_claimed_name_is_never_the_verified_one() -> None:
    body = InviteBody(call_type="audio", session=SESSION, display_name="Alice")
    signed = envelope.sign(
        payload.build(signal_from(MALLORY, BOB, body=body), KEY.kid),
        MALLORY,
        artifact_type="service",
        created_at_ms=NOW_MS,
    )
    leaf = sealed(signed)
    incoming = Receiver().take(STRANGERS, leaf.key, leaf.value)
    assert incoming is not None
    assert (incoming.contact, incoming.verified_name) == (False, None)


def test_nothing_invalid_can_burn_a_nonce() -> None:
    receiver = Receiver()
    for seed, change in enumerate((strip, swap_call, keep_alices_author)):
        leaf = sealed(altered(change), seed=seed + 10)
        assert receiver.take(STRANGERS, leaf.key, leaf.value) is None
    receiver.clock.advance(120)  # the forgeries used the stranger rate of the claimed sender, not its nonce
    fresh = envelope.sign(
        payload.build(
            signal_from(
                ALICE,
                BOB,
                issued_at_ms=receiver.clock.now_ms,
                expires_at_ms=receiver.clock.now_ms + 60_000,
            ),
            KEY.kid,
        ),
        ALICE,
        artifact_type="service",
        created_at_ms=receiver.clock.now_ms,
    )
    leaf = sealed(fresh, seed=20)
    assert receiver.take(STRANGERS, leaf.key, leaf.value) is not None


def test_the_sender_is_the_signer() -> None:
    incoming = Receiver().take(STRANGERS, *sealed(genuine())[1:])
    assert incoming is not None
    assert incoming.signal.sender == Party(ALICE.pub, ALICE_DEVICE)
