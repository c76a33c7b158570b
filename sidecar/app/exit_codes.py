"""How the process ends (DESIGN section 4). Loaded before the ready line."""

from __future__ import annotations

from sidecar.errors import LocalError, SidecarError, UnavailableError

CLEAN = 0
USAGE = 2
"""Bad usage or configuration."""
ENVIRONMENT = 3
"""A port in use, a second instance, no permission, an unsupported platform."""
BUG = 70


def of(error: SidecarError) -> int:
    """The code for an error that keeps the process from starting."""
    if isinstance(error, LocalError):
        return USAGE
    return ENVIRONMENT if isinstance(error, UnavailableError) else BUG
