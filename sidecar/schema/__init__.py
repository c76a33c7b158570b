"""The value types of all layers, generated from ``ipc_schema/aleph.schema.json`` by ``scripts/generate``.

Everything but the two version constants is loaded when it is first asked for: the ready line needs only those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.schema.version import PROTOCOL, SCHEMA_SHA256

if TYPE_CHECKING:
    from sidecar.schema.base import Params, Value
    from sidecar.schema.channels import CHANNELS, EVENTS
    from sidecar.schema.spec import Channel, Event
    from sidecar.schema.types import *  # noqa: F403 - types.py lists its names in __all__

__all__ = ["CHANNELS", "EVENTS", "PROTOCOL", "SCHEMA_SHA256", "Channel", "Event", "Params", "Value"]

_MODULES = ("base", "spec", "types", "channels")


def __getattr__(name: str) -> Any:
    """A name of one of the modules; all of them are loaded by the first."""
    if name not in _MODULES:
        from importlib import import_module

        names = globals()
        for module in _MODULES:
            names.update(
                (key, value)
                for key, value in vars(import_module(f"{__name__}.{module}")).items()
                if key[0] != "_"
            )
        if name in names:
            return names[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
