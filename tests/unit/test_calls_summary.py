"""``aleph:callSummary``: the record of a call joined with what media measured last, waiting for nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from sidecar.app.services import summary as module
from sidecar.app.services.summary import Summaries
from sidecar.calls.record import of_session
from sidecar.calls.states import Side, State
from sidecar.log import Logger
from sidecar.media import messages as m
from sidecar.schema import CallRecord, CallStats, EndReason
from tests.calls_fakes import FakeHub, turn
from tests.calls_lab import BOB, CALL, at

STATS: dict[str, Any] = {"participants": [{"userId": BOB, "rttMs": 12.5, "loss": 0.0}]}


class Records:
    def __init__(self) -> None:
        self.added: list[CallRecord] = []
        self.later: list[CallRecord] = []

    def add(self, record: CallRecord) -> None:
        self.added.append(record)

    def measured(self, record: CallRecord) -> None:
        self.later.append(record)


class Lab:
    def __init__(self) -> None:
        self.records, self.hub = Records(), FakeHub()
        self.summaries = Summaries(self.records, self.hub, Logger("history"))

    def told(self) -> list[tuple[str, CallStats | None]]:
        assert set(self.hub.names()) <= {"aleph:callSummary"}
        return [(data.call_id, data.stats) for _, data in self.hub.events]

    def closed(self, stats: dict[str, Any] = STATS, call_id: str = CALL) -> None:
        self.summaries.on_media_event(m.CallClosed(call_id=call_id, stats=stats))


def record(*, started: bool = True, call_id: str = CALL) -> CallRecord:
    made = at(Side.CALLER, State.ACTIVE if started else State.INVITING)
    line = of_session(made.session(CALL), Side.CALLER, EndReason.LOCAL_HANGUP, 7)
    return msgspec.structs.replace(line, call_id=call_id)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def measured() -> CallStats:
    return msgspec.convert(STATS, CallStats)


@pytest.mark.parametrize("early", [True, False])
async def test_measurements_join_their_record_whichever_comes_first(lab: Lab, early: bool):
    if early:
        lab.closed()
    lab.summaries.add(record())
    assert lab.records.added == [record()]  # on its way to the disk before anything is waited for
    if not early:
        assert lab.told() == []
        lab.closed()
    assert lab.told() == [(CALL, measured())]
    assert lab.records.later == [msgspec.structs.replace(record(), stats=measured())]
    lab.summaries.close()
    assert len(lab.told()) == 1


async def test_a_call_that_never_connected_waits_for_nothing(lab: Lab):
    lab.summaries.add(record(started=False))
    assert lab.told() == [(CALL, None)]
    lab.closed({"participants": []})
    assert lab.told() == [(CALL, None)]
    assert lab.records.later == []


async def test_media_that_died_measures_nothing(lab: Lab):
    lab.summaries.add(record())
    lab.summaries.on_media_event(m.MediaLost())
    assert lab.told() == [(CALL, None)]


async def test_media_that_says_nothing_is_waited_for_no_longer_than_a_moment(lab: Lab, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 0.0)
    lab.summaries.add(record())
    await turn()
    assert lab.told() == [(CALL, None)]


async def test_the_end_of_the_process_tells_what_waits(lab: Lab):
    lab.summaries.add(record())
    lab.summaries.close()
    assert lab.told() == [(CALL, None)]


async def test_measurements_of_an_unknown_shape_are_none(lab: Lab):
    lab.summaries.add(record())
    lab.closed({"participants": [{"userId": 5}]})
    assert lab.told() == [(CALL, None)]


async def test_a_conference_left_twice_has_two_summaries(lab: Lab):
    lab.summaries.add(record())
    lab.summaries.add(record())
    assert lab.told() == [(CALL, None)]
    lab.closed()
    assert lab.told() == [(CALL, None), (CALL, measured())]


async def test_early_measurements_are_bounded(lab: Lab):
    for number in range(module.EARLY_MAX + 5):
        lab.closed(call_id=f"call_{number}")
    assert len(lab.summaries._early) == module.EARLY_MAX
    lab.summaries.add(record(call_id="call_0"))
    assert lab.told() == []
    lab.summaries.close()
    await asyncio.sleep(0)
