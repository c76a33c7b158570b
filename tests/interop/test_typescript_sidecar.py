"""The TypeScript client with real sidecars as its children: start, refusal, restart, end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.interop.typescript import PACKAGE, PEERS, Exit, build, line, node, started

pytestmark = pytest.mark.real_peer("node")


@pytest.fixture(scope="module", autouse=True)
def package() -> None:
    build(PACKAGE)


async def drive(scenario: str, folder: Path) -> Any:
    return await node(PEERS / "sidecar.mjs", scenario, str(folder), sys.executable)


async def test_a_spawned_sidecar_greets_answers_and_ends(tmp_path: Path) -> None:
    seen = await drive("life", tmp_path)
    assert seen["sameSchema"] is True
    assert len(seen["self"]["userId"]) == 16
    assert seen["calls"] == []
    assert seen["health"]["status"] in ("ok", "degraded")
    assert seen["invalid"]["code"] == "invalid-params"
    assert "client" in seen["invalid"]["message"]
    assert not psutil.pid_exists(seen["pid"])


async def test_every_channel_answers_with_a_code(tmp_path: Path) -> None:
    codes = await drive("channels", tmp_path)
    assert len(codes) > 40
    assert not {code for code in codes.values() if code.startswith("client.")}


async def test_the_commonjs_build_works_too(tmp_path: Path) -> None:
    assert len((await drive("commonjs", tmp_path))["userId"]) == 16


async def test_tcp_is_served_with_keys_made_for_the_occasion(tmp_path: Path) -> None:
    assert (await drive("tcp", tmp_path))["status"] in ("ok", "degraded")


async def test_i05_curve_refuses_foreign_keys_wrong_servers_and_no_keys(tmp_path: Path) -> None:
    seen = await drive("refusal", tmp_path)
    assert seen["protocol"] == 1
    for who in ("foreign", "misled", "plain"):
        assert (who, seen[who]["class"], seen[who]["code"]) == (who, "RefusedError", "client.refused")


async def test_a_killed_sidecar_is_started_again_as_the_same_user(tmp_path: Path) -> None:
    seen = await drive("restart", tmp_path)
    assert seen["status"] in ("ok", "degraded")
    assert (seen["lost"], seen["samePid"], seen["sameUser"]) == ("client.lost-remote", False, True)


async def test_a_sidecar_told_to_end_is_not_started_again(tmp_path: Path) -> None:
    seen = await drive("shutdown", tmp_path)
    assert seen["exitCode"] == 0
    assert seen["later"]["code"] == "client.closed"


async def test_i08_a_second_sidecar_in_one_folder_fails_with_its_exit_code(tmp_path: Path) -> None:
    error = await drive("second", tmp_path)
    assert (error["class"], error["exitCode"]) == ("SpawnError", 3)


async def test_c17_a_killed_parent_leaves_nothing_behind(tmp_path: Path) -> None:
    command = ["node", str(PEERS / "sidecar.mjs"), "orphan", str(tmp_path), sys.executable]
    async with started(command) as parent:
        pid = json.loads(await line(parent))["pid"]
        family = [Exit(pid), *(Exit(child.pid) for child in psutil.Process(pid).children(recursive=True))]
        parent.kill()
        for process in family:
            await process.wait(timeout_s=2)
