"""``ipc``: a Node caller over ipc:// against our bridge, the stock zerorpc server and a bare echo."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from bench.report import Aim, Numbers, Options, Report, Row, interleaved, machine, row

ROOT = Path(__file__).resolve().parents[3]
CALLER = ROOT / "tests" / "node" / "ipc_caller.js"
CALLERS = 16
PATIENCE_S = 120


def run(options: Options) -> Report:
    rounds = 25 if options.long else 9
    sizes = {"warmup": 2000, "calls": 2000, "batch": 10_000, "callers": CALLERS, "items": 10_000}
    with tempfile.TemporaryDirectory(prefix="aleph-bench-") as place:
        sides = {
            kind: measure(kind, f"ipc://{place}/{kind}", sizes)
            for kind in ("ours", "direct", "stock", "echo")
        }
        medians = interleaved(rounds, sides)
    ours, direct, stock, echo = (medians[kind] for kind in ("ours", "direct", "stock", "echo"))
    zerorpc = f"zerorpc {version('zerorpc')}"
    floor = f"add_reader echo, pyzmq {version('pyzmq')}"
    many = f"calls with {CALLERS} callers"

    def against_stock(what: str, unit: str, number: str, aim: Aim | None = None) -> Row:
        return row(what, unit, ours[number], peer=zerorpc, peer_value=stock[number], aim=aim)

    def against_echo(what: str, unit: str, mine: float, number: str, aim: Aim | None = None) -> Row:
        return row(what, unit, mine, peer=floor, peer_value=echo[number], aim=aim)

    return Report(
        "ipc",
        machine(),
        [
            against_stock("call p50", "us", "p50Us", Aim(most=0.5)),
            against_stock("call p99", "us", "p99Us"),
            against_stock(many, "1/s", "callsPerS", Aim(least=4.0)),
            against_stock("events of one stream", "1/s", "eventsPerS", Aim(least=2.3)),
            against_echo("call p50", "us", ours["p50Us"], "p50Us"),
            row(
                "call p50, less the echo's",
                "us",
                ours["p50Us"] - echo["p50Us"],
                peer=zerorpc,
                peer_value=stock["p50Us"] - echo["p50Us"],
            ),
            against_echo(many, "1/s", ours["callsPerS"], "callsPerS", Aim(least=0.8)),
            against_echo(f"{many}, plain functions", "1/s", direct["callsPerS"], "callsPerS"),
        ],
        [
            f"medians of {rounds} interleaved rounds, a fresh server and caller each",
            "every p50 holds six wake-ups of sleeping threads, which no server can spare; on an idle virtual "
            "machine they are most of it, so the echo's is the part that is nobody's",
        ],
    )


def measure(kind: str, endpoint: str, sizes: dict[str, int]) -> Callable[[], Numbers]:
    """One round: a server, a caller, its numbers."""

    def once() -> Numbers:
        wanted = dict(sizes, items=0) if kind == "echo" else sizes
        server = subprocess.Popen(
            [sys.executable, "-m", "bench.ipc_servers", kind, endpoint],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            bound = server.stdout.readline().strip()
            called = subprocess.run(
                ["node", str(CALLER), bound, json.dumps(wanted)],
                capture_output=True,
                text=True,
                check=True,
                timeout=PATIENCE_S,
            )
            numbers: dict[str, float | None] = json.loads(called.stdout)
            return numbers
        finally:
            server.stdin.close()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            server.stdout.close()

    return once
