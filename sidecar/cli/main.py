"""The command ``aleph-sidecar``: parses its verbs and exits with their code."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one verb; never returns."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args == ["ipc"]:  # the one start that is on a budget needs no argument parser
        from sidecar.cli import ipc

        sys.exit(ipc.run())
    from sidecar.cli import arguments

    sys.exit(arguments.run(args))
