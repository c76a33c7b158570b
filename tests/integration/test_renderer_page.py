"""Calls whose media a page has, in Chromium with our peer code, with a sidecar that has its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.interop.typescript import PACKAGE, build
from tests.netlab.namespace import namespace
from tests.peers import ROOT, need

DEADLINE_S = 120.0
"""It takes about 20 s; most of them are the browser's."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two calls of a page showed, in a network of their own: only loopback, nothing leaves it."""
    need("chromium")
    build(PACKAGE)
    folder = tmp_path_factory.mktemp("page")
    program = f"ip link set lo up && exec {sys.executable} -m tests.netlab.page_calls {folder}"
    run = subprocess.run(
        [*namespace(), "sh", "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert run.returncode == 0, run.stderr[-6000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.mark.real_peer("chromium")
@pytest.mark.timeout(DEADLINE_S + 30)
@pytest.mark.parametrize("way", ["called", "calls"])
def test_a_page_and_a_sidecar_see_and_hear_each_other(seen: dict[str, Any], way: str) -> None:
    page, sidecar = seen[way]["page"], seen[way]["sidecar"]
    assert (page["width"], page["height"]) >= (320, 180)
    assert 400 < page["hz"] < 480, "the tone of the sidecar, 440 Hz"
    assert sidecar["video"]["framesDecoded"] > 10
    assert sidecar["audio"]["received"] > 50
    assert sidecar["path"] == "host"
    assert seen["problems"] == []


@pytest.mark.real_peer("chromium")
@pytest.mark.timeout(DEADLINE_S + 30)
def test_a_path_is_replaced_a_line_muted_and_a_call_ended(seen: dict[str, Any]) -> None:
    called = seen["called"]
    assert called["role"] == "answerer", "who made the first offer makes the next"
    assert called["again"]["width"] >= 320
    assert called["muted"]["screenSharing"] is False
    assert called["left"] == [], "the page has let go of it"
    for stats in (called["measured"], called["summary"]):
        assert 0 <= stats["rttMs"] < 1000
    assert seen["calls"]["ended"] == "remote-hangup"


@pytest.mark.real_peer("chromium")
@pytest.mark.timeout(DEADLINE_S + 30)
def test_both_owners_of_media_meet_in_one_conference(seen: dict[str, Any]) -> None:
    for peers in seen["meets"]:
        assert len(peers) == 2
        assert all(peer["video"]["framesDecoded"] > 10 for peer in peers)
