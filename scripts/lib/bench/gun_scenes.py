"""What the ``gun`` bench does to a relay: each scene starts fresh, loads it and returns its numbers."""

from __future__ import annotations

import itertools
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from bench.gun_load import Client, Crowd, frame
from bench.gun_relays import running
from sidecar.graph.core import sea

Numbers = dict[str, float | None]

_ids = itertools.count(1)
_ANSWERED = re.compile(rb'"@\\?":\\?"(p[0-9]+)')
"""In an acknowledgement, also in one that gun.js wraps into a string of a batch."""
_MARK = re.compile(rb"mark([0-9]+)")
"""Values name the put they came from, so that one search of a frame, merged or not, finds them all."""

PUT_CHARS = 400
KEYS_PER_SOUL = 50


def now_ms() -> float:
    return time.time() * 1000


def put(soul: str, cells: dict[str, Any], state: float) -> tuple[str, bytes]:
    """A put's id and frame."""
    name = f"p{next(_ids)}"
    node = {"_": {"#": soul, ">": dict.fromkeys(cells, state)}, **cells}
    text = json.dumps({"#": name, "put": {soul: node}}, separators=(",", ":"))
    return name, frame(text.encode())


def get(soul: str) -> bytes:
    return frame(json.dumps({"#": f"g{next(_ids)}", "get": {"#": soul}}).encode())


def marked(number: int) -> str:
    return f"mark{number}".ljust(PUT_CHARS, ".")


def percentile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


PUTS = 400
PAUSE_S = 0.004


def latency(kind: str) -> Numbers:
    """Milliseconds from a put to its subscriber, one put at a time with a pause after each."""
    with running(kind) as relay:
        crowd = Crowd(relay.port)
        writer, reader = crowd.connect(2)
        crowd.send(reader, get("bench/one"))
        crowd.quiet()
        arrived: dict[int, float] = {}
        reader.on_text = _arrivals(arrived)
        took: list[float] = []
        for number in range(PUTS):
            _, data = put("bench/one", {f"k{number % KEYS_PER_SOUL}": marked(number)}, now_ms() - 1)
            began = time.perf_counter()
            crowd.send(writer, data)
            if crowd.until(lambda number=number: number in arrived, 5):  # type: ignore[misc]
                took.append((arrived[number] - began) * 1000)
            pause_ends = time.perf_counter() + PAUSE_S
            while time.perf_counter() < pause_ends:
                crowd.turn(0.001)
        crowd.close()
    warm = took[PUTS // 10 :]
    return {"p50": statistics.median(warm), "p95": percentile(warm, 0.95)}


def _arrivals(arrived: dict[int, float]) -> Callable[[Client, bytes], None]:
    def on_text(_: Client, payload: bytes) -> None:
        at = time.perf_counter()
        for mark in _MARK.findall(payload):
            arrived.setdefault(int(mark), at)

    return on_text


PAIRS = 10
LIMIT_MS = 50.0
LIMIT_SHARE = 0.98
STEP_S = 1.5
CLOSE_ENOUGH = 1.15


def sustained(kind: str) -> Numbers:
    """The highest steady rate of puts whose p95 to the reader stays below 50 ms; each writer has a reader."""
    with running(kind) as relay:
        crowd = Crowd(relay.port)
        writers, readers = crowd.connect(PAIRS), crowd.connect(PAIRS)
        for number, reader in enumerate(readers):
            crowd.send(reader, get(f"bench/w{number}"))
        crowd.quiet()
        good, bad, rate = 0.0, 0.0, 1000.0
        while rate > 50 and not (good and bad and bad / good < CLOSE_ENOUGH):
            if _holds(crowd, writers, readers, rate):
                good = rate
            else:
                bad = rate
            rate = (good * bad) ** 0.5 if good and bad else rate * 2 if good else rate / 2
            crowd.quiet(0.2, 15)
        crowd.close()
    return {"rate": good}


def _holds(crowd: Crowd, writers: list[Client], readers: list[Client], rate: float) -> bool:
    """Whether a relay keeps up for a step; the puts are due at even times, sent or not."""
    count = int(rate * STEP_S)
    arrived: dict[int, float] = {}
    for reader in readers:
        reader.on_text = _arrivals(arrived)
    first = next(_ids)
    for _ in range(count):
        next(_ids)
    state = now_ms() - STEP_S * 1000
    frames = [
        put(
            f"bench/w{n % PAIRS}",
            {f"k{n // PAIRS % KEYS_PER_SOUL}": marked(first + n)},
            state + n / rate * 1000,
        )[1]
        for n in range(count)
    ]
    began = time.perf_counter()
    sent = 0
    while sent < count:
        due = min(count, int((time.perf_counter() - began) * rate) + 1)
        for n in range(sent, due):
            crowd.send(writers[n % PAIRS], frames[n])
        sent = due
        crowd.turn(0.001)
    crowd.until(lambda: len(arrived) >= count, 0.5)
    took = [(at - began - (n - first) / rate) * 1000 for n, at in arrived.items() if n >= first]
    return len(took) >= count * LIMIT_SHARE and percentile(took, 0.95) < LIMIT_MS


LOAD_NODES = 100_000
LOAD_WRITERS = 20
LOAD_PATIENCE_S = 90.0
WINDOW = 100
"""Puts of one writer that wait for their acknowledgement."""


def load(kind: str) -> Numbers:
    """Seconds until 100,000 nodes of three keys, one a message, are acknowledged, and memory afterwards."""
    state = now_ms() - 1000
    frames = [
        put(f"bench/n{n}", {"name": f"user {n}", "age": n % 90, "mail": f"u{n}@example.org"}, state)[1]
        for n in range(LOAD_NODES)
    ]
    with running(kind) as relay:
        crowd = Crowd(relay.port)
        took = _acknowledged(crowd, crowd.connect(LOAD_WRITERS), frames)
        crowd.quiet(1.0, 10.0)
        memory_mb = relay.rss_mb()
        crowd.close()
    return {"seconds": took, "rss_mb": memory_mb}


def _acknowledged(crowd: Crowd, writers: list[Client], frames: list[bytes], *, share: float = 1.0) -> float:
    """Seconds for all puts, each writer a window ahead, told from those until a share is acknowledged."""
    acknowledged = 0
    queues = {writer.number: frames[place :: len(writers)] for place, writer in enumerate(writers)}

    def send_more(writer: Client, count: int) -> None:
        waiting = queues[writer.number]
        if count and waiting:
            crowd.send(writer, b"".join(waiting[-count:]))
            del waiting[-count:]

    def on_text(writer: Client, payload: bytes) -> None:
        nonlocal acknowledged
        found = len(_ANSWERED.findall(payload))
        acknowledged += found
        send_more(writer, found)

    began = time.perf_counter()
    for writer in writers:
        writer.on_text = on_text
        send_more(writer, WINDOW)
    crowd.until(lambda: acknowledged >= share * len(frames), LOAD_PATIENCE_S)
    return (time.perf_counter() - began) * len(frames) / max(1, acknowledged)


SIGNED = 4_000
SIGNED_SHARE = 0.9
"""gun.js never acknowledges a few of a hundred signed puts that come fast."""


@cache
def _signed_frames() -> list[bytes]:
    """Puts in user space, each of them signed; made once, no relay has seen them before."""
    pair = sea.make_pair(_Random())
    state = float(int(now_ms()) - 1000)
    frames = []
    for number in range(SIGNED):
        soul = f"~{pair['pub']}/n{number}"
        frames.append(
            put(soul, {"text": sea.sign_value(soul, "text", f"value {number}", state, pair)}, state)[1]
        )
    return frames


class _Random:
    def bytes(self, n: int) -> bytes:
        return os.urandom(n)


def signed(kind: str) -> Numbers:
    """Signed puts a second, checked, kept and acknowledged."""
    frames = _signed_frames()
    with running(kind) as relay:
        crowd = Crowd(relay.port)
        took = _acknowledged(crowd, crowd.connect(LOAD_WRITERS), frames, share=SIGNED_SHARE)
        crowd.close()
    return {"rate": len(frames) / took}


CLIENTS = 1_000
SUBSCRIBERS = 10
FAN_OUTS = 10


def crowded(kind: str) -> Numbers:
    """1,000 clients that read one soul, ten of them another: connecting, and what one put to each makes."""
    with running(kind) as relay:
        crowd = Crowd(relay.port)
        began = time.perf_counter()
        everyone = crowd.connect(CLIENTS)
        connect_s = time.perf_counter() - began
        [writer] = crowd.connect(1)
        few = everyone[:SUBSCRIBERS]
        for soul, readers in (("bench/all", everyone), ("bench/few", few)):
            for client in readers:
                crowd.send(client, get(soul))
            crowd.quiet(0.5, 20.0)
        few_put = _fan_out(crowd, writer, "bench/few", few)
        all_put = _fan_out(crowd, writer, "bench/all", everyone)
        crowd.close()
    return {
        "connect_s": connect_s,
        "few_frames": few_put["frames"],
        "bystander_frames": few_put["others"],
        "all_ms": all_put["ms"],
    }


def _fan_out(crowd: Crowd, writer: Client, soul: str, readers: list[Client]) -> dict[str, float]:
    """Of a put: ms until its last reader has it, frames that clients got, and those who had not asked."""
    took: list[float] = []
    before = {client.number: client.received for client in crowd.clients}
    for _ in range(FAN_OUTS):
        number = next(_ids)
        arrived = _Arrived(b"mark%d." % number)
        for reader in readers:
            reader.on_text = arrived
        _, data = put(soul, {"text": marked(number)}, now_ms() - 1)
        began = time.perf_counter()
        crowd.send(writer, data)
        crowd.until(lambda arrived=arrived: len(arrived.readers) >= len(readers), 10)  # type: ignore[misc]
        took.append((arrived.last - began) * 1000)
        crowd.quiet(0.1, 5.0)
    asked = {reader.number for reader in readers} | {writer.number}
    frames = {client.number: client.received - before[client.number] for client in crowd.clients}
    return {
        "ms": statistics.median(took),
        "frames": sum(count for number, count in frames.items() if number != writer.number) / FAN_OUTS,
        "others": sum(count for number, count in frames.items() if number not in asked) / FAN_OUTS,
    }


class _Arrived:
    """Who has a marked value, and when the last one got it."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self.readers: set[int] = set()
        self.last = 0.0

    def __call__(self, client: Client, payload: bytes) -> None:
        if self._mark in payload:
            self.readers.add(client.number)
            self.last = time.perf_counter()
