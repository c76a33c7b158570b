"""One call whose media a front end has: its connections and what they measured."""

from __future__ import annotations

import asyncio
from typing import Any

from sidecar.app.services.renderer_link import RendererLink
from sidecar.errors import Code, LocalError
from sidecar.media import messages as m


def wrong(why: str, gen: int | None = None) -> LocalError:
    """What a front end is told that speaks of something else than there is; ``gen``: the newest one."""
    details = None if gen is None else {"gen": gen}
    return LocalError(why, code=Code.CALL_WRONG_STATE, details=details)


class RendererCall:
    """``owner``: the id of the client that has it now."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.links: dict[m.PeerRef, RendererLink] = {}
        self.gone: asyncio.TimerHandle | None = None
        """Runs while the owner is away."""
        self._measured: dict[str, dict[str, Any]] = {}
        """ParticipantStats of everybody who was connected, by user."""

    def find(self, user_id: str, gen: int | None) -> RendererLink:
        """A connection that lives, by default the newest to that user."""
        known = {peer.gen: link for peer, link in self.links.items() if peer.user_id == user_id}
        newest = max(known, default=-1)
        link = known.get(newest if gen is None else gen)
        if link is None or link.over:
            raise wrong("there is no such connection", newest if known else None)
        return link

    def part(self, peer: m.PeerRef) -> None:
        """Ends a connection; what it measured is kept for the end of the call."""
        link = self.links.pop(peer, None)
        if link is not None:
            self._measure(link)
            link.close()

    def stats(self) -> dict[str, Any]:
        """CallStats of the schema."""
        for link in self.links.values():
            self._measure(link)
        return {"participants": list(self._measured.values())}

    def back(self) -> bool:
        """Somebody has the call again; whether nobody had it."""
        timer, self.gone = self.gone, None
        if timer is not None:
            timer.cancel()
        return timer is not None

    def close(self) -> None:
        """Ends all connections."""
        self.back()
        for link in self.links.values():
            link.close()

    def _measure(self, link: RendererLink) -> None:
        if link.connected:
            user_id = link.peer.user_id
            known = self._measured.get(user_id, {"userId": user_id})
            self._measured[user_id] = known | link.measured
