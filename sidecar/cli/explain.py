"""``aleph-sidecar explain``: the ladder of one call and why it ended, to be read by people or programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sidecar.app import exit_codes
from sidecar.app.start import default_data_dir
from sidecar.app.tools.explain import explain, to_json
from sidecar.app.tools.explain_store import find
from sidecar.app.tools.explain_text import ladder
from sidecar.errors import SidecarError


def run(options: argparse.Namespace) -> int:
    """Prints it; the exit code."""
    try:
        found = find(Path(options.data or default_data_dir()), options.call_id)
    except SidecarError as error:
        print(f"aleph-sidecar explain: {error.message}", file=sys.stderr)
        return exit_codes.of(error)
    told = explain(options.call_id, *found)
    print(to_json(told) if options.json else ladder(told))
    return exit_codes.CLEAN
