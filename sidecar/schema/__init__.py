"""The value types of all layers, generated from ``ipc_schema/aleph.schema.json`` by ``scripts/generate``.

Only the two version constants are loaded at once, for the ready line; the rest when first asked for, because
msgspec and a hundred classes cost a third of the time a start may take.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sidecar.schema.version import PROTOCOL, SCHEMA_SHA256

__all__ = ["CHANNELS", "EVENTS", "PROTOCOL", "SCHEMA_SHA256", "Channel", "Event", "Params", "Value"]

if TYPE_CHECKING:
    from sidecar.schema import types
    from sidecar.schema.base import Params, Value
    from sidecar.schema.channels import CHANNELS, EVENTS
    from sidecar.schema.spec import Channel, Event
    from sidecar.schema.types import *  # noqa: F403 - its __all__ is added below

    __all__ += types.__all__

_HOMES = {
    "CHANNELS": "channels",
    "EVENTS": "channels",
    "Channel": "spec",
    "Event": "spec",
    "Params": "base",
    "Value": "base",
}


def __getattr__(name: str) -> Any:
    """Loads the module that a name lives in; all that are not in ``_HOMES`` are in ``types``."""
    if not name.startswith("_"):
        module = import_module(f"{__name__}.{_HOMES.get(name, 'types')}")
        if name in _HOMES or name in module.__all__:
            value = globals()[name] = getattr(module, name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
