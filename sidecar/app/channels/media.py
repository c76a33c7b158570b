"""``media:get-devices`` and ``media:get-screen-sources``: what the media process finds on this machine."""

from __future__ import annotations

from typing import Any, Protocol

from sidecar.ipc.registry import Client, Registry
from sidecar.media.messages import ListDevices, ListScreens
from sidecar.schema import MediaGetScreenSourcesParams, ScreenSourceKind

THUMBNAIL = (320, 180)
"""Pixels a thumbnail fits in when the caller does not say."""


class Media(Protocol):
    """The part of the media service these channels use."""

    async def request(self, request: Any) -> Any:
        """The result in the schema's shape; ``SidecarError`` otherwise."""


def register(registry: Registry, media: Media) -> None:
    """The results come from the media process in the schema's shape and are passed on as they are."""

    async def get_devices(_client: Client, _params: None) -> Any:
        return await media.request(ListDevices(request_id=0))

    async def get_screen_sources(_client: Client, params: MediaGetScreenSourcesParams) -> Any:
        kinds = params.types if params.types is not None else list(ScreenSourceKind)
        width, height = THUMBNAIL
        return await media.request(
            ListScreens(
                request_id=0,
                types=tuple(kind.value for kind in kinds),
                thumbnail_width=width if params.thumbnail_width is None else params.thumbnail_width,
                thumbnail_height=height if params.thumbnail_height is None else params.thumbnail_height,
            )
        )

    registry.channel("media:get-devices", get_devices)
    registry.channel("media:get-screen-sources", get_screen_sources)
