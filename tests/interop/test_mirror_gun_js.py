"""The mirror of a user's calls, as a real gun.js client finds it in the user's space."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.app.services.mirror import MirroringHub
from sidecar.app.system_clock import SystemRandom
from sidecar.graph.core import sea
from sidecar.log import Logger
from sidecar.schema import CallState, CallStateChange
from tests.calls_fakes import FakeHub
from tests.graph_nodes import graph_client
from tests.interop.gun_peers import GunJsRelay, gun_client

pytestmark = [pytest.mark.real_peer("gun")]


async def test_gun_js_follows_the_links_to_the_state_of_a_call(tmp_path: Path) -> None:
    for folder in ("relay", "gun"):
        (tmp_path / folder).mkdir()
    pair = sea.make_pair(SystemRandom())
    user, relay = f"~{pair['pub']}", GunJsRelay(tmp_path / "relay", axe=False)
    await relay.start()
    try:
        async with graph_client(relay.url) as client, graph_client(relay.url) as other:
            words: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
            other.watch_values(
                f"{user}/calls/call_1",
                lambda key, text, at: words.put_nowait((str(sea.decrypt(text, pair)), text)),
            )
            mirror = MirroringHub(FakeHub(), client, pair, SystemRandom(), Logger("calls"))
            for shown in (CallState.RINGING, CallState.ACTIVE, CallState.ENDED):
                mirror.emit("aleph:callStateChange", CallStateChange(call_id="call_1", state=shown))
            async with asyncio.timeout(20):
                while (heard := await words.get())[0] != "ended":
                    pass
            async with gun_client("core", relay.url, tmp_path / "gun") as gun:
                await gun.watch("on", "state", [user, "calls", "call_1", "state"])
                await gun.hears("state", heard[1])
    finally:
        await relay.stop()
