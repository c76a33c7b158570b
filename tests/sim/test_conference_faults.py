"""Races of conferences in virtual time that take several nodes to show."""

from __future__ import annotations

import pytest

from sidecar.app.tools.simulation.network import PRESETS
from sidecar.conference import events as e
from sidecar.schema import EndReason
from tests.sim.scene import Scene

ALL = {"ann", "bob", "cy", "dee"}


@pytest.mark.parametrize("apart_s", [0.0, 0.01, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("net", ["perfect", "wifi", "satellite"])
@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_both_ends_of_a_call_make_it_a_conference_at_once_and_all_meet(
    apart_s: float, net: str, sealed: bool
):
    scene = Scene("ann", "bob", "cy", "dee", net=PRESETS[net].calm(), sealed=sealed)
    call = scene.new_call()
    scene.at(0.0, scene.call, "ann", "bob", call)
    scene.at(3.0, scene.accept, "bob", call)
    scene.at(8.0, scene.invite, "ann", "cy", call)
    scene.at(8.0 + apart_s, scene.invite, "bob", "dee", call)
    for name in ("cy", "dee"):
        scene.at(12.0, scene.join, name, call)
    scene.run(90.0)
    assert all(scene.seen_by(name, call) == ALL for name in ALL)
    assert scene.nodes["ann"].exchange.hall.get(call).growth is None
    scene.rest(90.0)


@pytest.mark.parametrize("net", ["wifi", "satellite"])
def test_a_device_that_was_cut_off_learns_that_another_has_taken_its_place(net: str):
    scene = Scene("ann", "bob", "cy", net=PRESETS[net].calm(), devices={"ann": 2})
    call = scene.meet("bob")
    for name in ("ann", "cy"):
        scene.at(3.0, scene.join, name, call)
    scene.run(15.0)
    scene.world.shared.media.cut(scene.nodes["ann"].name, 20.0)
    scene.part("ann")
    scene.at(16.0, scene.join, "ann/2", call)
    scene.at(35.0, scene.part)
    scene.run(60.0)
    assert scene.why("ann") == [EndReason.ANSWERED_ELSEWHERE]
    assert scene.seen_by("ann/2", call) == {"ann", "bob", "cy"}
    scene.rest(60.0)


def test_a_removed_user_who_comes_back_on_another_device_is_sent_out_again():
    scene = Scene("ann", "bob", "cy", devices={"bob": 2})
    call = scene.meet("ann")
    for name in ("bob", "cy"):
        scene.at(3.0, scene.join, name, call)
    scene.run(15.0)
    assert scene.nodes["ann"].tell(e.Remove(call_id=call, user_id=scene.nodes["bob"].user_id))
    scene.run(17.0)
    assert scene.why("bob") == [EndReason.POLICY_DENIED]
    scene.at(20.0, scene.join, "bob/2", call)
    scene.run(30.0)
    assert scene.why("bob/2")[-1] is EndReason.POLICY_DENIED
    assert scene.seen_by("ann", call) == {"ann", "cy"}
    scene.rest(30.0)
