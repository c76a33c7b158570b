"""A node whose clock is ten minutes wrong calls and is called (DESIGN D3, time)."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.gun_peers import GunJsRelay
from tests.peers import ROOT
from tests.sidecars import Sidecar, pair, relay

SKEWED = Path(__file__).parents[1] / "skewed"
TOLERANCE_MS = 60_000
"""Clocks that relays set are right to about a second; far less than the error that is put in."""


@asynccontextmanager
async def graph(kind: str, folder: Path) -> AsyncIterator[str]:
    """A relay: ours, or gun.js with AXE off or on."""
    if kind == "ours":
        async with relay(folder / "relay") as gun:
            yield gun.ready["gun"]
        return
    gun_js = GunJsRelay(folder, axe=kind == "axe-on")
    await gun_js.start()
    try:
        yield gun_js.url
    finally:
        await gun_js.stop()


def wrong(seconds: int) -> dict[str, Any]:
    """How a process is started whose wall clock is so much ahead."""
    path = f"{SKEWED}{os.pathsep}{ROOT}"
    return {"env": os.environ | {"PYTHONPATH": path, "TEST_CLOCK_SKEW_S": str(seconds)}}


async def talk(caller: Sidecar, callee: Sidecar) -> dict[str, Any]:
    """It rings once, at the right time, connects, and ends at both ends with one meaning."""
    session = await caller.call("call:initiate", userId=callee.me["userId"], type="audio")
    call_id = session["id"]
    offer = await callee.event("aleph:callOffer", callId=call_id)
    assert abs(offer["timestamp"] - time.time() * 1000) < TOLERANCE_MS
    await callee.call("call:accept", callId=call_id)
    for node in (caller, callee):
        await node.event("aleph:callStateChange", callId=call_id, state="active")
    await caller.call("call:end", callId=call_id)
    ended = await callee.event("aleph:callStateChange", callId=call_id, state="ended")
    assert ended["reason"] == "remote-hangup"
    return dict(session)


@pytest.mark.parametrize("seconds", [600, -600], ids=["ahead", "behind"])
@pytest.mark.parametrize(
    "kind",
    [
        "ours",
        pytest.param("axe-off", marks=pytest.mark.real_peer("gun")),
        pytest.param("axe-on", marks=pytest.mark.real_peer("gun")),
    ],
)
async def test_a_node_whose_clock_is_ten_minutes_wrong_calls_and_is_called(
    kind: str, seconds: int, tmp_path: Path
) -> None:
    async with (
        graph(kind, tmp_path) as url,
        pair(tmp_path, [url], process_options=wrong(seconds)) as (alice, bob),
    ):
        mine = await talk(alice, bob)
        error_ms = mine["createdAt"] - time.time() * 1000
        assert abs(error_ms - seconds * 1000) < TOLERANCE_MS, "what a front end sees is its machine's time"
        await talk(bob, alice)
