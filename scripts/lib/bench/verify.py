"""``verify``: a leaf from the graph to a checked signal, against libsodium's own calls on the same bytes.

Ours is what ``signaling.inbox`` does with every leaf of a contact: size, shape, key id, budget, opening,
inflating, version, audience, age, block list, rate, signature, fingerprint, pin, generation, nonce. The peer
is the bare floor under any of it: PyNaCl's SealedBox opened and its Ed25519 signature verified, nothing read.
"""

from __future__ import annotations

import base64
import json
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple

from nacl.public import PrivateKey, SealedBox
from nacl.signing import SigningKey

from bench.report import Numbers, Options, Report, interleaved, machine, row
from sidecar.signaling import sealing
from sidecar.signaling.messages import InviteBody
from sidecar.signaling.sealing import Leaf, Lock
from sidecar.trust import boxkeys
from tests.signaling_kit import (
    ALICE,
    BOB,
    SESSION,
    Receiver,
    SeededRandom,
    pairwise_place,
    shared,
    signal_from,
)

LEAVES = 2_000
ROUNDS = 7
SDP_LINES = 60
SIGNED_BYTES = 2_000
"""What the floor verifies; an invitation of a video call has about as much."""
EVERY_S = 10.0
"""Seconds between leaves on the receiver's clock, so that no budget ends."""


class Case(NamedTuple):
    """Leaves from Alice to Bob; their boxes and as many signed messages for the floor."""

    leaves: list[Leaf]
    boxes: list[bytes]
    signed: list[bytes]


def make_case() -> Case:
    key = boxkeys.of_identity(BOB.seed)
    lock = Lock(key.kid, key.public, shared(ALICE, BOB))
    random = SeededRandom(3)
    leaves: list[Leaf] = []
    for number in range(LEAVES):
        sdp = "".join(
            f"a=candidate:{line} 1 udp {number} 192.0.2.1 5000 typ host\r\n" for line in range(SDP_LINES)
        )
        body = InviteBody(call_type="video", session=SESSION, display_name="Alice", sdp=sdp)
        signal = signal_from(ALICE, BOB, call_id=f"call_{number}", body=body, nonce=f"{number:032x}")
        leaves.append(sealing.seal_signal(signal, ALICE, lock, "calls/p/x#<?172800", random))
    boxes = [base64.b64decode(json.loads(leaf.value)["box"]) for leaf in leaves]
    signing = SigningKey(ALICE.seed)
    return Case(leaves, boxes, [bytes(signing.sign(random.bytes(SIGNED_BYTES))) for _ in leaves])


def ours(case: Case) -> Numbers:
    """A new inbox takes every leaf once."""
    receiver = Receiver()
    place = pairwise_place(BOB, ALICE)

    def take(number: int) -> None:
        leaf = case.leaves[number]
        receiver.clock.now_s += EVERY_S
        receiver.take(place, leaf.key, leaf.value)

    numbers = _timed(take)
    if receiver.drops:
        raise RuntimeError(f"{len(receiver.drops)} leaves were dropped: {receiver.drops[0]}")
    return numbers


def floor(case: Case) -> Numbers:
    """libsodium through PyNaCl: the same box opened, as much verified."""
    box = SealedBox(PrivateKey(boxkeys.of_identity(BOB.seed).private))
    key = SigningKey(ALICE.seed).verify_key

    def take(number: int) -> None:
        box.decrypt(case.boxes[number])
        key.verify(case.signed[number])

    return _timed(take)


def _timed(take: Callable[[int], None]) -> Numbers:
    took: list[float] = []
    for number in range(LEAVES):
        began = time.perf_counter()
        take(number)
        took.append((time.perf_counter() - began) * 1e6)
    ranked = sorted(took)
    return {
        "rate": LEAVES / sum(took) * 1e6,
        "p50": statistics.median(took),
        "p95": ranked[int(LEAVES * 0.95)],
    }


def run(options: Options) -> Report:
    case = make_case()
    sides: dict[str, Callable[[], Numbers]] = {"ours": lambda: ours(case), "floor": lambda: floor(case)}
    rounds = ROUNDS * 3 if options.long else ROUNDS
    found = interleaved(rounds, sides)
    peer = f"open and verify alone, PyNaCl {version('PyNaCl')}"
    mine, bare = found["ours"], found["floor"]
    return Report(
        "verify",
        machine(),
        [
            row("sealed leaves opened and verified", "1/s", mine["rate"], peer=peer, peer_value=bare["rate"]),
            row("a leaf, p50", "us", mine["p50"], peer=peer, peer_value=bare["p50"]),
            row("a leaf, p95", "us", mine["p95"], peer=peer, peer_value=bare["p95"]),
        ],
        [
            f"medians of {rounds} interleaved rounds of {LEAVES} invitations of about "
            f"{len(case.boxes[0])} bytes sealed, one core; ours ends with a signal whose nonce is burned",
        ],
    )
