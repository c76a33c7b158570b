"""Friends, strangers and blocked users as a Node program sees them, through the TypeScript package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.interop.typescript import PACKAGE, PEERS, build, node
from tests.sidecars import relay

pytestmark = pytest.mark.real_peer("node")


async def test_S17_a_blocked_user_never_rings_and_a_stranger_only_asks(tmp_path: Path) -> None:
    build(PACKAGE)
    async with relay(tmp_path / "relay") as gun:
        program = (str(tmp_path / "people"), sys.executable, gun.ready["gun"])
        seen = await node(PEERS / "door.mjs", *program, timeout_s=120)
    assert (seen["friend"]["verified"], seen["friend"]["reason"]) == (True, "remote-hangup")
    stranger = seen["stranger"]
    assert (stranger["offers"], stranger["reason"]) == (0, "remote-hangup"), "it asked, it did not ring"
    blocked = seen["blocked"]
    assert blocked["callee"] == []
    assert blocked["reason"] == "no-answer"
    assert {state for event, state in blocked["caller"] if event == "aleph:callStateChange"} <= {
        "initiating",
        "ended",
        "failed",
    }, "the caller learns nothing that he would not learn of a user who is away"
