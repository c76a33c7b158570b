"""Whose the media of a call is: commands go to the media process or to a front end, by call (DESIGN D7)."""

from __future__ import annotations

from typing import Any, Protocol

from sidecar.app.services.renderer_media import RendererMedia
from sidecar.media import messages as m


class Media(Protocol):
    """What calls use of the media service."""

    def send(self, command: m.Command) -> None: ...
    async def request(self, request: Any) -> Any: ...


class MediaOwners:
    """Looks like the media service to all who command media."""

    def __init__(self, sidecar: Media, renderers: RendererMedia) -> None:
        self._sidecar = sidecar
        self._renderers = renderers

    def send(self, command: m.Command) -> None:
        """Passes on one command; the owner of a call is fixed by its ``OpenCall``."""
        owned = isinstance(command, m.OpenCall) and command.owner is not None
        media = self._renderers if owned or _call_of(command) in self._renderers else self._sidecar
        media.send(command)

    async def request(self, request: Any) -> Any:
        """The result, or the error it is answered with."""
        media = self._renderers if _call_of(request) in self._renderers else self._sidecar
        return await media.request(request)


def _call_of(message: Any) -> str | None:
    """The call that a command or request is about, None for one about all of them."""
    about = getattr(message, "peer", message)
    return getattr(about, "call_id", None)
