"""Which front end owns the media of a call that a client starts or takes (DESIGN D7)."""

from __future__ import annotations

from sidecar.ipc.registry import Client
from sidecar.schema import MediaOwner


def owner_of(client: Client, wanted: MediaOwner | None) -> str | None:
    """The client's id if it owns the media itself, None for the sidecar; the param comes before the
    client's own default."""
    owner = wanted.value if wanted is not None else client.media_owner
    return client.id if owner == MediaOwner.RENDERER.value else None
