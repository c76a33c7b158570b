"""In which order the calls hear what has passed the checks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sidecar.app.services.arrivals import Arrivals
from sidecar.log import Logger
from sidecar.signaling.messages import Incoming, Kind
from tests.calls_lab import invite, signal


class Disk:
    """Stores when ``commit`` says so."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[bool], None]] = []

    def burn(self, names: object, now_ms: int, stored: Callable[[bool], None]) -> None:
        self._waiting.append(stored)

    def commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        for stored in waiting:
            stored(True)


class Clock:
    def network_ms(self) -> int:
        return 0


def incoming(one: Any) -> Incoming:
    return Incoming(signal=one, user_id="b" * 16, contact=True, verified_name=None)


async def heard(*signals: Any) -> list[Kind]:
    """What the calls hear of signals that are read at once, before anything is stored."""
    disk, told = Disk(), list[Incoming]()
    arrivals: Any = Arrivals(disk, told.append, Clock(), Logger("test"))  # type: ignore[arg-type]
    for one in signals:
        arrivals.take(incoming(one))
    disk.commit()
    await asyncio.sleep(0)
    return [one.signal.kind for one in told]


async def test_C06_a_cancel_that_is_found_with_its_invitation_comes_first():
    assert await heard(invite().signal, signal(Kind.CANCEL)) == [Kind.CANCEL, Kind.INVITE]
    assert await heard(signal(Kind.CANCEL), invite().signal) == [Kind.CANCEL, Kind.INVITE]


async def test_everything_else_keeps_its_order():
    said = [invite().signal, signal(Kind.RINGING), signal(Kind.ANSWER)]
    assert await heard(*said) == [one.kind for one in said]
