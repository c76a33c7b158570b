"""Stands in for ``aioice.mdns``: candidates with host names are refused before the library sees them.

The real module loads dnspython: 70 modules, 40 ms and 2.4 MB of a media process that must start fast and
stay small. This one must be in place before aioice is imported, so the package itself installs it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import NoReturn

NAME = "aioice.mdns"


class MDnsProtocol:
    """Never made."""


async def create_mdns_protocol() -> NoReturn:
    """Never called: no host name is an mDNS name here."""
    raise NotImplementedError


def is_mdns_hostname(name: str) -> bool:
    """No; the library then refuses the name because it is no address."""
    return False


def install() -> None:
    """Unless the real one is loaded already."""
    if NAME not in sys.modules:
        module = ModuleType(NAME)
        for member in (MDnsProtocol, create_mdns_protocol, is_mdns_hostname):
            setattr(module, member.__name__, member)
        sys.modules[NAME] = module
