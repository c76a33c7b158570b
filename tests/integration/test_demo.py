"""The demo proves media at the receiver: over both kinds of relay; a silent or black sender fails it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.peers import ROOT, need

DEADLINE_S = 100


async def demo(out: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    """Exit code and the JSON object of the last line."""
    for peer in ("node", "xvfb", "typescript-client"):
        need(peer)
    process = await asyncio.create_subprocess_exec(
        "node",
        str(ROOT / "bindings" / "example" / "demo" / "demo.mjs"),
        *("--json", "--seconds", "4", "--out", str(out), *flags),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode is not None
    lines = stdout.decode().splitlines()
    assert lines, stderr.decode()[-3000:]
    return process.returncode, json.loads(lines[-1])


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.real_peer("xvfb")
async def test_a_call_over_our_relay_is_proven_at_both_receivers(tmp_path: Path) -> None:
    code, summary = await demo(tmp_path)
    assert (code, summary["ok"], summary["graph"]) == (0, True, "own"), summary
    assert summary["setup_ms"] > 0
    assert summary["signals"] >= 4
    assert summary["bob"]["screen_frames"] > 0
    for name in ("alice", "bob"):
        assert (summary[name]["width"], summary[name]["height"]) == (640, 360)
    assert files_in(tmp_path) == {"call.json", "contact-sheet.png", "received-by-bob.webm"}


@pytest.mark.real_peer("gun")
async def test_a_call_over_a_real_gun_relay_is_proven_at_both_receivers(tmp_path: Path) -> None:
    need("gun")
    code, summary = await demo(tmp_path, "--graph", "gunjs")
    assert (code, summary["ok"], summary["graph"]) == (0, True, "gunjs"), summary


@pytest.mark.parametrize(
    ("flags", "problem"),
    [(("--microphone", "tone:silence"), "tone is None"), (("--camera", "pattern:black"), "colour code")],
    ids=["silent", "black"],
)
async def test_a_sender_that_sends_nothing_is_found_out(
    tmp_path: Path, flags: tuple[str, str], problem: str
) -> None:
    code, summary = await demo(tmp_path, *flags)
    assert (code, summary["ok"]) == (1, False)
    assert any(problem in line for line in summary["problems"]), summary
