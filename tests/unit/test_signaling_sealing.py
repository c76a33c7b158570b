"""Signals into leaves and back: what is signed, what is bounded, what a watcher sees."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import Code, LocalError, RemoteError
from sidecar.graph.core.leaves import is_leaf
from sidecar.signaling import payload, sealing
from sidecar.signaling.messages import (
    AcceptBody,
    AnswerBody,
    AnyBody,
    EmptyBody,
    InviteBody,
    Kind,
    Party,
    ReasonBody,
    Signal,
)
from sidecar.trust import boxkeys, envelope, seal
from tests.signaling_kit import ALICE, BOB, SESSION, SeededRandom, shared, signal_from

BODIES: list[tuple[Kind, AnyBody]] = [
    (Kind.INVITE, InviteBody(call_type="video", session=SESSION, display_name="A", sdp="v=0\r\n")),
    (Kind.RECEIPT, EmptyBody()),
    (Kind.RINGING, EmptyBody()),
    (Kind.ACCEPT, AcceptBody(sdp="v=0", sdp_type="answer", offer_digest="ab" * 32)),
    (Kind.ANSWER, AnswerBody(sdp="v=0", offer_digest="ab" * 32)),
    (Kind.REJECT, ReasonBody(reason="declined", detail="later")),
    (Kind.BUSY, ReasonBody(reason="busy")),
    (Kind.CANCEL, ReasonBody(reason="cancelled")),
    (Kind.END, ReasonBody(reason="local-hangup")),
]
KEY = boxkeys.of_identity(BOB.seed)
LOCK = sealing.Lock(KEY.kid, KEY.public, shared(ALICE, BOB))


def sealed(signal: Signal, lock: sealing.Lock = LOCK, seed: int = 1) -> sealing.Leaf:
    return sealing.seal_signal(signal, ALICE, lock, "calls/s/x#<?172800", SeededRandom(seed))


def opened(leaf: sealing.Leaf) -> dict[str, Any]:
    _, _, box = sealing.read_value(leaf.key, leaf.value)
    text = seal.open_box(box, KEY.private, KEY.public)
    assert text is not None
    return sealing.read_envelope(text)


@pytest.mark.parametrize(
    ("kind", "body"), BODIES, ids=lambda value: str(value) if isinstance(value, Kind) else ""
)
def test_every_kind_survives_the_way(kind: Kind, body: AnyBody) -> None:
    sent = signal_from(ALICE, BOB, kind=kind, body=body, room_id="room_1", domain_id="d", gen=3, seq=9)
    signed = opened(sealed(sent))
    assert envelope.verify(signed).valid
    assert payload.read(signed["payload"]) == (sent, KEY.kid)


def test_payload_members_are_those_of_the_design() -> None:
    sent = signal_from(ALICE, BOB, room_id="r", domain_id="d", recipient=Party(BOB.pub, "b2" * 8))
    members = payload.build(sent, KEY.kid)
    assert set(members) == {
        "v", "kind", "callId", "from", "to", "kid", "roomId", "domainId", "epoch", "gen", "seq", "issuedAt",
        "expiresAt", "nonce", "body",
    }  # fmt: skip
    assert members["from"] == {"pub": ALICE.pub, "device": "a1" * 8}
    assert members["to"] == {"pub": BOB.pub, "device": "b2" * 8}
    assert payload.build(signal_from(ALICE, BOB), KEY.kid)["to"] == {"pub": BOB.pub}


def test_p05_a_leaf_shows_random_ids_and_sizes_only() -> None:
    leaf = sealed(signal_from(ALICE, BOB))
    assert is_leaf(leaf.key, leaf.value)
    value = json.loads(leaf.value)
    assert set(value) == {"v", "kid", "box"}
    assert value["kid"] != KEY.kid
    text = leaf.key + leaf.value
    for secret in (ALICE.fingerprint, BOB.fingerprint, ALICE.pub, BOB.pub, "call_1", KEY.kid):
        assert secret not in text
    again = sealed(signal_from(ALICE, BOB), seed=2)
    assert json.loads(again.value)["kid"] != value["kid"]


def test_the_stranger_form_names_the_key() -> None:
    leaf = sealed(signal_from(ALICE, BOB), sealing.Lock(KEY.kid, KEY.public, None))
    assert json.loads(leaf.value)["kid"] == KEY.kid


def test_sizes_tell_four_classes_apart_and_no_more() -> None:
    lengths = {
        len(
            sealed(
                signal_from(
                    ALICE, BOB, body=InviteBody(call_type="audio", session=SESSION, display_name=name)
                )
            ).value
        )
        for name in ("", "A", "B" * 200)
    }
    assert len(lengths) == 1


def test_simulation_writes_the_same_leaf_twice() -> None:
    assert sealed(signal_from(ALICE, BOB)) == sealed(signal_from(ALICE, BOB))


def test_an_offer_of_12_kib_fits_and_one_of_16_does_not() -> None:
    def invite(size: int) -> Signal:
        return signal_from(
            ALICE,
            BOB,
            body=InviteBody(call_type="video", session=SESSION, display_name="A", sdp="a" * size),
        )

    leaf = sealed(invite(12 * 1024))
    assert len(leaf.value) < sealing.MAX_VALUE_CHARS
    with pytest.raises(LocalError) as caught:
        sealed(invite(16 * 1024))
    assert caught.value.code is Code.TOO_LARGE


VALID = payload.build(signal_from(ALICE, BOB), KEY.kid)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 2}, "version"),
        ({"v": ...}, "version"),
        ({"kind": "knock"}, "kind"),
        ({"kind": 5}, "payload"),
        ({"callId": ""}, "payload"),
        ({"callId": "x" * 65}, "payload"),
        ({"callId": "../x"}, "payload"),
        ({"from": {"pub": ALICE.pub}}, "payload"),
        ({"from": {"pub": ALICE.pub, "device": "A1" * 8}}, "payload"),
        ({"from": ALICE.pub}, "payload"),
        ({"to": {"pub": 5}}, "payload"),
        ({"to": {"pub": "x" * 1000}}, "payload"),
        ({"kid": "xyz"}, "payload"),
        ({"roomId": ""}, "payload"),
        ({"roomId": "r" * 513}, "payload"),
        ({"epoch": "e" * 15}, "payload"),
        ({"gen": -1}, "payload"),
        ({"gen": 1.5}, "payload"),
        ({"gen": "0"}, "payload"),
        ({"gen": True}, "payload"),
        ({"seq": 2**40}, "payload"),
        ({"issuedAt": 2**53}, "payload"),
        ({"expiresAt": None}, "payload"),
        ({"nonce": "0f" * 16 + "\n"}, "payload"),
        ({"nonce": ...}, "payload"),
        ({"body": []}, "payload"),
        ({"body": {}}, "payload"),
        ({"body": {"callType": "video", "session": "../../x", "displayName": ""}}, "payload"),
        ({"body": {"callType": "video", "session": SESSION, "displayName": "x" * 257}}, "payload"),
        ({"body": {"callType": "video", "session": SESSION, "displayName": "", "sdp": 5}}, "payload"),
    ],
)
def test_s18_a_malformed_payload_is_refused(change: dict[str, Any], reason: str) -> None:
    changed = {name: value for name, value in (VALID | change).items() if value is not ...}
    with pytest.raises(RemoteError) as caught:
        payload.read(changed)
    assert caught.value.reason == reason


@pytest.mark.parametrize("garbage", [None, 5, [], "invite"])
def test_what_is_no_object_is_no_payload(garbage: object) -> None:
    with pytest.raises(RemoteError, match="version"):
        payload.read(garbage)


def test_members_of_a_later_version_are_ignored() -> None:
    body = VALID["body"] | {"later": [1]}
    signal, _ = payload.read(VALID | {"later": {"a": 1}, "body": body})
    assert signal == signal_from(ALICE, BOB)


whole = st.characters(exclude_categories=["Cs"])  # msgspec writes no lone surrogates


@settings(max_examples=150, deadline=None)
@given(st.text(whole, max_size=200), st.text(whole, max_size=60))
def test_any_text_survives(sdp: str, name: str) -> None:
    body = InviteBody(call_type="audio", session=SESSION, display_name=name, sdp=sdp)
    sent = signal_from(ALICE, BOB, body=body)
    assert payload.read(opened(sealed(sent))["payload"])[0] == sent


GOOD = sealed(signal_from(ALICE, BOB))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (GOOD.key, "x" * (24 * 1024 + 1), "size"),
        ("x" * 129, GOOD.value, "size"),
        ("not a key", GOOD.value, "shape"),
        (GOOD.key, "", "shape"),
        (GOOD.key, "null", "shape"),
        (GOOD.key, "[" * 20_000, "shape"),
        (GOOD.key, '{"v":1,"kid":"00","box":""}', "shape"),
        (GOOD.key, GOOD.value.replace('"v":1', '"v":2'), "shape"),
        (GOOD.key, GOOD.value[:-6] + '="}', "shape"),
        (GOOD.key, GOOD.value.replace('"box":"', '"box":" '), "shape"),
        (GOOD.key, GOOD.value.replace('"kid":"', '"kid":"f'), "shape"),
        (GOOD.key, "\ud800", "shape"),
    ],
)
def test_s18_size_and_shape_are_checked_before_anything_is_decrypted(
    key: str, value: str, reason: str
) -> None:
    with pytest.raises(RemoteError) as caught:
        sealing.read_value(key, value)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "5", '"x"', "{", '{"a":1,"a":2}', "[" * 5000, '{"__proto__":1}']
)
def test_an_opened_text_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(RemoteError, match="envelope"):
        sealing.read_envelope(text)


def test_structs_keep_their_wire_names() -> None:
    assert msgspec.to_builtins(AcceptBody(sdp="s", sdp_type="offer")) == {"sdp": "s", "sdpType": "offer"}
