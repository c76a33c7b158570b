"""The node's graph service: its store on disk, the clock that follows it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sidecar.app.services.graph import GraphService
from sidecar.app.system_clock import SystemClock
from sidecar.errors import LocalError, UnavailableError
from tests.graph_nodes import SOUL, graph_client, graph_relay, leaf


async def test_a_leaf_put_offline_survives_the_process(tmp_path: Path) -> None:
    key, value = leaf("from the last run")
    first = GraphService(["http://127.0.0.1:1/gun"], tmp_path, SystemClock())
    await first.start()
    with pytest.raises(UnavailableError):
        await first.client.put_leaf(SOUL, key, value, timeout_s=0.05)
    assert [relay.connected for relay in first.relays] == [False]
    await first.stop()
    async with graph_relay() as (_, url):
        second = GraphService([url], tmp_path, SystemClock())
        await second.start()
        assert await second.client.read_leaves(SOUL, timeout_s=10) in ({}, {key: value})
        assert [relay.url for relay in second.relays] == [url]
        async with graph_client(url) as reader:
            assert await reader.read_leaves(SOUL, timeout_s=10) == {key: value}
        await second.stop()


async def test_the_clock_follows_the_relays_also_after_a_restart(tmp_path: Path) -> None:
    clock = SystemClock()
    service = GraphService([], tmp_path, clock)
    now_ms = clock.steady_ms()
    service.client._time._time.observe("relay", now_ms + 600_000, now_ms, now_ms)
    assert abs(clock.network_ms() - clock.steady_ms() - 600_000) < 2_000
    assert service.relays == []
    await service.start()
    await service.stop()


async def test_what_cannot_be_used_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(LocalError):
        GraphService(["not a url"], tmp_path, SystemClock())
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UnavailableError):
        GraphService([], tmp_path / "file", SystemClock())


def test_the_machines_import_no_sockets() -> None:
    """``sidecar.graph.core`` is loaded by tools that must start fast."""
    import subprocess

    program = (
        "import sys, sidecar.graph.core.peer, sidecar.graph.core.router; print('websockets' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "False"
