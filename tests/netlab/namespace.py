"""A network and processes of its own for a program: nothing leaves the machine, nothing outlives it."""

from __future__ import annotations

import os
import subprocess

from tests.peers import missing

_COMMAND = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


def namespace() -> list[str]:
    """The command that gives a program its own network; without root, through a user namespace."""
    command = _COMMAND if os.geteuid() == 0 else [*_COMMAND, "--map-root-user"]
    try:
        subprocess.run(
            [*command, "ip", "link", "set", "lo", "up"], check=True, capture_output=True, timeout=20
        )
    except (OSError, subprocess.CalledProcessError) as error:
        missing(f"a network namespace ({error})")
    return command
