"""Who is in a conference, in virtual time: creators at once, places that run out, coming and going (K)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from sidecar.app.tools.simulation.network import PRESETS
from sidecar.schema import CallState, EndReason
from tests.sim.scene import Scene

NAMES = ("ann", "bob", "cy", "dee", "eve", "fay", "gil", "hal", "ian")


@pytest.mark.parametrize("apart_s", [0.0, 0.05, 0.4])
@pytest.mark.parametrize("net", ["perfect", "wifi", "satellite"])
def test_K01_three_that_create_at_once_are_one_conference_under_the_smallest_id(net: str, apart_s: float):
    scene = Scene(*NAMES[:4], net=PRESETS[net].calm())
    for place, name in enumerate(NAMES[:3]):
        scene.at(place * apart_s, scene.meet, name)
    scene.run(40.0)
    halls = [scene.nodes[name].exchange.hall for name in NAMES[:3]]
    smallest = halls[0].talking()
    assert smallest is not None
    assert smallest == min(call for name in NAMES for call in (*scene.rings[name], smallest))
    scene.join("dee", smallest)
    scene.run(60.0)
    for name in NAMES[:4]:
        assert scene.seen_by(name, smallest) == set(NAMES[:4])
    others = [reason for name in NAMES[:3] for reason in scene.why(name)]
    assert set(others) <= {EndReason.REPLACED}
    assert all(len(set(scene.rings[name])) == len(scene.rings[name]) for name in NAMES)
    assert len(scene.rings["dee"]) == 1, "it rings once, whichever it was"
    scene.rest(60.0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("net", ["perfect", "wifi", "satellite"])
def test_K10_of_five_that_join_at_one_moment_exactly_as_many_as_may_are_in(net: str, seed: int):
    scene = Scene(*NAMES[:6], net=PRESETS[net].calm(), seed=seed, cap=3)
    call = scene.meet("ann")
    for name in NAMES[1:6]:
        scene.at(5.0, scene.join, name, call)
    scene.run(60.0)
    inside = {name for name in NAMES[:6] if name in scene.seen_by(name, call)}
    assert len(inside) == 3
    assert "ann" in inside
    for name in inside:
        assert scene.seen_by(name, call) == inside
    for name in set(NAMES[:6]) - inside:
        assert scene.why(name) == [EndReason.POLICY_DENIED]
        assert not scene.may_join(name, call), "conference.full"
    scene.rest(60.0)


def test_K10_the_ninth_hears_that_it_is_full_and_a_place_that_is_left_is_given():
    scene = Scene(*NAMES)
    call = scene.meet("ann")
    for second, name in enumerate(NAMES[1:8], 3):
        scene.at(second, scene.join, name, call)
    scene.run(30.0)
    assert scene.seen_by("ann", call) == set(NAMES[:8])
    assert not scene.may_join("ian", call)
    scene.end("bob", call)
    scene.run(40.0)
    scene.join("ian", call)
    scene.run(50.0)
    assert scene.seen_by("ann", call) == set(NAMES) - {"bob"}
    scene.rest(50.0)


@pytest.mark.parametrize("net", ["perfect", "wifi"])
def test_K06_a_storm_of_comings_and_goings_costs_a_few_signals_each_and_leaves_one_roster(net: str):
    scene = Scene(*NAMES[:8], net=PRESETS[net].calm())
    call = scene.meet("ann")
    scene.run(5.0)
    before = scene.said.total()
    turns = 0
    for step in range(350):  # fifty a second for seven seconds, seven users in turn
        name, at_s = NAMES[1 + step % 7], 5.0 + step / 50
        scene.at(at_s, scene.join if step // 7 % 2 == 0 else scene.end, name, call)
        turns += 1
    scene.run(60.0)
    assert (scene.said.total() - before) / turns < 2 * len(NAMES), "linear in the members, not their square"
    inside = scene.seen_by("ann", call)
    for name in inside:
        assert scene.seen_by(name, call) == inside
    scene.rest(60.0)


def test_a_join_costs_signals_in_proportion_to_the_members():
    scene = Scene(*NAMES[:8], net=PRESETS["perfect"])
    call = scene.meet("ann")
    scene.run(10.0)
    costs = []
    for place, name in enumerate(NAMES[1:8], 1):
        before = scene.said.total()
        scene.join(name, call)
        scene.run(10.0 + 5.0 * place)
        costs.append(scene.said.total() - before)
    steps = [after - earlier for earlier, after in pairwise(costs)]
    assert max(steps) <= 4, costs
    scene.rest(50.0)


def test_K05_from_four_to_five_to_eight_and_back_the_plan_changes_once_at_each_border():
    scene = Scene(*NAMES[:8], net=PRESETS["perfect"])
    call = scene.meet("ann")
    for place, name in enumerate(NAMES[1:8]):
        scene.at(15.0 * (place + 1), scene.join, name, call)
    for place, name in enumerate(reversed(NAMES[2:8])):
        scene.at(140.0 + 15.0 * place, scene.end, name, call)
    scene.run(280.0)
    heights = [plan.height for _, plan in scene.plans["ann"]]
    changes = [now for now, after in pairwise(heights) if now != after]
    assert sorted(set(heights)) == [360, 480, 720]
    assert len(changes) <= 4, "up once and down once at each of two borders"
    scene.rest(280.0)


def test_K05_somebody_who_comes_and_goes_at_the_border_changes_it_at_most_every_ten_seconds():
    scene = Scene(*NAMES[:5], net=PRESETS["perfect"])
    call = scene.meet("ann")
    for name in NAMES[1:4]:
        scene.at(3.0, scene.join, name, call)
    for step in range(30):
        scene.at(20.0 + 2.0 * step, scene.join if step % 2 == 0 else scene.end, "eve", call)
    scene.run(120.0)
    moments = []
    for (_, before), (at_s, after) in pairwise(scene.plans["ann"]):
        if before.height != after.height:
            moments.append(at_s)
    assert moments
    assert all(later - earlier >= 10.0 for earlier, later in pairwise(moments))
    scene.rest(120.0)


@pytest.mark.parametrize("seed", range(6))
def test_K01_who_takes_one_of_two_that_were_made_at_once_is_not_asked_into_the_other(seed: int):
    scene = Scene(*NAMES[:3], seed=seed)
    for name in NAMES[:2]:
        scene.at(0.0, scene.meet, name)
    scene.run(2.0)
    (rung,) = scene.rings["cy"]
    scene.join("cy", rung)
    scene.run(10.0)
    assert [session.state for session in scene.nodes["cy"].exchange.active()] == [CallState.ACTIVE]
    scene.rest(10.0)
