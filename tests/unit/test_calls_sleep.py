"""C19: a laptop that slept in a call. What became due is done on waking, and nothing rings twice for it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sidecar.app.system_clock import SystemClock
from sidecar.calls import events as e
from sidecar.conference import events as ce
from sidecar.media import messages as m
from sidecar.schema import CallState, CallType, EndReason
from sidecar.signaling.messages import Kind
from tests.calls_fakes import Bench
from tests.calls_lab import BOB, CALL, SESSION, WALL_MS, invite

TWO_HOURS_S = 7_200.0
PEER = m.PeerRef(call_id=CALL, user_id=BOB, gen=0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def sleep(bench: Bench, seconds: float) -> None:
    """The clock of the calls counts the sleep; the timers of the loop do not go off by themselves."""
    bench.clock.ahead_s += seconds
    bench.calls.slept(seconds)


async def talk(bench: Bench) -> None:
    bench.receive(invite().signal)
    bench.calls.handle(e.Accept(call_id=CALL))
    bench.on_media(m.LocalDescription(peer=PEER, type="answer", sdp="v=0 answer"))
    bench.on_media(m.PeerConnected(peer=PEER))
    assert bench.board.session(CALL).state is CallState.ACTIVE


async def test_C19_what_rang_when_the_lid_closed_has_stopped_ringing(bench: Bench):
    bench.receive(invite().signal)
    assert bench.board.session(CALL).state is CallState.RINGING
    sleep(bench, TWO_HOURS_S)
    assert bench.board.session(CALL).end_reason is EndReason.NO_ANSWER
    assert bench.hub.names().count("aleph:callOffer") == 1


async def test_C19_a_call_over_the_limit_is_over_on_waking(bench: Bench):
    await talk(bench)
    sleep(bench, TWO_HOURS_S)
    session = bench.board.session(CALL)
    assert (session.state, session.end_reason) == (CallState.ENDED, EndReason.CONNECTION_LOST)
    assert session.ended_at - session.started_at >= TWO_HOURS_S * 1000 - 5
    assert [record.end_reason for record in bench.history.records] == ["connection-lost"]
    assert any(isinstance(command, m.CloseCall) for command in bench.media.sent)


async def test_C19_a_short_nap_ends_no_call(bench: Bench):
    await talk(bench)
    sleep(bench, 20.0)
    assert bench.board.session(CALL).state is CallState.ACTIVE
    assert bench.history.records == []


async def test_C19_a_call_that_was_reconnecting_when_the_lid_closed_is_over(bench: Bench):
    await talk(bench)
    bench.on_media(m.PeerLiveness(peer=PEER, liveness=m.Liveness.RECONNECTING))
    sleep(bench, TWO_HOURS_S)
    assert bench.board.session(CALL).end_reason is EndReason.CONNECTION_LOST


async def test_C19_our_own_ringing_ends_too_and_the_callee_is_told(bench: Bench):
    session = await bench.calls.initiate(BOB, CallType.AUDIO)
    bench.on_media(
        m.LocalDescription(
            peer=m.PeerRef(call_id=session.id, user_id=BOB, gen=0), type="offer", sdp="v=0 offer"
        )
    )
    sleep(bench, TWO_HOURS_S)
    assert bench.board.session(session.id).state in (CallState.ENDED, CallState.FAILED)
    await bench.calls.close(app_gone=False, within_s=1)
    assert bench.signaling.kinds() == [Kind.INVITE, Kind.CANCEL]


async def test_C19_nobody_is_left_in_a_conference_that_was_slept_through(bench: Bench):
    await talk(bench)
    bench.calls.handle(
        ce.Invite(
            call_id=CALL, user_id="c" * 16, display_name="Carol", session=SESSION, key="cd" * 32,
            nonce="ef" * 16, lease="lease", at_ms=WALL_MS, network_ms=WALL_MS,
        )
    )  # fmt: skip
    assert len(bench.calls.board.all_lost()) == 1
    sleep(bench, TWO_HOURS_S)
    assert bench.calls.board.all_lost() == []
    bench.later(60)
    assert bench.calls.board.active() == []
    assert len(bench.history.records) == 1


async def test_an_old_invitation_that_waited_in_the_graph_does_not_ring(bench: Bench):
    """The inbox drops it by its age already; the machine would too."""
    bench.clock.ahead_s += TWO_HOURS_S
    late = invite(late_ms=int(TWO_HOURS_S * 1000))
    bench.calls.handle(late)
    assert bench.hub.events == []
    assert bench.board.dropped["expired"] == 1


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no such clock")
def test_C19_timers_of_calls_count_the_time_that_the_machine_slept():
    clock = SystemClock()
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= clock.monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert abs(clock.network_ms() - time.time() * 1000) < 1000
