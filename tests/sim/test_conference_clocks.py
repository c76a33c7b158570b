"""Members of a conference whose network clocks differ by what relays leave open."""

from __future__ import annotations

import pytest

from sidecar.schema import EndReason
from tests.sim.scene import Scene


@pytest.mark.parametrize("apart_ms", [-30_000, -900, 900, 30_000])
@pytest.mark.parametrize("after_s", [0.1, 0.5, 5.0])
def test_S10_who_joins_at_once_offers_to_those_who_were_there_whatever_the_clocks_say(
    apart_ms: int, after_s: float
) -> None:
    scene = Scene("ann", "bob", "cy", offsets_ms={"bob": apart_ms})
    call = scene.meet("ann")
    for name in ("bob", "cy"):
        scene.at(1.0 + after_s, scene.join, name, call)
    scene.run(25.0)
    assert all(scene.seen_by(name, call) == {"ann", "bob", "cy"} for name in scene.nodes)
    scene.rest(25.0)


def test_who_rejoins_after_his_clock_was_set_back_is_in_again() -> None:
    scene = Scene("ann", "bob")
    call = scene.meet("ann")
    scene.at(3.0, scene.join, "bob", call)
    scene.at(10.0, scene.end, "bob", call)
    scene.run(11.0)
    scene.nodes["bob"].clock.offset_ms = -10_000
    scene.at(12.0, scene.join, "bob", call)
    scene.run(30.0)
    assert all(scene.seen_by(name, call) == {"ann", "bob"} for name in scene.nodes)
    scene.rest(30.0)


@pytest.mark.parametrize("behind_ms", [0, 3_000, 20_000])
def test_C08_a_second_device_with_a_slow_clock_takes_the_conference_all_the_same(behind_ms: int) -> None:
    scene = Scene("ann", "bob", devices={"bob": 2}, offsets_ms={"bob/2": -behind_ms})
    call = scene.meet("ann")
    scene.at(3.0, scene.join, "bob", call)
    scene.at(8.0, scene.join, "bob/2", call)
    scene.run(120.0)
    assert scene.seen_by("bob/2", call) == scene.seen_by("ann", call) == {"ann", "bob"}
    assert scene.why("bob") == [EndReason.ANSWERED_ELSEWHERE]
    scene.rest(120.0)


def test_C08_of_two_devices_that_know_nothing_of_each_other_one_stays() -> None:
    scene = Scene("ann", "bob", devices={"bob": 2}, offsets_ms={"bob/2": -3_000})
    call = scene.meet("ann")
    scene.at(3.0, scene.join, "bob", call)
    scene.at(3.5, scene.join, "bob/2", call)
    scene.run(120.0)
    assert scene.seen_by("bob", call) == scene.seen_by("ann", call) == {"ann", "bob"}
    assert scene.why("bob/2") == [EndReason.ANSWERED_ELSEWHERE]
    scene.rest(120.0)
