"""``events``: the one stream of everything that happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sidecar.ipc.events import EventHub
from sidecar.ipc.registry import Client, Registry
from sidecar.schema import EventsParams


def register(registry: Registry, hub: EventHub) -> None:
    """Serves ``hub``; event names this version does not know are waited for in vain, not refused."""

    def events(client: Client, params: EventsParams) -> AsyncIterator[Any]:
        return hub.subscribe(client, params.types, params.since)

    registry.stream("events", events)
