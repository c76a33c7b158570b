"""Upstream's mirror of a user's calls: off unless asked for, encrypted to the user, nothing of strangers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.app.services.mirror import CALLS_MAX, WORDS, MirroringHub, mirrored
from sidecar.errors import UnavailableError
from sidecar.graph.core import sea
from sidecar.log import Logger
from sidecar.schema import CallState, CallStateChange
from tests.calls_fakes import FakeHub
from tests.homes import SEA_PAIR, HomeGraph, Street
from tests.signaling_kit import ALICE, BOB, MALLORY, SeededRandom

USER = f"~{SEA_PAIR['pub']}"


class Writes(HomeGraph):
    """A graph that remembers what was put."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[tuple[str, str, Any]] = []

    async def put_value(self, soul: str, key: str, value: Any, pair: Any, *, timeout_s: float) -> None:
        if pair is SEA_PAIR:
            self.puts.append((soul, key, value))
        await super().put_value(soul, key, value, pair, timeout_s=timeout_s)

    def words(self) -> list[tuple[str, Any]]:
        """Call and state, as the user can read them."""
        return [
            (soul.rsplit("/", 1)[1], sea.decrypt(value, SEA_PAIR))
            for soul, key, value in self.puts
            if key == "state"
        ]


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    made = Street(tmp_path)
    made.graph = Writes()
    yield made
    await made.close()


async def talk(street: Street, **calls: Any) -> tuple[Writes, str]:
    alice, bob = await street.home(ALICE, BOB, calls=calls), await street.home(BOB, ALICE)
    call_id = (await alice("call:initiate", userId=BOB.fingerprint, type="audio"))["id"]
    await bob("call:accept", callId=call_id)
    await alice("call:end", callId=call_id)
    assert isinstance(street.graph, Writes)
    return street.graph, call_id


async def test_by_default_nothing_is_mirrored(street: Street) -> None:
    graph, _ = await talk(street)
    assert graph.puts == []


async def test_the_states_of_a_call_stand_where_upstream_looks_for_them(street: Street) -> None:
    graph, call_id = await talk(street, mirrorState=True)
    assert graph.words() == [(call_id, "ringing"), (call_id, "active"), (call_id, "ended")]
    assert graph.puts[:2] == [
        (USER, "calls", {"#": f"{USER}/calls"}),
        (f"{USER}/calls", call_id, {"#": f"{USER}/calls/{call_id}"}),
    ]
    assert len(graph.puts) == 5
    text = repr(graph.puts)
    for secret in ("ringing", "active", "ended", BOB.fingerprint, ALICE.fingerprint):
        assert secret not in text


async def test_the_call_of_a_stranger_leaves_no_trace_until_it_is_taken(street: Street) -> None:
    mallory, bob = await street.home(MALLORY), await street.home(BOB, calls={"mirrorState": True})
    ignored = (await mallory("call:initiate", userId=BOB.fingerprint, type="audio"))["id"]
    assert bob.events("callRequest")
    await mallory("call:end", callId=ignored)
    assert isinstance(street.graph, Writes)
    assert street.graph.puts == []
    taken = (await mallory("call:initiate", userId=BOB.fingerprint, type="audio"))["id"]
    await bob("call:accept", callId=taken)
    assert {call_id for call_id, _ in street.graph.words()} == {taken}


async def test_calls_are_bounded_and_a_relay_that_is_away_changes_nothing() -> None:
    class Away(Writes):
        async def put_value(self, soul: str, key: str, value: Any, pair: Any, *, timeout_s: float) -> None:
            raise UnavailableError("no relay")

    hub = FakeHub()
    mirror = mirrored(hub, Away(), SEA_PAIR, random=SeededRandom(), log=Logger("calls"))
    assert isinstance(mirror, MirroringHub)
    for number in range(2 * CALLS_MAX):
        mirror.emit("aleph:callStateChange", CallStateChange(call_id=f"c{number}", state=CallState.ACTIVE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(hub.events) == 2 * CALLS_MAX
    assert len(mirror._words) == CALLS_MAX


async def test_an_identity_without_a_pair_is_not_mirrored() -> None:
    hub = FakeHub()
    assert mirrored(hub, Writes(), None, random=SeededRandom(), log=Logger("calls")) is hub


def test_every_state_has_a_word() -> None:
    assert set(WORDS) == set(CallState)
    assert set(WORDS.values()) == {"ringing", "active", "ended"}
