"""Media that front ends own (DESIGN D7): takes the commands of the media process and tells them, as
``aleph:rtc*`` events, to the client that has the call; what that says comes back as the media process would
say it. So nobody above knows the difference.

Muting and holding need no word of their own: the page hears of them by ``aleph:mediaStateChange``, anew when
it gets a call that is muted already and when it attaches. What one core says to the other over the control
channel (``SendControl``) finds no way through a page: signals take the graph, gossip is left to the other
members.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from sidecar.app.services import renderer_events
from sidecar.app.services.renderer_call import RendererCall, wrong
from sidecar.app.services.renderer_link import RendererLink, Surroundings, browser_sdp
from sidecar.errors import Code, LocalError
from sidecar.log import Logger
from sidecar.media import messages as m
from sidecar.media.core.addresses import loopback_allowed, parse_networks
from sidecar.schema import (
    EndReason,
    MediaStateChange,
    RtcReportParams,
    RtcSendAnswerParams,
    RtcSendIceParams,
    RtcSendOfferParams,
    RtcStart,
)

GONE_GRACE_S = 10.0
"""For a client that is gone to come back: a page that reloads, a main process that connects again."""
AWAY_MAX = 64
"""Clients that have gone and are remembered."""


class Hub(Protocol):
    """Where events for front ends go."""

    def emit(self, name: str, data: msgspec.Struct, *, to: str | None = None) -> None: ...


class RendererMedia:
    """``call_id in media``: whether a front end has the media of that call."""

    def __init__(
        self,
        hub: Hub,
        configure: m.Configure,
        *,
        on_event: Callable[[m.Event], None],
        on_abandoned: Callable[[str], None],
        device_of: Callable[[str, str], str | None],
        own_state: Callable[[str], MediaStateChange | None],
        log: Logger,
    ) -> None:
        """``on_abandoned``: nobody has come back for this call. ``device_of``: which device of a user a call
        is with, None as long as that is not known. ``own_state``: what our user sends in a call."""
        self._hub = hub
        self._on_abandoned = on_abandoned
        self._device_of = device_of
        self._own_state = own_state
        self._log = log
        self._on_event = on_event
        self._around = Surroundings(
            emit=on_event,
            loopback=loopback_allowed(parse_networks(configure.ice_interfaces)),
            limits=(
                (configure.lost_s, m.Liveness.LOST),
                (configure.reconnecting_s, m.Liveness.RECONNECTING),
                (configure.suspect_s, m.Liveness.SUSPECT),
            ),
            log=log,
        )
        self._calls: dict[str, RendererCall] = {}
        self._away: deque[str] = deque(maxlen=AWAY_MAX)
        """Clients that have gone: a call may still come to one, in the place of another."""

    def __contains__(self, call_id: object) -> bool:
        return call_id in self._calls

    # --- commands, as the media process takes them -------------------------------------------------------

    def send(self, command: m.Command) -> None:
        """Performs what concerns a front end; a command about a call that is over is ignored."""
        match command:
            case m.OpenCall(call_id=call_id, owner=str(owner)) if call_id not in self._calls:
                call = self._calls[call_id] = RendererCall(owner)
                if command.muted:
                    self._tell_own(call_id, call)
                if owner in self._away:
                    self._wait_for(call_id, call)
            case m.OpenPeer():
                self._open(command)
            case m.ApplyAnswer():
                self._apply(command)
            case m.ClosePeer(peer=peer) if peer.call_id in self._calls:
                self._calls[peer.call_id].part(peer)
            case m.CloseCall(call_id=call_id) if call_id in self._calls:
                self._close_call(call_id)

    async def request(self, request: Any) -> Any:
        """A front end chooses its own sources; a recording needs media that pass through the sidecar."""
        match request:
            case m.GetStats(call_id=call_id):
                return self._calls[call_id].stats()
            case m.SetSource():
                return None
            case _:
                raise LocalError("the front end has the media of this call", code=Code.CALL_WRONG_STATE)

    def _open(self, command: m.OpenPeer) -> None:
        call, theirs = self._calls.get(command.peer.call_id), command.remote_sdp
        if call is None:
            return
        try:
            sdp = None if theirs is None else self._for_browser(theirs, "offer")
        except LocalError as error:
            self._fail_soon(command.peer, error.message)
            return
        link = call.links[command.peer] = RendererLink(command, sdp, self._around)
        self._tell(call, "aleph:rtcStart", renderer_events.start(command))
        self._tell_offer(call, link)

    def _tell_offer(self, call: RendererCall, link: RendererLink) -> None:
        data = renderer_events.offer(link, self._device_of(link.peer.call_id, link.peer.user_id))
        if data is not None:
            self._tell(call, "aleph:rtcOffer", data)

    def _apply(self, command: m.ApplyAnswer) -> None:
        peer = command.peer
        call = self._calls.get(peer.call_id)
        if call is None or peer not in call.links:
            return
        try:
            sdp = self._for_browser(command.sdp, "answer")
        except LocalError as error:
            self._fail_soon(peer, error.message)
            return
        device = self._device_of(peer.call_id, peer.user_id)
        self._tell(call, "aleph:rtcAnswer", renderer_events.answer(peer, sdp, device))

    def _for_browser(self, sdp: str, kind: str) -> str:
        return browser_sdp(sdp, kind, loopback=self._around.loopback)

    def _fail_soon(self, peer: m.PeerRef, detail: str) -> None:
        """As from the media process: after the effects that are being performed."""
        failed = m.PeerFailed(peer=peer, reason=EndReason.MEDIA_FAILED.value, detail=detail)
        asyncio.get_running_loop().call_soon(self._on_event, failed)

    def _close_call(self, call_id: str) -> None:
        call = self._calls.pop(call_id)
        closed = m.CallClosed(call_id=call_id, stats=call.stats())
        call.close()
        asyncio.get_running_loop().call_soon(self._on_event, closed)

    # --- what front ends say -------------------------------------------------------------------------------

    def attach(self, client_id: str, call_id: str) -> list[RtcStart]:
        """Makes a client the owner of a call whose owner has gone (or has lost its memory), and names the
        connections that are to be made; offers to answer follow as events. A connection that was described
        has to be reported at once, or it is replaced."""
        call = self._calls.get(call_id)
        if call is None:
            raise self._unknown()
        if call.owner != client_id and call.gone is None:
            raise wrong("another client has the media of this call")
        if client_id in self._away:
            self._away.remove(client_id)
        if call.back():
            self._log.info("media of a call taken over", call_id=call_id)
        call.owner = client_id
        self._tell_own(call_id, call)
        missing = [link for link in call.links.values() if not link.described]
        for link in call.links.values():
            link.claim()
        for link in missing:
            self._tell_offer(call, link)
        return [renderer_events.start(link.opening) for link in missing]

    def describe(self, client_id: str, said: RtcSendOfferParams | RtcSendAnswerParams) -> None:
        """The description of a connection, with or without its candidates."""
        role = m.Role.OFFERER if isinstance(said, RtcSendOfferParams) else m.Role.ANSWERER
        self._meant(client_id, said).describe(role, said.sdp, said.offer_digest)

    def add_candidate(self, client_id: str, said: RtcSendIceParams) -> None:
        """A candidate that comes after it, or before."""
        self._meant(client_id, said).add_candidate(said.candidate)

    def report(self, client_id: str, said: RtcReportParams) -> None:
        """The state of a connection as its front end sees it."""
        link = self._link(client_id, said.call_id, said.target_user_id, said.gen)
        link.report(said.state, said.silent_ms, {"rttMs": said.rtt_ms, "loss": said.loss})

    def client_gone(self, client_id: str) -> None:
        """Its calls wait a moment for it, or for another to attach."""
        self._away.append(client_id)
        for call_id, call in self._calls.items():
            if call.owner == client_id and call.gone is None:
                self._wait_for(call_id, call)

    def _wait_for(self, call_id: str, call: RendererCall) -> None:
        self._log.warning("front end of a call is gone", call_id=call_id)
        loop = asyncio.get_running_loop()
        call.gone = loop.call_later(GONE_GRACE_S, self._on_abandoned, call_id)

    def _meant(
        self, client_id: str, said: RtcSendOfferParams | RtcSendAnswerParams | RtcSendIceParams
    ) -> RendererLink:
        link = self._link(client_id, said.call_id, said.target_user_id, said.gen)
        if said.device is not None:
            device = self._device_of(said.call_id, said.target_user_id)
            if device not in (None, said.device):
                raise wrong("the call is with another device of this user")
        return link

    def _link(self, client_id: str, call_id: str, user_id: str, gen: int | None) -> RendererLink:
        call = self._calls.get(call_id)
        if call is None:
            raise self._unknown()
        if call.owner != client_id:
            raise wrong("another client has the media of this call")
        return call.find(user_id, gen)

    def _tell(self, call: RendererCall, name: str, data: msgspec.Struct) -> None:
        self._hub.emit(name, data, to=call.owner)

    def _tell_own(self, call_id: str, call: RendererCall) -> None:
        """A page that knows nothing of a call yet would send what our user has muted."""
        state = self._own_state(call_id)
        if state is not None:
            self._tell(call, "aleph:mediaStateChange", state)

    @staticmethod
    def _unknown() -> LocalError:
        return LocalError("no front end has the media of such a call", code=Code.CALL_NOT_FOUND)
