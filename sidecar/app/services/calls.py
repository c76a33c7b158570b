"""Runs calls and conferences: one timer, their events, the effects in their order. Decides nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sidecar.app.services.call_effects import Archive, Hub, Journal, Media, Performer, Signaling
from sidecar.app.services.call_events import from_media
from sidecar.app.services.policy import Policy
from sidecar.calls import effects as f
from sidecar.calls import events as e
from sidecar.clock import Clock, Random
from sidecar.conference.events import SocialChanged
from sidecar.conference.exchange import Exchange
from sidecar.errors import UnavailableError
from sidecar.ids import call_id, hex_id
from sidecar.log import Logger
from sidecar.media import messages as m
from sidecar.schema import CallSession, CallType, MediaTrackKind
from sidecar.signaling.messages import Incoming


class CallsService:
    """``board`` may be looked at by anyone; only this service tells it anything."""

    def __init__(
        self,
        board: Exchange,
        *,
        media: Media,
        signaling: Signaling,
        hub: Hub,
        history: Archive,
        journal: Journal,
        policy: Policy,
        sources: Mapping[MediaTrackKind, str],
        ice_servers: list[m.IceServer],
        more: Mapping[type[f.Effect], Callable[[Any], None]],
        clock: Clock,
        random: Random,
        log: Logger,
    ) -> None:
        """``sources``: the device each line starts with."""
        self.board = board
        self._journal = journal
        self._signaling = signaling
        self._policy = policy
        self._clock = clock
        self._random = random
        self._log = log
        self._timer: asyncio.TimerHandle | None = None
        self._todo: deque[f.Effect] = deque()
        self._performing = False
        self._closing = False
        self._performer = Performer(
            media=media,
            signaling=signaling,
            hub=hub,
            history=history,
            sources=sources,
            ice_servers=ice_servers,
            more=more,
            on_fate=self.handle,
            log=log,
        )

    # --- commands --------------------------------------------------------------------------------------

    async def initiate(
        self,
        user_id: str,
        call_type: CallType,
        room_id: str | None = None,
        domain_id: str | None = None,
        *,
        owner: str | None = None,
    ) -> CallSession:
        """Calls a user. Raises LocalError, DeniedError, or UnavailableError when the user's key is not
        known and no relay can be asked for it."""
        self._policy.must_call(user_id, room_id, domain_id)
        relation = await self.relation(user_id)
        if self._closing:
            raise UnavailableError("this sidecar is stopping")
        new_id = call_id(self._random.bytes(16))
        self.handle(
            e.Initiate(
                call_id=new_id,
                user_id=user_id,
                display_name=self._policy.name(user_id) or "",
                call_type=call_type,
                relation=relation,
                session=hex_id(self._random.bytes(16)),
                at_ms=self._clock.wall_ms(),
                devices=self._signaling.devices(user_id),
                owner=owner,
                room_id=room_id,
                domain_id=domain_id,
            )
        )
        session = self.board.session(new_id)
        assert session is not None, "a call that was just made is there"
        return session

    async def relation(self, user_id: str) -> e.Relation:
        """What we know of a user; fetches what is needed to reach it."""
        relation = await self._signaling.relation(user_id)
        if relation in (e.Relation.CONTACT, e.Relation.STRANGER):
            self._signaling.prefetch(user_id)
        return relation

    def handle(self, event: e.Event) -> None:
        """Tells the switchboard and performs what follows; raises what a command is refused with."""
        self._perform(self.board.handle(event, self._clock.monotonic()))

    # --- events of other services ------------------------------------------------------------------------

    def on_signal(self, incoming: Incoming) -> None:
        """A signal that passed the checks at the door."""
        if self._closing:
            return
        refusal = self._policy.refusal(incoming)
        if refusal is not None:
            self.board.dropped[f"refused-{refusal.value}"] += 1
            return
        self.handle(
            e.SignalArrived(
                signal=incoming.signal,
                user_id=incoming.user_id,
                contact=incoming.contact,
                at_ms=self._clock.wall_ms(),
                network_ms=self._clock.network_ms(),
                display_name=incoming.verified_name or None,
            )
        )

    def on_social_change(self, blocked: Collection[str]) -> None:
        """Our social copy has changed. Calls with users who are ``blocked`` now end, and nobody stays in a
        conference whom the copy keeps out."""
        for ending in self.board.calls_with(blocked):
            self.handle(e.End(call_id=ending))
        self.handle(SocialChanged())

    def on_media_event(self, event: m.Event) -> None:
        """An event of the media process."""
        if isinstance(event, m.PeerFailed):
            self._log.warning("connection failed", call_id=event.peer.call_id, reason=event.reason)
        told = from_media(event)
        if told is not None:
            self.handle(told)

    def slept(self, for_s: float) -> None:
        """This machine slept, or this process stood still. What became due meanwhile is done now, because the
        loop's own timers slept too; after a long sleep every peer has given us up (D5, C19)."""
        self._on_timer()
        if for_s >= self.board.lost_s:
            self._log.info("calls outslept", seconds=round(for_s))
            for report in self.board.all_lost():
                self.handle(report)

    async def close(self, *, app_gone: bool, within_s: float) -> None:
        """Ends every call and waits for the relays to take the end signals, but not for long."""
        self._closing = True
        self.handle(e.Shutdown(app_gone=app_gone))
        if self._timer is not None:
            self._timer.cancel()
        await self._performer.close(within_s)

    # --- effects -----------------------------------------------------------------------------------------

    def _perform(self, effects: list[f.Effect]) -> None:
        """In order, also when a performer causes further events: those effects wait behind these."""
        self._todo.extend(effects)
        if self._performing:
            return
        self._performing = True
        try:
            while self._todo:
                self._performer.perform(self._todo.popleft())
        finally:
            self._performing = False
        self._journal.keep(self.board.notes())
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.board.next_deadline()
        if due is not None and not self._closing:
            delay = max(0.0, due - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._perform(self.board.handle_timer(self._clock.monotonic()))
