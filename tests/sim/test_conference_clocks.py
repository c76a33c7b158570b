"""Members of a conference whose network clocks differ by what relays leave open."""

from __future__ import annotations

import pytest

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
