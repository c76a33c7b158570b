"""The diagrams in the documentation are the tables."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sidecar.calls.table import TABLE as CALLS
from sidecar.conference.table import TABLE as CONFERENCES

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["calls", "conferences"])
def test_the_diagram_is_current(monkeypatch, name):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "lib" / "generate"))
    import diagrams

    try:
        assert (ROOT / "docs" / f"{name}.md").read_text() == getattr(diagrams, name)()
    finally:
        del sys.modules["diagrams"]


@pytest.mark.parametrize(("name", "table"), [("calls", CALLS), ("conferences", CONFERENCES)])
def test_every_transition_is_drawn_and_every_state_explained(name, table):
    text = (ROOT / "docs" / f"{name}.md").read_text()
    for state, row in table.items():
        assert f"| {state.value} | " in text
        for target in {d for d in row.values() if d in table and d is not state}:
            assert f"    {state.value} --> {target.value} : " in text
