"""The relays that the ``gun`` bench compares, each a process with a folder of its own on disk."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil

ROOT = Path(__file__).resolve().parents[3]
NODE_PEERS = ROOT / "tests" / "node"
GUN_RELAY = NODE_PEERS / "gun_relay.js"
OURS, AXE_OFF, AXE_ON = "ours", "axe off", "axe on"
KINDS = (OURS, AXE_OFF, AXE_ON)


class Relay(NamedTuple):
    """A running relay."""

    port: int
    process: psutil.Process

    def rss_mb(self) -> float:
        """Resident memory, children included."""
        family = [self.process, *self.process.children(recursive=True)]
        return float(sum(one.memory_info().rss for one in family)) / 1e6


def gun_version() -> str:
    package = json.loads((NODE_PEERS / "node_modules" / "gun" / "package.json").read_text(encoding="utf-8"))
    return str(package["version"])


@contextmanager
def running(kind: str) -> Iterator[Relay]:
    """A fresh relay of that kind, gone with its folder afterwards."""
    with tempfile.TemporaryDirectory(prefix="aleph-bench-") as folder:
        process = subprocess.Popen(
            _command(kind, folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            text=True,
        )
        try:
            yield Relay(_port(process), psutil.Process(process.pid))
        finally:
            process.kill()
            process.communicate()


def _command(kind: str, folder: str) -> list[str]:
    if kind == OURS:
        flags = ["--host", "127.0.0.1", "--gun-port", "0", "--no-turn", "--data", folder]
        return [sys.executable, "-m", "sidecar", "relay", *flags]
    return ["node", str(GUN_RELAY), "0", folder, "true" if kind == AXE_ON else "false"]


def _port(process: subprocess.Popen[str]) -> int:
    """Of the ready line; gun.js greets in prose before."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            ready = json.loads(line)
            return int(ready.get("port") or urlsplit(ready["gun"]).port)
    raise RuntimeError("the relay ended before it was ready")
