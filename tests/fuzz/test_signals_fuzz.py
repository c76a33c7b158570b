"""Two thousand damaged leaves with a fixed seed: never an exception, never a signal (S18).

What is wrong inside an envelope is tried by ``test_trust_envelopes``.
"""

from __future__ import annotations

import copy
import json
import random
import time
from typing import Any

from sidecar.signaling import payload, sealing
from sidecar.signaling.sealing import Lock
from sidecar.trust import envelope
from tests.fuzz.test_trust_envelopes import unlimited
from tests.fuzz.trust_envelopes import KEY, SEED, UNSIGNED, damage
from tests.signaling_kit import (
    ALICE,
    BOB,
    NOW_MS,
    STRANGERS,
    SeededRandom,
    pairwise_place,
    shared,
    signal_from,
)

ROUNDS = 2000


def genuine() -> dict[str, Any]:
    members = payload.build(signal_from(ALICE, BOB), KEY.kid)
    return envelope.sign(members, ALICE, artifact_type="service", created_at_ms=NOW_MS)


def test_s18_damaged_envelopes_never_arrive() -> None:
    source = random.Random(SEED + 1)
    receiver = unlimited()
    lock = Lock(KEY.kid, KEY.public, shared(ALICE, BOB))
    place = pairwise_place(BOB, ALICE)
    for number in range(ROUNDS):
        signed = copy.deepcopy(genuine())
        matters = damage(signed, source, UNSIGNED)
        text = json.dumps(signed)
        if len(text) > 16_000:
            continue
        leaf = sealing.seal_text(text, lock, "calls/p/x#<?172800", SeededRandom(number))
        if matters:
            assert receiver.take(place, leaf.key, leaf.value) is None, text
    assert len(receiver.drops) > ROUNDS / 2
    assert len(set(receiver.drops)) >= 5


def test_s18_damaged_leaves_never_arrive() -> None:
    source = random.Random(SEED + 2)
    receiver = unlimited()
    lock = Lock(KEY.kid, KEY.public, None)
    leaf = sealing.seal_text(json.dumps(genuine()), lock, "calls/inbox/x#<?172800", SeededRandom())
    for _ in range(ROUNDS):
        value, key = bytearray(leaf.value, "ascii"), leaf.key
        match source.randrange(4):
            case 0:
                value[source.randrange(len(value))] ^= 1 << source.randrange(7)
            case 1:
                del value[source.randrange(len(value)) :]
            case 2:
                at = source.randrange(len(value))
                value[at:at] = source.randbytes(source.randrange(1, 9)).hex().encode()
            case _:
                key = source.randbytes(source.randrange(40)).hex() + "#" + key
        text = value.decode("ascii", "replace")
        if (key, text) != (leaf.key, leaf.value):
            assert receiver.take(STRANGERS, key, text) is None


def test_s18_half_a_surrogate_pair_never_arrives() -> None:
    """JavaScript signs it, but it could be handed to nobody: not to the media, not to a front end."""
    lock = Lock(KEY.kid, KEY.public, shared(ALICE, BOB))
    for number, body in enumerate(({"displayName": "\ud800"}, {"sdp": "v=0\udc00"}, {"\udfff": 1})):
        members = payload.build(signal_from(ALICE, BOB), KEY.kid)
        members["body"] |= body
        signed = envelope.sign(members, ALICE, artifact_type="service", created_at_ms=NOW_MS)
        assert envelope.verify(signed).valid
        leaf = sealing.seal_text(json.dumps(signed), lock, "calls/p/x#<?172800", SeededRandom(number))
        receiver = unlimited()
        assert receiver.take(pairwise_place(BOB, ALICE), leaf.key, leaf.value) is None
        assert receiver.drops == ["envelope"]


def test_s18_hostile_sizes_cost_little() -> None:
    receiver = unlimited()
    hostile = [
        "x" * 1_000_000,
        "[" * 20_000,
        '{"v":1,"kid":"0011223344556677","box":"' + "A" * 23_000 + '"}',
        '{"v":' + "1" * 20_000 + "}",
    ]
    started = time.process_time()
    for value in hostile:
        assert receiver.take(STRANGERS, "00" * 16 + "#" + "A" * 43 + "=", value) is None
    assert time.process_time() - started < 0.025 * len(hostile)


def test_s18_hostile_contents_cost_little() -> None:
    """What only an opened box can hold: deep, wide or endless JSON."""
    receiver = unlimited()
    lock = Lock(KEY.kid, KEY.public, None)
    hostile = [
        "[" * 16_000,
        '{"payload":' * 1_300 + "}" * 1_300,
        '"' + "\\u0000" * 2_600 + '"',
        "1" * 16_000,
        json.dumps({"payload": {"v": 1, "from": {str(n): n for n in range(1_000)}}}),
        '{"payload":{"v":1,"kind":"invite","a":1e999999}}',
    ]
    leaves = [
        sealing.seal_text(text, lock, "calls/inbox/x#<?172800", SeededRandom(number))
        for number, text in enumerate(hostile)
    ]
    started = time.process_time()
    for leaf in leaves:
        assert receiver.take(STRANGERS, leaf.key, leaf.value) is None
    assert time.process_time() - started < 0.025 * len(hostile)
