"""``startup``: from spawn to the ready line in a runtime-only environment, against a bare interpreter."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import zmq

from bench.report import Aim, Numbers, Options, Report, interleaved, machine, row
from sidecar.ipc.wire.client import ClientWire, Failed, Result
from sidecar.ipc.wire.messages import MessageIds

ROOT = Path(__file__).resolve().parents[3]
LOCK = ROOT / "scripts" / "locks" / "runtime.txt"
PATIENCE_S = 30
MB = 1e6


def run(options: Options) -> Report:
    rounds = 60 if options.long else 20
    with tempfile.TemporaryDirectory(prefix="aleph-bench-") as place:
        python = environment(Path(place) / "venv")
        data = Path(place) / "data"
        start(python, data)  # makes the identity
        medians = interleaved(
            rounds, {"ours": lambda: start(python, data), "pass": lambda: bare(python)}
        ) | interleaved(3, {"idle": lambda: idle(python, data)})
    ours, peer, tree = medians["ours"], f"python {platform.python_version()} -c pass", medians["idle"]
    bare_ms = medians["pass"]["ms"]
    return Report(
        "startup",
        machine=machine(),
        rows=[
            row("spawn to ready line", "ms", ours["readyMs"], aim=Aim(most=120, of_ratio=False)),
            row(
                "spawn to ready line, against bare",
                "ms",
                ours["readyMs"],
                peer=peer,
                peer_value=bare_ms,
                aim=Aim(most=8),
            ),
            row("spawn to the answer to hello", "ms", ours["helloMs"], peer=peer, peer_value=bare_ms),
            row("resident at the ready line", "MB", ours["rssMb"], aim=Aim(most=35, of_ratio=False)),
            row("tree idle, media loaded, resident", "MB", tree["rssMb"], aim=Aim(most=100, of_ratio=False)),
            row("the same, proportional", "MB", tree["pssMb"], aim=Aim(most=100, of_ratio=False)),
            row("core idle, resident", "MB", tree["coreMb"]),
        ],
        notes=[
            f"medians of {rounds} interleaved rounds; the environment holds what runtime.txt names",
            "resident counts a page that two processes share twice, proportional counts it once",
        ],
    )


def environment(folder: Path) -> str:
    """The interpreter of a fresh environment with the runtime lock and this package, compiled, in it."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(LOCK)], check=True, stdout=sys.stderr)
    local = ["--no-deps", "--no-build-isolation", str(ROOT)]
    subprocess.run([*pip, *local], check=True, stdout=sys.stderr)
    return python


def bare(python: str) -> Numbers:
    began = time.perf_counter()
    subprocess.run([python, "-c", "pass"], check=True)
    return {"ms": (time.perf_counter() - began) * 1000}


def start(python: str, data: Path) -> Numbers:
    """One start: to the ready line, its memory there, and to the first answer."""
    began = time.perf_counter()
    process = _spawn(python, data)
    assert process.stdout is not None
    line = process.stdout.readline()
    ready_s = time.perf_counter() - began
    resident = psutil.Process(process.pid).memory_info().rss
    _ask(json.loads(line)["endpoint"], "system:hello", {})
    hello_s = time.perf_counter() - began
    _end(process)
    return {"readyMs": ready_s * 1000, "helloMs": hello_s * 1000, "rssMb": resident / MB}


def idle(python: str, data: Path) -> Numbers:
    """Memory of all processes once media is loaded and nothing goes on."""
    process = _spawn(python, data, stderr=subprocess.PIPE)
    assert process.stderr is not None
    next(line for line in process.stderr if b'"media ready"' in line)
    time.sleep(2)  # nothing tells that a process has become idle
    core = psutil.Process(process.pid)
    tree = [one.memory_full_info() for one in (core, *core.children(recursive=True))]
    _end(process)
    return {
        "rssMb": sum(one.rss for one in tree) / MB,
        "pssMb": sum(one.pss for one in tree) / MB,
        "coreMb": tree[0].rss / MB,
    }


def _spawn(python: str, data: Path, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [python, "-m", "sidecar", "ipc"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=data.parent,
    )
    handshake = {"v": 1, "dataDir": str(data), "parentPid": os.getpid()}
    assert process.stdin is not None
    process.stdin.write(json.dumps(handshake).encode() + b"\n")
    process.stdin.flush()
    return process


def _ask(endpoint: str, channel: str, params: object) -> None:
    """One call over the bridge; raises if it is not answered with a result."""
    wire = ClientWire(MessageIds(os.urandom(8).hex()))
    wire.open(channel, (params,), time.monotonic(), 1)
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(endpoint)
        for payload in wire.take_outgoing():
            dealer.send_multipart((b"", payload))
        while dealer.poll(PATIENCE_S * 1000):
            event = wire.receive(dealer.recv_multipart()[-1], time.monotonic())
            if isinstance(event, Result):
                return
            if isinstance(event, Failed):
                raise RuntimeError(f"{channel}: {event.message}")
    raise TimeoutError(f"{channel} was not answered")


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait(PATIENCE_S)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
