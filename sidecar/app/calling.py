"""Puts together what calls and conferences are made of: the machines, their services, the media of a node."""

from __future__ import annotations

from collections.abc import Callable

from sidecar import log
from sidecar.app import settings
from sidecar.app.services.call_effects import Archive, Hub, Journal, Media, Signaling
from sidecar.app.services.calls import CallsService
from sidecar.app.services.conferences import ConferenceService, Graph
from sidecar.app.services.meetings import Meetings
from sidecar.calls import events as e
from sidecar.calls.switchboard import Switchboard
from sidecar.clock import Clock, Random
from sidecar.conference.exchange import Exchange
from sidecar.conference.hall import Hall, Self
from sidecar.conference.rules import ConferenceRules
from sidecar.config import Config
from sidecar.media.messages import Event


class Calling:
    """``calls`` takes commands, signals and media events; ``conferences`` does what only conferences need."""

    def __init__(
        self,
        config: Config,
        me: Self,
        display_name: str,
        *,
        names: Callable[[str], str | None],
        media: Media,
        signaling: Signaling,
        graph: Graph,
        hub: Hub,
        history: Archive,
        journal: Journal,
        clock: Clock,
        random: Random,
    ) -> None:
        """``names``: a user's name in our social copy."""
        board = Switchboard(
            settings.rules(config), me.user_id, display_name, public_key=me.pub, device=me.device
        )
        self.hall = Hall(ConferenceRules(ring_s=config.calls.ring_timeout_s), me, display_name)
        self.conferences = ConferenceService(
            graph, media, self._tell, clock=clock, random=random, log=log.get("conferences")
        )
        self.calls = CallsService(
            Exchange(board, self.hall, lambda _: self.conferences.new_lease()),
            media=media,
            signaling=signaling,
            hub=hub,
            history=history,
            journal=journal,
            names=names,
            sources=settings.sources(config),
            ice_servers=settings.ice_servers(config),
            more=self.conferences.performers,
            clock=clock,
            random=random,
            log=log.get("calls"),
        )

        self.meetings = Meetings(
            self.calls, self.conferences, self.hall, names=names, clock=clock, random=random
        )

    def _tell(self, event: e.Event) -> None:
        self.calls.handle(event)

    def on_media_event(self, event: Event) -> None:
        """An event of the media process."""
        self.conferences.on_media_event(event)
        self.calls.on_media_event(event)

    async def close(self, *, app_gone: bool, within_s: float) -> None:
        """Ends every call and leaves every conference, and waits a little for the relays to take it."""
        await self.calls.close(app_gone=app_gone, within_s=within_s)
        await self.conferences.close(within_s / 2)
