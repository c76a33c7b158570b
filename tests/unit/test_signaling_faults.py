"""Faults of the catalogue against the real outbox and inbox: old, replayed, borrowed, early, unknown."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from sidecar.signaling import payload, sealing
from sidecar.signaling.inbox import Place, PlaceKind
from sidecar.signaling.limits import Limits
from sidecar.signaling.messages import (
    BODIES,
    AcceptBody,
    AnswerBody,
    EmptyBody,
    Incoming,
    Kind,
    OfferBody,
    Party,
    ReasonBody,
)
from sidecar.signaling.outbox import Message
from sidecar.signaling.sealing import Leaf, Lock
from sidecar.trust import boxkeys, envelope
from sidecar.trust.identity import Identity
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
    friends,
    invite,
    pairwise_place,
    peer,
    recipient,
    sender,
    session_place,
    shared,
    signal_from,
)

PAIRWISE = pairwise_place(BOB, ALICE)
IN_SESSION = session_place(BOB, ALICE)
NOBODY = session_place(BOB)
KEY = boxkeys.of_identity(BOB.seed)
ANSWER = AcceptBody(sdp="v=0", sdp_type="answer", offer_digest="ab" * 32)


def session_message(kind: Kind = Kind.ACCEPT, body: Any = ANSWER, gen: int = 0) -> Message:
    return Message("call_1", kind, body, gen, 60, SESSION)


class Talk:
    """What Alice's outbox writes to Bob."""

    def __init__(self, author: Identity = ALICE, seed: int = 7) -> None:
        self.author = author
        self.outbox = sender(author, seed=seed)

    def leaf(self, message: Message, *, contact: bool = True) -> Leaf:
        to = recipient(self.author, BOB, contact=contact)
        (leaf,) = self.outbox.write(message, to, NOW_MS, 0.0)
        return leaf


def take(receiver: Receiver, place: Place, leaf: Leaf) -> Incoming | None:
    return receiver.take(place, leaf.key, leaf.value)


def tried_again(receiver: Receiver, place: Place) -> list[Kind]:
    came = receiver.inbox.receive_parked(place, receiver.clock.now_ms, receiver.clock.now_s)
    return [incoming.signal.kind for incoming in came]


# --- S02: yesterday's replay ------------------------------------------------------------------------------


@pytest.mark.parametrize("stranger", [False, True])
def test_S02_yesterdays_invitation_does_not_ring(stranger: bool) -> None:
    receiver = Receiver(contacts=friends() if stranger else friends(ALICE))
    leaf = Talk().leaf(invite(sdp=None if stranger else "v=0"), contact=not stranger)
    receiver.clock.advance(86_400)
    assert take(receiver, STRANGERS if stranger else PAIRWISE, leaf) is None
    assert receiver.drops == ["expired"]


@pytest.mark.parametrize(("after_s", "rings"), [(56.9, True), (57.1, False), (60, False), (3600, False)])
def test_S02_an_invitation_rings_as_long_as_it_is_worth_it(after_s: float, rings: bool) -> None:
    receiver = Receiver()
    leaf = Talk().leaf(invite())
    receiver.clock.advance(after_s)
    assert (take(receiver, PAIRWISE, leaf) is not None) is rings
    assert receiver.drops == ([] if rings else ["expired"])


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.INVITE])
def test_S02_whatever_its_kind_an_old_signal_is_expired(kind: Kind) -> None:
    receiver = Receiver()
    leaf = Talk().leaf(session_message(kind, body_of(kind)))
    receiver.clock.advance(60.001)
    assert take(receiver, IN_SESSION, leaf) is None
    assert receiver.drops == ["expired"]


def body_of(kind: Kind) -> Any:
    """The simplest body of a kind."""
    fields: dict[str, Any] = {
        "callType": "audio", "session": SESSION, "displayName": "A", "sdp": "v=0", "sdpType": "answer",
        "offerDigest": "ab" * 32, "reason": "declined", "key": "0a" * 32, "nonce": SESSION, "createdAt": 1,
        "members": [], "info": {"pub": ALICE.pub, "device": "d", "joinedAt": 1, "at": 1}, "userId": "u",
        "proof": "0" * 64,
    }  # fmt: skip
    return msgspec.convert(fields, BODIES[kind])


# --- S03: replayed inside its time, somewhere else ---------------------------------------------------------


def borrowed(**changes: Any) -> tuple[Receiver, Leaf]:
    """What Alice signed, with a claim changed by somebody who can seal to Bob but not sign for her."""
    signal = signal_from(ALICE, BOB, kind=Kind.ACCEPT, body=ANSWER, gen=1)
    signed = envelope.sign(
        payload.build(signal, KEY.kid), ALICE, artifact_type="service", created_at_ms=NOW_MS
    )
    signed["payload"] |= changes
    lock = Lock(KEY.kid, KEY.public, shared(ALICE, BOB))
    return Receiver(), sealing.seal_text(envelope.to_text(signed), lock, "s", SeededRandom(3))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"to": {"pub": MALLORY.pub}}, "audience"),
        ({"to": {"pub": BOB.pub, "device": "99" * 8}}, "audience"),
        ({"callId": "call_2"}, "signature"),
        ({"roomId": "room"}, "signature"),
        ({"domainId": "domain"}, "signature"),
        ({"gen": 2}, "signature"),
        ({"epoch": "ff" * 8}, "signature"),
        ({"seq": 7}, "signature"),
        ({"kind": "end", "body": {"reason": "local-hangup"}}, "signature"),
        ({"expiresAt": NOW_MS + 120_000}, "signature"),
        ({"issuedAt": NOW_MS + 1}, "signature"),
        ({"nonce": "77" * 16}, "signature"),
        ({"kid": "77" * 8}, "audience"),
        ({"to": {"pub": BOB.pub, "device": BOB_DEVICE}}, "signature"),
    ],
)
def test_S03_the_signature_binds_every_claim(changes: dict[str, Any], reason: str) -> None:
    receiver, leaf = borrowed(**changes)
    assert take(receiver, IN_SESSION, leaf) is None
    assert receiver.drops == [reason]


def test_S03_unchanged_it_would_have_been_taken() -> None:
    receiver, leaf = borrowed()
    assert take(receiver, IN_SESSION, leaf) is not None


def test_S03_another_user_cannot_open_it_nor_take_it() -> None:
    """Not where Alice writes to Mallory, nor where anybody writes to her."""
    leaf = Talk().leaf(invite())
    mallory = Receiver(MALLORY, "c3" * 8, contacts=friends(ALICE))
    for place in (pairwise_place(MALLORY, ALICE), STRANGERS, session_place(MALLORY, ALICE)):
        assert take(mallory, place, leaf) is None
    mallory.inbox.forget_parked("call_x")
    assert mallory.drops == ["kid", "kid", "kid"]


def test_S03_another_session_or_inbox_takes_no_second_copy() -> None:
    """The very leaf, put by a bystander into every other place that Bob reads."""
    receiver = Receiver()
    leaf = Talk().leaf(session_message())
    assert take(receiver, IN_SESSION, leaf) is not None
    elsewhere = Place(PlaceKind.SESSION, "call_y", (peer(BOB, ALICE),))
    for place in (elsewhere, PAIRWISE):
        assert take(receiver, place, leaf) is None
    assert take(receiver, STRANGERS, leaf) is None
    assert receiver.drops == ["generation", "generation", "kid"] or receiver.drops == [
        "replay",
        "replay",
        "kid",
    ]


# --- S05: who sealed it, who signed it, whose place it is --------------------------------------------------


@pytest.mark.parametrize("place", ["pairwise", "session", "strangers"])
def test_S05_the_signer_is_the_named_sender(place: str) -> None:
    """Mallory signs validly, with her own key, that she is Alice."""
    receiver = Receiver(contacts=friends(ALICE, MALLORY))
    signal = signal_from(ALICE, BOB)  # its sender is Alice
    shared_secret = None if place == "strangers" else shared(MALLORY, BOB)
    lock = Lock(KEY.kid, KEY.public, shared_secret)
    leaf = sealing.seal_signal(signal, MALLORY, lock, "s", SeededRandom(4))
    where = {
        "pairwise": pairwise_place(BOB, MALLORY),
        "session": session_place(BOB, ALICE, MALLORY),
        "strangers": STRANGERS,
    }
    assert take(receiver, where[place], leaf) is None
    assert receiver.drops == ["fingerprint"]


def test_S05_in_a_session_of_several_each_speaks_for_itself() -> None:
    """What Alice signed, sealed as if it came from Mallory: the secret of the leaf names its writer."""
    receiver = Receiver(contacts=friends(ALICE, MALLORY))
    signal = signal_from(ALICE, BOB, kind=Kind.RINGING, body=EmptyBody())
    lock = Lock(KEY.kid, KEY.public, shared(MALLORY, BOB))
    leaf = sealing.seal_signal(signal, ALICE, lock, "s", SeededRandom(5))
    assert take(receiver, session_place(BOB, ALICE, MALLORY), leaf) is None
    assert receiver.drops == ["sender"]


# --- S07: out of order ------------------------------------------------------------------------------------


ORDERED = (
    (Kind.RINGING, EmptyBody(), 0),
    (Kind.ACCEPT, ANSWER, 0),
    (Kind.OFFER, OfferBody(sdp="v=0"), 1),
    (Kind.ANSWER, AnswerBody(sdp="v=0", offer_digest="ab" * 32), 1),
    (Kind.END, ReasonBody(reason="local-hangup"), 1),
)


def test_S07_what_comes_before_its_writer_is_known_waits_in_order() -> None:
    receiver, talk = Receiver(), Talk()
    for kind, body, gen in ORDERED:
        assert take(receiver, NOBODY, talk.leaf(session_message(kind, body, gen))) is None
    assert receiver.drops == []
    assert tried_again(receiver, NOBODY) == []  # he is still not known
    assert tried_again(receiver, IN_SESSION) == [kind for kind, _, _ in ORDERED]
    assert tried_again(receiver, IN_SESSION) == []
    assert receiver.drops == []


@pytest.mark.parametrize("seed", range(20))
def test_S07_in_any_order_every_signal_is_taken_once_or_is_of_an_old_generation(seed: int) -> None:
    receiver, talk = Receiver(), Talk()
    leaves = [(kind, talk.leaf(session_message(kind, body, gen))) for kind, body, gen in ORDERED]
    dice = random.Random(seed)
    mixed = [*leaves, *leaves]
    dice.shuffle(mixed)
    cut = dice.randrange(len(mixed))
    taken: list[Kind] = []
    for _, leaf in mixed[:cut]:
        assert take(receiver, NOBODY, leaf) is None
    taken += tried_again(receiver, IN_SESSION)
    for _, leaf in mixed[cut:]:
        incoming = take(receiver, IN_SESSION, leaf)
        taken += [incoming.signal.kind] if incoming else []
    assert len(taken) == len(set(taken))
    assert set(receiver.drops) <= {"duplicate", "generation"}
    late = {kind for kind, _, _ in ORDERED} - set(taken)
    assert late <= {Kind.ACCEPT, Kind.OFFER}  # overtaken by a later description
    assert ("generation" in receiver.drops) is bool(late)


def test_S07_what_waits_keeps_its_age_and_still_expires() -> None:
    receiver, talk = Receiver(), Talk()
    take(receiver, NOBODY, talk.leaf(session_message(Kind.RINGING, EmptyBody())))
    receiver.clock.advance(59)
    late = talk.outbox.write(
        session_message(Kind.END, ReasonBody(reason="x")), recipient(ALICE, BOB), receiver.clock.now_ms, 0
    )
    take(receiver, NOBODY, late[0])
    receiver.clock.advance(1)
    assert tried_again(receiver, IN_SESSION) == [Kind.END]
    assert receiver.drops == ["kid"]


def test_S07_what_waits_is_bounded_and_a_flood_of_junk_changes_no_check() -> None:
    receiver, talk = Receiver(limits=Limits(parked_leaves=8)), Talk()
    for _ in range(20):
        take(receiver, NOBODY, Talk(MALLORY).leaf(session_message(Kind.RINGING, EmptyBody())))
        take(receiver, NOBODY, talk.leaf(session_message(Kind.RINGING, EmptyBody())))
    assert len(tried_again(receiver, IN_SESSION)) <= 8
    leaf = talk.leaf(session_message())
    assert take(receiver, IN_SESSION, leaf) is not None


def test_S07_a_leaf_for_somebody_else_in_the_session_is_never_ours() -> None:
    receiver = Receiver()
    to_mallory = recipient(ALICE, MALLORY)
    (leaf,) = sender().write(session_message(), to_mallory, NOW_MS, 0.0)
    assert take(receiver, IN_SESSION, leaf) is None
    assert tried_again(receiver, IN_SESSION) == []
    receiver.inbox.forget_parked(IN_SESSION.name)
    assert receiver.drops == ["kid"]


# --- S08, S10, S12 ----------------------------------------------------------------------------------------


def test_S08_a_hundred_deliveries_have_one_effect() -> None:
    receiver, talk = Receiver(), Talk()
    leaves = [talk.leaf(session_message(Kind.RINGING, EmptyBody())) for _ in range(3)]
    arrived = [take(receiver, IN_SESSION, leaf) for _ in range(100) for leaf in leaves]
    assert len(list(filter(None, arrived))) == 3
    assert receiver.drops == ["duplicate"] * 297


@pytest.mark.parametrize(
    ("skew_s", "reason"), [(59.9, None), (60.1, "future"), (-59.9, None), (-60.1, "expired")]
)
def test_S10_a_minute_of_skew_beside_network_time_is_forgiven(skew_s: float, reason: str | None) -> None:
    receiver = Receiver()
    at_ms = NOW_MS + round(skew_s * 1000)
    (leaf,) = sender().write(session_message(), recipient(ALICE, BOB), at_ms, 0.0)
    take(receiver, IN_SESSION, leaf)
    assert receiver.drops == ([] if reason is None else [reason])


def answer(gen: int) -> Message:
    return session_message(Kind.ANSWER, AnswerBody(sdp="v=0", offer_digest="ab"), gen)


@pytest.mark.parametrize("older", [answer(2), session_message(Kind.OFFER, OfferBody(sdp="v=0"), 2)])
def test_S12_a_description_of_an_older_generation_that_comes_late_is_dropped(older: Message) -> None:
    receiver, talk = Receiver(), Talk()
    late = talk.leaf(older)
    assert take(receiver, IN_SESSION, talk.leaf(answer(3))) is not None
    assert take(receiver, IN_SESSION, late) is None
    assert receiver.drops == ["generation"]


def test_S12_who_comes_back_to_a_conference_begins_anew() -> None:
    """Both of them are still the same processes: only the order of their words tells."""
    receiver, talk = Receiver(), Talk()
    late = talk.leaf(answer(2))
    assert take(receiver, IN_SESSION, talk.leaf(answer(3))) is not None
    assert take(receiver, IN_SESSION, talk.leaf(answer(0))) is not None
    assert take(receiver, IN_SESSION, late) is None
    assert receiver.drops == ["generation"]


# --- what this version does not know ----------------------------------------------------------------------


def strange(signed_payload: dict[str, Any]) -> str:
    """Why a genuine envelope of Alice's with this payload is dropped."""
    receiver = Receiver()
    signed = envelope.sign(signed_payload, ALICE, artifact_type="service", created_at_ms=NOW_MS)
    lock = Lock(KEY.kid, KEY.public, shared(ALICE, BOB))
    leaf = sealing.seal_text(envelope.to_text(signed), lock, "s", SeededRandom(6))
    assert take(receiver, IN_SESSION, leaf) is None
    (reason,) = receiver.drops
    return reason


def ordinary() -> dict[str, Any]:
    signal = signal_from(ALICE, BOB, kind=Kind.RINGING, body=EmptyBody(), sender=Party(ALICE.pub, "a1" * 8))
    return payload.build(signal, KEY.kid)


@pytest.mark.parametrize("kind", ["hologram", "", "INVITE", "candidates"])
def test_an_unknown_kind_is_ignored_and_counted(kind: str) -> None:
    assert strange(ordinary() | {"kind": kind}) == "kind"


@pytest.mark.parametrize("version", [0, 2, 99, "1", None, 1.5])
def test_an_unknown_version_is_ignored_and_counted(version: Any) -> None:
    assert strange(ordinary() | {"v": version}) == "version"


def test_a_leaf_of_a_later_version_is_ignored_and_counted() -> None:
    receiver = Receiver()
    leaf = Talk().leaf(session_message())
    later = leaf.value.replace('{"v":1,', '{"v":2,')
    assert later != leaf.value
    assert receiver.take(IN_SESSION, leaf.key, later) is None
    assert receiver.drops == ["shape"]
    assert take(receiver, IN_SESSION, leaf) is not None
