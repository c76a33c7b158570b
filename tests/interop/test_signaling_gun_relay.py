"""Two users through a real gun.js relay, AXE off and on: calls, late readers, a forger."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from sidecar.signaling import layout
from sidecar.signaling.messages import Kind, ReasonBody
from tests.interop.gun_peers import GunJsRelay
from tests.signaling_kit import ALICE, BOB, shared
from tests.signaling_nodes import node, take_call

pytestmark = pytest.mark.real_peer("gun")


@pytest.fixture(params=[False, True], ids=["axe-off", "axe-on"])
async def relay(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GunJsRelay]:
    (tmp_path / "relay").mkdir()
    relay = GunJsRelay(tmp_path / "relay", axe=request.param)
    await relay.start()
    yield relay
    await relay.stop()


async def test_a_call_between_two_users(relay: GunJsRelay, tmp_path: Path) -> None:
    async with node(relay.url, ALICE, BOB, tmp_path) as alice, node(relay.url, BOB, ALICE, tmp_path) as bob:
        for number in range(3):
            await take_call(alice, bob, f"call_{number}", f"{number:032x}")
        await bob.say(
            ALICE, Kind.END, ReasonBody(reason="local-hangup"), session=f"{2:032x}", call_id="call_2"
        )
        assert (await alice.next()).signal.kind is Kind.END
        for one in (alice, bob):
            assert [name for name in one.counters if "dropped" in name] == []


async def test_an_invitation_waits_for_a_user_who_starts_later(relay: GunJsRelay, tmp_path: Path) -> None:
    async with node(relay.url, ALICE, BOB, tmp_path) as alice:
        await alice.invites(BOB)
        async with node(relay.url, BOB, ALICE, tmp_path) as bob:
            assert (await bob.next()).signal.call_id == "call_1"


async def test_s06_a_third_client_writes_null_over_an_invitation_in_vain(
    relay: GunJsRelay, tmp_path: Path
) -> None:
    """With states before, at and after that of the leaf, and while the reader listens."""
    async with node(relay.url, ALICE, BOB, tmp_path) as alice:
        await alice.invites(BOB)
        now_ms = alice.clock.network_ms()
        soul = layout.pairwise_soul(shared(ALICE, BOB), BOB.fingerprint, now_ms)
        (key,) = await alice.graph.read_leaves(soul, timeout_s=10)
        async with connect(relay.url.replace("http", "ws")) as mallory:

            async def forge() -> None:
                for number, state in enumerate((now_ms - 60_000, now_ms, now_ms + 5_000)):
                    for junk in (None, "junk"):
                        cell = {"_": {"#": soul, ">": {key: state}}, key: junk}
                        await mallory.send(json.dumps({"#": f"{number}{junk}", "put": {soul: cell}}))

            await forge()
            async with node(relay.url, BOB, ALICE, tmp_path) as bob:
                await forge()
                assert (await bob.next()).signal.call_id == "call_1"
                await take_call(alice, bob, "call_2", "02" * 16)
                assert bob.arrived.empty()
