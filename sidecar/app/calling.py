"""Puts together what calls and conferences are made of: the machines, their services, the media of a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from sidecar import log
from sidecar.app import settings
from sidecar.app.services.call_effects import Archive, Journal, Signaling
from sidecar.app.services.call_media import CallMedia
from sidecar.app.services.calls import CallsService
from sidecar.app.services.conferences import ConferenceService, Graph
from sidecar.app.services.control_link import ControlLink
from sidecar.app.services.media_owners import Media, MediaOwners
from sidecar.app.services.meetings import Meetings
from sidecar.app.services.mirror import mirrored
from sidecar.app.services.policy import Policy
from sidecar.app.services.renderer_events import own_state
from sidecar.app.services.renderer_media import Hub, RendererMedia
from sidecar.app.services.social import SocialChange
from sidecar.calls import events as e
from sidecar.calls.switchboard import Switchboard
from sidecar.clock import Clock, Random
from sidecar.conference.exchange import Exchange
from sidecar.conference.facts import Self
from sidecar.conference.hall import Hall
from sidecar.conference.rules import ConferenceRules
from sidecar.config import Config
from sidecar.ipc.registry import Client
from sidecar.media.messages import Event, PeerConnected
from sidecar.schema import EndReason
from sidecar.trust.social import SocialState


class Calling:
    """``calls`` takes commands, signals and media events; ``conferences`` does what only conferences need;
    ``media`` is that of the sidecar and of front ends behind one door."""

    def __init__(
        self,
        config: Config,
        me: Self,
        *,
        social: SocialState,
        media: Media,
        signaling: Signaling,
        control: ControlLink,
        graph: Graph,
        hub: Hub,
        sea_pair: Mapping[str, str] | None,
        history: Archive,
        journal: Journal,
        clock: Clock,
        random: Random,
        recordings: Path,
        on_media_event: Callable[[Event], None],
    ) -> None:
        """``media``: the sidecar's own; what it tells comes to
        ``on_media_event`` of this class, what front ends tell of theirs goes to the ``on_media_event`` here.
        ``sea_pair``: gun's keys of our user, where a mirror of its calls may be written.
        """
        self._social = social
        self._control = control
        policy = Policy(social, me.user_id)
        board = Switchboard(
            settings.rules(config), me.user_id, social.self_name, public_key=me.pub, device=me.device
        )
        self.hall = Hall(ConferenceRules(ring_s=config.calls.ring_timeout_s), me, social.self_name)
        self.hall.rooms, self.hall.gate = policy.rooms, policy.gate
        if config.calls.mirror_state:
            hub = mirrored(hub, graph, sea_pair, random=random, log=log.get("calls"))
        self.renderers = RendererMedia(
            hub,
            settings.configure(config),
            on_event=on_media_event,
            on_abandoned=self._abandoned,
            device_of=self._device_of,
            own_state=lambda call_id: own_state(self.calls.board.session(call_id), me.user_id),
            log=log.get("renderers"),
        )
        self.media = MediaOwners(media, self.renderers)
        self.conferences = ConferenceService(
            graph,
            self.media,
            control,
            self._tell,
            clock=clock,
            random=random,
            log=log.get("conferences"),
        )
        self.calls = CallsService(
            Exchange(board, self.hall, lambda _: self.conferences.new_lease()),
            media=self.media,
            signaling=signaling,
            hub=hub,
            history=history,
            journal=journal,
            policy=policy,
            sources=settings.sources(config),
            ice_servers=settings.ice_servers(config),
            more=self.conferences.performers,
            clock=clock,
            random=random,
            log=log.get("calls"),
        )
        self.call_media = CallMedia(
            self.calls,
            self.media,
            sources=settings.sources(config),
            recordings=recordings,
            random=random,
            owned=self.renderers,
        )
        self.meetings = Meetings(
            self.calls, self.conferences, self.hall, policy=policy, clock=clock, random=random
        )

    def _tell(self, event: e.Event) -> None:
        self.calls.handle(event)

    def _device_of(self, call_id: str, user_id: str) -> str | None:
        return self.calls.board.device_of(call_id, user_id)

    def _abandoned(self, call_id: str) -> None:
        self.calls.handle(e.End(call_id=call_id, reason=EndReason.APP_GONE))

    def client_gone(self, client: Client) -> None:
        """A front end's connection has ended."""
        self.renderers.client_gone(client.id)

    def on_social_change(self, change: SocialChange) -> None:
        """What our front end handed over has changed the social copy."""
        self.calls.board.rename(self._social.self_name)
        self.calls.on_social_change(change.blocked)

    def on_media_event(self, event: Event) -> None:
        """An event of media, whoever owns them."""
        paged = isinstance(event, PeerConnected) and event.peer.call_id in self.renderers
        if not paged:  # no note finds its way through a page
            self._control.on_media_event(event)
        self.calls.on_media_event(event)
        self.call_media.on_media_event(event)

    async def close(self, *, app_gone: bool, within_s: float) -> None:
        """Ends every call and leaves every conference, and waits a little for the relays to take it."""
        await self.calls.close(app_gone=app_gone, within_s=within_s)
        await self.conferences.close(within_s / 2)
