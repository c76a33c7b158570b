"""Users who do anything, and a contact who says anything, in whole nodes: nothing breaks, nothing is left."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import SidecarError
from sidecar.signaling.messages import BODIES
from tests.fuzz.signals_at_random import Liar
from tests.homes import Home, settle
from tests.signaling_kit import ALICE, BOB
from tests.town import CAROL, ROOM, Town

STEPS = 150
COMMANDS = (
    "call:initiate", "call:accept", "call:end", "call:hold", "call:resume", "conference:create",
    "conference:join", "conference:leave", "conference:invite",
)  # fmt: skip
UNKNOWN = "ghost"


class Disorder:
    """Alice and Carol use what they have; Bob's user does so too, and his client says what it likes."""

    def __init__(self, seed: int, town: Town, homes: list[Home]) -> None:
        self.town = town
        self.homes = homes
        self.ids = [UNKNOWN]
        self.codes: set[str] = set()
        """Answers of commands that could not be."""
        self.said: set[asyncio.Task[None]] = set()
        self._dice = random.Random(seed)
        self._liars = {home: Liar(self._dice, home, homes[1]) for home in (homes[0], homes[2])}

    async def step(self) -> None:
        await (self._command() if self._dice.random() < 0.3 else self._signal())
        if self._dice.random() < 0.4:
            await self.town.later(self._dice.choice((1, 1, 3, 20)))

    async def _command(self) -> None:
        home, name = self._dice.choice(self.homes), self._dice.choice(COMMANDS)
        someone = self._dice.choice(self.homes).user_id
        live = [session["id"] for session in await home("call:list-active")]
        params: dict[str, Any] = {"callId": self._dice.choice(live or self.ids)}
        if name == "call:initiate":
            params = {"userId": someone, "type": "audio"}
        elif name == "conference:create":
            params = {"roomId": ROOM, "type": "audio"}
        elif name == "conference:invite":
            params["userId"] = someone
        try:
            answer = await home(name, **params)
        except SidecarError as error:
            self.codes.add(error.code.value)
        else:
            self.ids += [answer["id"]] if "id" in answer else []

    async def _signal(self) -> None:
        (home, liar), kind = self._dice.choice(list(self._liars.items())), self._dice.choice(list(BODIES))
        call_id = self._dice.choice((UNKNOWN, *self.ids[-4:]))
        sending = self.homes[1].signaling.send(
            call_id=call_id,
            user_id=home.user_id,
            kind=kind,
            body=liar.about(kind, call_id),
            session=liar.session_of(call_id),
            gen=self._dice.choice((0, 0, 1, 5)),
            ttl_s=60.0,
            room_id=self._dice.choice((None, ROOM)),
        )
        task = asyncio.create_task(self._quietly(sending))  # it may wait for time that passes later
        self.said.add(task)
        task.add_done_callback(self.said.discard)
        await settle()

    @staticmethod
    async def _quietly(sending: Any) -> None:
        with suppress(SidecarError):
            await sending


@pytest.mark.parametrize("seed", range(25))
async def test_S18_nothing_that_a_contact_says_breaks_or_keeps_a_call(tmp_path: Path, seed: int) -> None:
    broken: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
    town = Town(tmp_path)
    disorder = Disorder(seed, town, await town.people(ALICE, BOB, CAROL))
    for number in range(STEPS):
        await disorder.step()
        assert not broken, f"step {number}"
    for home in disorder.homes:
        for session in await home("call:list-active"):
            await home("call:end", callId=session["id"])
    await town.later(400)
    for home in disorder.homes:
        assert await home("call:list-active") == []
        assert home.calling.calls.board.next_deadline() is None
    for task in disorder.said:
        task.cancel()
    await town.close()
    assert not broken
    assert disorder.codes
    assert "internal" not in disorder.codes
