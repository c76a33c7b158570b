"""A soul that was added is always found; one that was not, seldom."""

from __future__ import annotations

import pytest

from sidecar.storage import soulfilter
from sidecar.storage.soulfilter import SoulFilter


def test_what_was_added_is_found_and_little_else() -> None:
    souls = SoulFilter()
    for number in range(20_000):
        souls.add(f"soul/{number}")
    assert all(souls.may_hold(f"soul/{number}") for number in range(20_000))
    assert sum(souls.may_hold(f"other/{number}") for number in range(20_000)) < 200


def test_beyond_its_bound_everything_may_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soulfilter, "MAX_SOULS", 3)
    souls = SoulFilter()
    for number in range(3):
        souls.add(f"soul/{number}")
    assert not souls.may_hold("other")
    souls.add("one more")
    assert souls.may_hold("other")
