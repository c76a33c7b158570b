"""Bad envelopes by number: damaged texts, odd members, and wrong contents that their author did sign.

The same seed and number always give the same envelope, so a failure is repeated alone with ``bad(number)``.
"""

from __future__ import annotations

import copy
import json
import random
from functools import cache
from typing import Any, NamedTuple

from sidecar.signaling import payload
from sidecar.signaling.messages import AcceptBody, EmptyBody, InviteBody, Kind, ReasonBody
from sidecar.trust import boxkeys, cards, envelope, sodium
from sidecar.trust.canonical import content_hash
from sidecar.trust.encoding import b64
from tests.signaling_kit import ALICE, ALICE_DEVICE, BOB, NOW_MS, SESSION, signal_from

SEED = 20261122
KEY = boxkeys.of_identity(BOB.seed)
UNSIGNED = ("artifactType", "version", "requestedCapabilities", "endorsements")
"""Members that may hold anything of their type: nothing of ours depends on them."""
ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, -0.0, 1e21, 5e-324, 2**53, 2**63, 10**400, 1e308, float("inf"),
    float("nan"),
    "", "x", "\x00", "\ud800", "\udc00\ud800", "\u2028", "\u202e", "é" * 50, "😀", "A" * 88, "a" * 10_000,
    [], {}, [[]], [None], {"__proto__": 1}, {"a": {}}, {"0": 1, "10": 2, "9": 3}, {"😀": 1, "\ue000": 2},
    [None] * 70, [1e999], list(range(2_000)), ALICE.pub, BOB.pub, ALICE.fingerprint, "toString", NOW_MS,
]  # fmt: skip
NAMES = [
    "__proto__",
    "constructor",
    "x",
    "pub",
    "0",
    "01",
    "4294967295",
    "",
    "\ud800",
    "payload",
    "v",
    "kind",
]
TOKENS = [
    "{", "}", "[", "]", ",", ":", '"', "\\", "\\u", "\\ud800", "null", "NaN", "-Infinity", "1e999", "-",
    "0" * 30, "9" * 5_000, '"payload":1,', '"__proto__":{},', "[" * 40, '{"a":' * 40, "\x00", "\u2028",
    "\ufeff", "//", "'",
]  # fmt: skip


class Bad(NamedTuple):
    """A text, and what it must not be taken for: ``hashes`` are those of payloads that somebody signed."""

    text: str
    hashes: frozenset[str]


@cache
def genuine() -> tuple[dict[str, Any], ...]:
    """One envelope of every kind of ours, all by Alice."""
    bodies = {
        Kind.INVITE: InviteBody(call_type="audio", session=SESSION, display_name="A", sdp="v=0\r\n" * 40),
        Kind.ACCEPT: AcceptBody(sdp="v=0", sdp_type="answer", offer_digest="ab" * 32),
        Kind.END: ReasonBody(reason="local-hangup", detail="ü"),
        Kind.RECEIPT: EmptyBody(),
    }
    signals = [signal_from(ALICE, BOB, kind=kind, body=body) for kind, body in bodies.items()]
    signed = [
        envelope.sign(payload.build(signal, KEY.kid), ALICE, artifact_type="service", created_at_ms=NOW_MS)
        for signal in signals
    ]
    keys = boxkeys.rotate((), NOW_MS, b"\x09" * 32)
    free = {"0": [1, 0.1, 1e21, None], "ü": {"b": "\u2028", "a": -0.0}}
    return (
        *signed,
        json.loads(cards.issue(ALICE, ALICE_DEVICE, keys, NOW_MS)),
        envelope.sign(free, ALICE, artifact_type="prompt", created_at_ms=NOW_MS),
    )


def bad(number: int, seed: int = SEED) -> Bad:
    """The envelope of that number."""
    source = random.Random(f"{seed} {number}")
    signed = copy.deepcopy(source.choice(genuine()))
    make = source.choices([_damaged_text, _odd_members, _odd_and_signed, _mixed], [6, 7, 6, 1])[0]
    return make(signed, source)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every member of a value is, at any depth."""
    found = [at] if at else []
    if isinstance(value, dict):
        for name, member in value.items():
            found += paths(member, (*at, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            found += paths(member, (*at, index))
    return found


def damage(value: dict[str, Any], source: random.Random, but: tuple[str, ...] = ()) -> bool:
    """Changes one member; False where it may have changed nothing that matters."""
    path = source.choice([path for path in paths(value) if path[0] not in but])
    target: Any = value
    for step in path[:-1]:
        target = target[step]
    before = copy.deepcopy(target[path[-1]])
    action = source.randrange(5)
    if action == 0:
        del target[path[-1]]
        return True
    if action == 1 and isinstance(before, str) and before:
        position = source.randrange(len(before))
        target[path[-1]] = before[:position] + chr(ord(before[position]) ^ 1) + before[position + 1 :]
    elif action == 2 and isinstance(target, dict):
        target[source.choice(NAMES)] = copy.deepcopy(source.choice(ODD))
        return path[0] == "payload" and len(path) > 1
    elif action == 3:
        target[path[-1]] = [before]
    else:
        target[path[-1]] = copy.deepcopy(source.choice(ODD))
    return type(target[path[-1]]) is not type(before) or target[path[-1]] != before


def _damaged_text(signed: dict[str, Any], source: random.Random) -> Bad:
    """Bytes flipped, cut, doubled, moved; tokens of JSON where none belong."""
    data = bytearray(json.dumps(signed, ensure_ascii=source.random() < 0.5).encode())
    for _ in range(source.choice((1, 1, 1, 2, 4, 16))):
        at, end = sorted(source.randrange(len(data) + 1) for _ in range(2))
        match source.randrange(5):
            case 0:
                data[at : at + 1] = source.randbytes(1)
            case 1:
                del data[at : min(end, at + 40)]
            case 2:
                data[at:at] = data[at : min(end, at + 400)]
            case 3:
                data[at:at] = source.choice(TOKENS).encode()
            case _:
                del data[max(at, len(data) // 2) :]
    return Bad(data.decode("utf-8", "surrogateescape"), _hashes(signed))


def _odd_members(signed: dict[str, Any], source: random.Random) -> Bad:
    """Members of other types, missing, added, at any depth; now and then one that is written twice."""
    hashes = _hashes(signed)
    for _ in range(source.choice((1, 1, 2, 5))):
        if signed:
            damage(signed, source)
    text = json.dumps(signed)
    if source.random() < 0.1 and signed:
        name = source.choice(list(signed))
        text = "{" + json.dumps({name: source.choice(ODD)})[1:-1] + "," + text[1:]
    return Bad(text, hashes)


def _mixed(signed: dict[str, Any], source: random.Random) -> Bad:
    """Members of two envelopes, or a time that somebody has moved."""
    hashes = _hashes(signed)
    other = source.choice(genuine())
    name = source.choice(("payload", "contentHash", "signature", "resonanceProof", "createdAt"))
    signed[name] = signed[name] + 1 if name == "createdAt" else copy.deepcopy(other[name])
    return Bad(json.dumps(signed), hashes)


def _odd_and_signed(signed: dict[str, Any], source: random.Random) -> Bad:
    """A wrong payload under a right signature: what only the checks behind the signature can refuse."""
    for _ in range(source.choice((1, 1, 2, 4))):
        if isinstance(signed["payload"], dict) and signed["payload"]:
            damage(signed["payload"], source)
    if source.random() < 0.1:
        signed["payload"] = copy.deepcopy(source.choice(ODD))
    try:
        signed = envelope.sign(signed["payload"], ALICE, artifact_type="service", created_at_ms=NOW_MS)
    except (OverflowError, ValueError):  # no payload of JavaScript's
        digest = content_hash("stands for it")
        signed |= {"contentHash": digest, "signature": b64(sodium.sign(digest.encode(), ALICE.seed))}
        return Bad(json.dumps(signed), frozenset())
    return Bad(json.dumps(signed), _hashes(signed))


def _hashes(signed: dict[str, Any]) -> frozenset[str]:
    return frozenset({signed["contentHash"]})
