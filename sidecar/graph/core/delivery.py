"""Who gets which part of a change: the subscribers of its souls, and nobody else (gun.md section 6a)."""

from __future__ import annotations

import msgspec

from sidecar.graph.core import wire
from sidecar.graph.core.nodes import Graph
from sidecar.graph.core.subscriptions import Subscriptions


class Deliver(msgspec.Struct, frozen=True):
    """Send one frame to these connections."""

    connections: tuple[int, ...]
    text: str


def to_subscribers(
    subscriptions: Subscriptions, source: int, message_id: str, graph: Graph, acks: int
) -> list[Deliver]:
    """To each subscriber the nodes it asked for, encoded once per different selection.

    Where the writer wants ``acks`` from receivers, that many are asked for one. gun.js has each receiver
    throw a die, and the writer of a put that nobody acknowledges wait.
    """
    wanted: dict[int, list[str]] = {}
    for soul, node in graph.items():
        for connection in subscriptions.listeners(soul, node):
            if connection != source:
                wanted.setdefault(connection, []).append(soul)
    groups: dict[tuple[tuple[str, ...], int | None], list[int]] = {}
    for number, (connection, souls) in enumerate(wanted.items()):
        groups.setdefault((tuple(souls), int(number < acks) if acks else None), []).append(connection)
    return [
        Deliver(
            tuple(connections),
            wire.write_put(message_id, {soul: graph[soul] for soul in selection}, acks=share),
        )
        for (selection, share), connections in groups.items()
    ]
