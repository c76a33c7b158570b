"""The diagram in the documentation is the table."""

from __future__ import annotations

import sys
from pathlib import Path

from sidecar.calls.states import State
from sidecar.calls.table import TABLE

ROOT = Path(__file__).resolve().parents[2]


def test_the_diagram_is_current(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "lib" / "generate"))
    import diagrams

    try:
        assert (ROOT / "docs" / "calls.md").read_text() == diagrams.calls()
    finally:
        del sys.modules["diagrams"]


def test_every_transition_is_drawn_and_every_state_explained():
    text = (ROOT / "docs" / "calls.md").read_text()
    for state, row in TABLE.items():
        assert f"| {state.value} | " in text
        for target in {d for d in row.values() if isinstance(d, State) and d is not state}:
            assert f"    {state.value} --> {target.value} : " in text
