"""Two thousand damaged envelopes and leaves with a fixed seed: never an exception, never a signal (S18)."""

from __future__ import annotations

import copy
import json
import random
import time
from typing import Any

from sidecar.signaling import payload, sealing
from sidecar.signaling.limits import Limits
from sidecar.signaling.sealing import Lock
from sidecar.trust import boxkeys, envelope
from sidecar.trust.rates import Rate
from tests.signaling_kit import (
    ALICE,
    BOB,
    NOW_MS,
    STRANGERS,
    Receiver,
    SeededRandom,
    pairwise_place,
    shared,
    signal_from,
)

ROUNDS = 2000
SEED = 20261122
KEY = boxkeys.of_identity(BOB.seed)
NO_LIMIT = Rate(1e9, 1e9)
ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**53, 10**400, 1e308, "", "x", "\x00", "\ud800", "é" * 50, [], {}, [[]],
    {"__proto__": 1}, {"a": {}}, [None] * 70, "A" * 88, ALICE.pub, BOB.pub,
]  # fmt: skip


def unlimited() -> Receiver:
    """No rate limits, and every leaf is judged on its own."""
    limits = Limits(**dict.fromkeys(Limits().rates(), NO_LIMIT), seen_leaves=1)
    return Receiver(limits=limits)


def genuine() -> dict[str, Any]:
    members = payload.build(signal_from(ALICE, BOB), KEY.kid)
    return envelope.sign(members, ALICE, artifact_type="service", created_at_ms=NOW_MS)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    if isinstance(value, dict):
        for name, member in value.items():
            found += paths(member, (*at, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            found += paths(member, (*at, index))
    return found


UNSIGNED = ("artifactType", "version", "requestedCapabilities", "endorsements")
"""Members that may hold anything of their type: nothing of ours depends on them."""


def damage(signed: dict[str, Any], source: random.Random) -> bool:
    """Changes one member; False where it changed nothing that matters."""
    path = source.choice([path for path in paths(signed) if path[0] not in UNSIGNED])
    target: Any = signed
    for step in path[:-1]:
        target = target[step]
    before = copy.deepcopy(target[path[-1]])
    action = source.randrange(4)
    if action == 0:
        del target[path[-1]]
        return True
    if action == 1:
        target[path[-1]] = source.choice(ODD)
    elif action == 2 and isinstance(before, str) and before:
        position = source.randrange(len(before))
        target[path[-1]] = before[:position] + chr(ord(before[position]) ^ 1) + before[position + 1 :]
    elif action == 3 and isinstance(target, dict):
        target[source.choice(["__proto__", "x", "pub", "0"])] = source.choice(ODD)
        return path[0] == "payload" and len(path) > 1
    else:
        target[path[-1]] = [before]
    return type(target[path[-1]]) is not type(before) or target[path[-1]] != before


def test_s18_damaged_envelopes_never_verify_and_never_raise() -> None:
    source = random.Random(SEED)
    valid = genuine()
    assert envelope.verify(valid).valid
    for _ in range(ROUNDS):
        signed = copy.deepcopy(valid)
        matters = damage(signed, source)
        verdicts = [envelope.verify(signed), envelope.verify(signed, strict=False)]
        assert all(isinstance(verdict.valid, bool) for verdict in verdicts)
        if matters:
            assert not verdicts[0].valid, signed


def test_s18_damaged_envelopes_never_arrive() -> None:
    source = random.Random(SEED + 1)
    receiver = unlimited()
    lock = Lock(KEY.kid, KEY.public, shared(ALICE, BOB))
    place = pairwise_place(BOB, ALICE)
    for number in range(ROUNDS):
        signed = copy.deepcopy(genuine())
        matters = damage(signed, source)
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
