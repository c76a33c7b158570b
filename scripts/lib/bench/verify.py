"""``verify``: a leaf from the graph to a checked signal, against libsodium's own calls on the same bytes.

Ours is what ``signaling.inbox`` does with every leaf of a contact: size, shape, key id, budget, opening,
inflating, version, audience, age, block list, rate, signature, fingerprint, pin, generation, nonce. The peer
is the bare floor under any of it: PyNaCl's SealedBox opened and its Ed25519 signature verified, nothing read.
"""

from __future__ import annotations

import base64
import json
import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple

from nacl.public import PrivateKey, SealedBox
from nacl.signing import SigningKey

from bench.report import Numbers, Options, Report, interleaved, machine, row
from sidecar.signaling import layout, sealing
from sidecar.signaling.inbox import Inbox, Peer, Place, PlaceKind
from sidecar.signaling.limits import Limits
from sidecar.signaling.messages import InviteBody, Kind, Party, Signal
from sidecar.signaling.sealing import Leaf, Lock
from sidecar.trust import boxkeys, identity, pairwise
from sidecar.trust.contacts import Contacts
from sidecar.trust.identity import Identity
from sidecar.trust.pins import Pins

LEAVES = 2_000
ROUNDS = 7
NOW_MS = 1_795_000_000_000
LIFE_MS = 60_000
SDP_LINES = 60
"""An invitation of about 2 KB, as a video call's."""
EVERY_S = 10.0
"""Seconds between leaves as the inbox sees them, so that no budget ends."""


class _Seeded:
    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)

    def bytes(self, n: int) -> bytes:
        return self._source.randbytes(n)


class Case(NamedTuple):
    """Leaves from a contact to us, and the same content for the floor."""

    me: Identity
    author: Identity
    place: Place
    leaves: list[Leaf]
    boxes: list[bytes]
    signatures: list[bytes]


def make_case() -> Case:
    me, author = identity.generate(bytes([1]) * 32), identity.generate(bytes([2]) * 32)
    shared = pairwise.shared_secret(me.seed, author.public_key)
    assert shared is not None
    chance = _Seeded(3)
    key = boxkeys.of_identity(me.seed)
    soul = layout.pairwise_souls(shared, me.fingerprint, NOW_MS)[0]
    leaves = [
        sealing.seal_signal(
            _invitation(author, me, number), author, Lock(key.kid, key.public, shared), soul, chance
        )
        for number in range(LEAVES)
    ]
    boxes = [base64.b64decode(json.loads(leaf.value)["box"]) for leaf in leaves]
    signing = SigningKey(author.seed)
    signatures = [bytes(signing.sign(b"x" * 2_000 + str(number).encode())) for number in range(LEAVES)]
    place = Place(PlaceKind.PAIRWISE, author.fingerprint, (Peer(author.fingerprint, author.pub, shared),))
    return Case(me, author, place, leaves, boxes, signatures)


def _invitation(author: Identity, me: Identity, number: int) -> Signal:
    sdp = "".join(
        f"a=candidate:{line} 1 udp {number} 192.0.2.1 5000 typ host\r\n" for line in range(SDP_LINES)
    )
    return Signal(
        kind=Kind.INVITE,
        call_id=f"call_{number}",
        sender=Party(author.pub, "a1" * 8),
        recipient=Party(me.pub),
        body=InviteBody(call_type="video", session="5e" * 16, display_name="Alice", sdp=sdp),
        epoch="e0" * 8,
        gen=0,
        seq=0,
        issued_at_ms=NOW_MS,
        expires_at_ms=NOW_MS + LIFE_MS,
        nonce=f"{number:032x}",
    )


def ours(case: Case) -> Numbers:
    """A new inbox takes every leaf once."""
    friend = {"id": case.author.fingerprint, "displayName": "Alice", "publicKey": case.author.pub}
    drops: list[str] = []
    inbox = Inbox(
        case.me,
        "b2" * 8,
        contacts=Contacts.from_social({"friends": [friend]}),
        pins=Pins(),
        on_drop=drops.append,
        limits=Limits(),
    )
    inbox.set_box_keys([boxkeys.of_identity(case.me.seed)])

    def take(number: int) -> None:
        leaf = case.leaves[number]
        inbox.receive(case.place, leaf.key, leaf.value, NOW_MS, number * EVERY_S)

    numbers = _timed(take)
    if drops:
        raise RuntimeError(f"{len(drops)} leaves were dropped: {drops[0]}")
    return numbers


def floor(case: Case) -> Numbers:
    """libsodium through PyNaCl: the same box opened, two kilobytes verified."""
    box = SealedBox(PrivateKey(boxkeys.of_identity(case.me.seed).private))
    key = SigningKey(case.author.seed).verify_key

    def take(number: int) -> None:
        box.decrypt(case.boxes[number])
        key.verify(case.signatures[number])

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
