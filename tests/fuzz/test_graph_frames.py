"""Damaged Gun frames with a fixed seed: only the remote-blame error comes out, and relay and peer live on."""

from __future__ import annotations

import json
import random
from pathlib import Path

from sidecar.errors import RemoteError
from sidecar.graph.core import wire
from sidecar.graph.core.peer import Peer
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.store import MemoryStore

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "gun"
FRAMES = 5_000
TOKENS = (
    *'{}[],:"\\', "null", "true", "-1", "1e999", "1e308", "NaN", '"_"', '"#"', '">"', '"."', '"@"', '"put"',
    '"get"', '"dam"', '"__proto__"', '"toString"', '"\\ud800"', '"<?1"', '"~a.b"', '"*"', '"a#b"', "\x00",
    "\u2028", "😀", "9" * 400, '{"#":', "[" * 50,
)  # fmt: skip


class Seeded:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def bytes(self, n: int) -> bytes:
        return self._random.randbytes(n)


def seeds() -> list[str]:
    lines = (VECTORS / "frames_axe_off.jsonl").read_text(encoding="utf-8").splitlines()
    return [frame["raw"] for frame in map(json.loads, lines) if frame["dir"] != "close"]


def damaged(rng: random.Random, frames: list[str]) -> str:
    text = rng.choice(frames)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice([0, 0, 1, 3, 20]))
        text = text[:at] + rng.choice(TOKENS) + text[end:]
    return text[: rng.randrange(len(text) + 1)] if rng.random() < 0.1 else text


def test_S18_damaged_frames_only_blame_the_sender(long_run: bool) -> None:
    rng, frames = random.Random(20261122), seeds()
    read = 0
    for _ in range(FRAMES * (10 if long_run else 1)):
        try:
            for raw in wire.read_frame(damaged(rng, frames)):
                wire.read_message(raw, salvage=rng.random() < 0.5)
                read += 1
        except RemoteError:
            continue
    assert read > FRAMES / 100  # the damage leaves some whole, or nothing behind the parser is tried


def test_S18_relay_and_peer_outlive_damaged_frames() -> None:
    rng, frames = random.Random(3), seeds()
    router = Router(MemoryStore(), Seeded(1), Limits())
    router.opened(1)
    router.opened(2)
    peer = Peer(["ws://relay/gun"], Seeded(2))
    peer.handle_timer(0.0, 0.0)
    peer.opened("ws://relay/gun", 0.0)
    peer.watch("foo", 0.0)
    for number in range(FRAMES // 2):
        text = damaged(rng, frames)
        router.received(rng.choice([1, 2]), text, number / 100, 1.7953e12 + number)
        peer.received("ws://relay/gun", text, number / 100)
        router.take()
        peer.take()
    router.take()
    router.received(1, '{"#":"after","get":{"#":"nobody"}}', 1e3, 1.7953e12)
    assert '"@":"after"' in router.take()[0].text
