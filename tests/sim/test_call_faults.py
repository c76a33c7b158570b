"""Faults of FAULTS section 2 in virtual time, each through real machines at every end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.app.tools.simulation.network import PRESETS
from sidecar.schema import CallState, EndReason
from tests.sim.scene import Scene

ACTIVE, ENDED = CallState.ACTIVE, CallState.ENDED
TALKING = {"ann": ACTIVE, "bob": ACTIVE}
OVER = ({"ann": ENDED, "bob": ENDED}, {"ann": ENDED, "bob": CallState.FAILED},
        {"ann": CallState.FAILED, "bob": ENDED}, {"ann": CallState.FAILED, "bob": CallState.FAILED},
        {"ann": CallState.FAILED, "bob": None}, {"ann": ENDED, "bob": None})  # fmt: skip
SLOW = replace(PRESETS["perfect"], graph_s=(0.9, 1.1))
REORDERING = replace(PRESETS["perfect"], graph_s=(0.1, 3.0))


def ringing(caller: str = "ann", callee: str = "bob", **options: object) -> tuple[Scene, str]:
    """A call that rings, begun at second 0."""
    scene = Scene("ann", "bob", **options)  # type: ignore[arg-type]
    call = scene.new_call()
    scene.at(0.0, scene.call, caller, callee, call)
    return scene, call


def talking(**options: object) -> tuple[Scene, str]:
    """A call that is active from second 5 on."""
    scene, call = ringing(**options)
    scene.at(3.0, scene.accept, "bob", call)
    scene.run(9.0)
    assert scene.states(call) == TALKING
    return scene, call


@pytest.mark.parametrize("seed", range(40))
def test_C06_a_cancel_never_leaves_a_ring_behind_and_what_it_overtakes_is_missed(seed: int):
    scene, call = ringing(net=REORDERING, seed=seed)
    scene.at(0.5, scene.end, "ann", call)
    scene.run(4.0)
    assert (scene.why("ann"), scene.why("bob")) == ([EndReason.CANCELLED], [EndReason.CANCELLED])
    assert len(scene.rings["bob"]) <= 1
    scene.rest(4.0)


def test_C06_some_of_these_cancels_are_seen_before_the_invitation():
    silent = []
    for seed in range(40):
        scene, call = ringing(net=REORDERING, seed=seed)
        scene.at(0.5, scene.end, "ann", call)
        scene.run(4.0)
        silent.append(not scene.rings["bob"])
    assert 5 < sum(silent) < 35


@pytest.mark.parametrize("after_ms", range(-800, 1300, 100))
def test_C07_an_accept_and_a_cancel_that_cross_have_one_outcome(after_ms: int):
    """Whatever comes first, nobody is left in half a call."""
    scene, call = ringing(net=SLOW)
    scene.at(4.0, scene.accept, "bob", call)
    scene.at(4.0 + after_ms / 1000, scene.end, "ann", call)
    scene.run(4.0 + after_ms / 1000 + 2 * 1.1 + 0.2)  # one round trip after the cancel
    assert set(scene.states(call).values()) == {ENDED}
    mine, theirs = scene.why("ann"), scene.why("bob")
    pairs = ([EndReason.CANCELLED] * 2, [EndReason.LOCAL_HANGUP, EndReason.REMOTE_HANGUP])
    assert [*mine, *theirs] in pairs
    scene.rest(8.0)


@pytest.mark.parametrize("apart_ms", [-5_000, 0, 5_000])
@pytest.mark.parametrize("net", ["perfect", "satellite"])
def test_C11_a_call_that_nobody_answers_ends_once_at_both_ends_whatever_the_clocks_say(
    apart_ms: int, net: str
):
    scene, call = ringing(net=PRESETS[net], offsets_ms={"bob": apart_ms})
    scene.run(53.0)
    assert scene.state("ann", call) is CallState.RINGING
    assert scene.state("bob", call) is CallState.RINGING
    scene.run(70.0)
    assert (scene.why("ann"), scene.why("bob")) == ([EndReason.NO_ANSWER], [EndReason.NO_ANSWER])
    assert scene.rings["bob"] == [call]
    scene.rest(70.0)


@pytest.mark.parametrize("at_s", [58.0, 59.0, 59.5, 59.8, 59.9, 59.95, 59.99])
@pytest.mark.parametrize("net", ["perfect", "wifi", "satellite"])
def test_C12_an_accept_in_the_last_moment_is_in_time_or_too_late_for_both(at_s: float, net: str):
    """The caller decides; a callee that was too late is told that the time was over."""
    scene, call = ringing(net=PRESETS[net])
    scene.at(at_s, scene.accept, "bob", call)
    scene.run(at_s + 20.0)
    if scene.states(call) != TALKING:
        assert (scene.why("ann"), scene.why("bob")) == ([EndReason.NO_ANSWER], [EndReason.NO_ANSWER])
    scene.rest(80.0)


def test_C12_both_outcomes_are_met():
    early, call = ringing(net=PRESETS["satellite"])
    early.at(58.0, early.accept, "bob", call)
    early.run(75.0)
    late, other = ringing(net=PRESETS["satellite"])
    late.at(59.9, late.accept, "bob", other)
    late.run(75.0)
    assert early.states(call) == TALKING
    assert late.why("bob") == [EndReason.NO_ANSWER]


@pytest.mark.parametrize("step_ms", [-3_600_000, -10_000, 3_600_000])
def test_S11_a_clock_that_steps_in_a_call_moves_no_timer_and_no_duration(step_ms: int):
    scene, call = talking()
    for node in scene.nodes.values():
        node.clock.skew_ms += step_ms
    scene.run(300.0)
    assert scene.states(call) == TALKING
    scene.at(309.0, scene.end, "ann", call)
    scene.run(312.0)
    for name in ("ann", "bob"):
        record = scene.records[name][0]
        assert record.started_at is not None
        assert 299_000 < record.ended_at - record.started_at < 309_000
    scene.rest(312.0)


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
def test_S11_a_clock_that_steps_while_it_rings_changes_nothing(step_ms: int):
    scene, call = ringing()
    scene.run(10.0)
    for node in scene.nodes.values():
        node.clock.skew_ms += step_ms
    scene.run(58.0)
    assert scene.state("bob", call) is CallState.RINGING
    scene.run(65.0)
    assert (scene.why("ann"), scene.why("bob")) == ([EndReason.NO_ANSWER], [EndReason.NO_ANSWER])


@pytest.mark.parametrize("from_s", [0.0, 0.05, 2.0, 3.0, 3.05, 3.15])
def test_S13_a_short_partition_while_a_call_is_set_up_only_delays_it(from_s: float):
    scene, call = ringing()
    scene.at(from_s, scene.part, "ann")
    scene.at(from_s + 5.0, scene.part)
    scene.at(max(3.0, from_s + 6.0) if from_s < 2.0 else 3.0, scene.accept, "bob", call)
    scene.run(20.0)
    assert scene.states(call) == TALKING
    assert scene.rings["bob"] == [call]
    scene.rest(20.0)


@pytest.mark.parametrize("from_s", [0.0, 0.05, 2.0, 2.999, 3.0, 3.05, 3.15])
def test_S13_a_long_partition_while_a_call_is_set_up_ends_it_and_leaves_no_zombie(from_s: float):
    """Or it is up already: then it stays. What comes through in the end rings nobody."""
    scene, call = ringing()
    scene.at(from_s, scene.part, "ann")
    scene.run(3.0)
    if scene.state("bob", call) is CallState.RINGING:
        scene.accept("bob", call)
    scene.run(from_s + 60.0)
    was_up = scene.states(call) == TALKING
    scene.part()
    scene.run(from_s + 75.0)
    assert scene.states(call) == TALKING if was_up else scene.states(call) in OVER
    assert len(scene.rings["bob"]) <= 1
    scene.rest(from_s + 75.0)


@pytest.mark.parametrize("length_s", [5.0, 60.0, 600.0])
def test_S14_a_call_that_is_on_does_not_need_the_graph(length_s: float):
    scene, call = talking()
    scene.part("ann")
    moves = len(scene.world.shared.log)
    scene.run(9.0 + length_s)
    assert scene.states(call) == TALKING
    assert len(scene.world.shared.log) == moves, "nobody notices anything"
    scene.end("ann", call)
    scene.run(10.0 + length_s)
    assert set(scene.states(call).values()) == {ENDED}, "hung up over the connection"
    scene.part()
    scene.rest(10.0 + length_s)


@pytest.mark.parametrize("length_s", [30.0, 100.0, 400.0])
def test_S14_leases_do_not_expire_while_media_is_alive(length_s: float):
    scene = Scene("ann", "bob", "cy")
    call = scene.meet("ann")
    for name in ("bob", "cy"):
        scene.at(2.0, scene.join, name, call)
    scene.run(10.0)
    scene.part("ann")
    for moment in range(1, 11):
        scene.run(10.0 + length_s * moment / 10)
        assert all(scene.seen_by(name, call) == {"ann", "bob", "cy"} for name in scene.nodes)
    scene.part()
    scene.rest(10.0 + length_s)


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_C20_two_hundred_calls_in_a_row_leave_no_session_timer_or_note_behind(sealed: bool):
    scene = Scene("ann", "bob", net=PRESETS["perfect"], sealed=sealed)
    for number in range(200):
        at_s, call = 3.0 * number, scene.new_call()
        caller, callee = ("ann", "bob") if number % 2 else ("bob", "ann")
        scene.at(at_s, scene.call, caller, callee, call)
        match number % 4:
            case 0:
                scene.at(at_s + 0.5, scene.end, caller, call)
            case 1:
                scene.at(at_s + 0.5, scene.end, callee, call)
            case _:
                scene.at(at_s + 0.5, scene.accept, callee, call)
                scene.at(at_s + 2.0, scene.end, (caller, callee)[number % 3 % 2], call)
    scene.run(600.0)
    assert [len(scene.records[name]) for name in ("ann", "bob")] == [200, 200]
    assert [len(scene.rings[name]) for name in ("ann", "bob")] == [100, 100]
    scene.rest(600.0)
    for node in scene.nodes.values():
        assert not node.exchange.board._calls
        assert not node.door._sessions
