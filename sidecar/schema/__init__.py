"""The value types of all layers, generated from ``ipc_schema/aleph.schema.json`` by ``scripts/generate``."""

from sidecar.schema import types
from sidecar.schema.base import Params, Value
from sidecar.schema.channels import CHANNELS, EVENTS, PROTOCOL, SCHEMA_SHA256
from sidecar.schema.spec import Channel, Event
from sidecar.schema.types import *  # noqa: F403 - its __all__ is added below

__all__ = ["CHANNELS", "EVENTS", "PROTOCOL", "SCHEMA_SHA256", "Channel", "Event", "Params", "Value"]
__all__ += types.__all__
