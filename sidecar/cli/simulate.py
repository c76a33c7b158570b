"""``aleph-sidecar simulate``: one seeded life of many nodes in virtual time, and what became of it."""

from __future__ import annotations

import argparse
import sys

from sidecar.app import exit_codes
from sidecar.app.tools.simulation.report import text
from sidecar.app.tools.simulation.simulate import Options, simulate
from sidecar.errors import SidecarError


def run(options: argparse.Namespace) -> int:
    """Prints the outcome; the exit code is that of a bug where a promise was broken."""
    try:
        chosen = Options(
            seed=options.seed,
            peers=options.peers,
            net=options.net,
            seconds=options.seconds,
            faults=_names(options.faults),
            sealed=not options.plain,
        )
    except SidecarError as error:
        print(f"aleph-sidecar simulate: {error.message}", file=sys.stderr)
        return exit_codes.USAGE
    outcome = simulate(chosen)
    print(outcome.json() if options.json else text(outcome))
    return exit_codes.CLEAN if outcome.broken is None else exit_codes.BUG


def _names(text: str) -> tuple[str, ...]:
    """What stands between commas; nothing for an empty text."""
    return tuple(name.strip() for name in text.split(",")) if text.strip() else ()
