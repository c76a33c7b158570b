"""The command ``aleph-sidecar``: parses its verbs and exits with their code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one verb; never returns."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args == ["ipc"]:  # the one start that is on a budget needs no argument parser
        from sidecar.cli import ipc

        sys.exit(ipc.run())
    from sidecar.cli import arguments

    try:
        code = arguments.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
