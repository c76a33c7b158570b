"""Which souls are read now: subscriptions that follow network time from bucket to bucket, and live calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from sidecar.app.services.keys import Graph, KeyDirectory
from sidecar.clock import Clock
from sidecar.signaling import layout
from sidecar.signaling.inbox import Place, PlaceKind
from sidecar.trust.social import SocialState

MAX_SESSIONS = 64
"""Calls whose sessions are read at once; the oldest is left first."""

CLOCK_CHECK_S = 5.0
"""How soon a clock that the relays have set is noticed."""
CLOCK_STEP_MS = 1000

OnLeaf = Callable[[str, str, int], None]


class _Session:
    """A call's soul and who may write there."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.users: dict[str, None] = {}
        self.watches: dict[str, Callable[[], None]] = {}
        """What ends the reading of its soul, and of the cards of users whose keys are not known yet."""

    def stop(self) -> None:
        for soul in list(self.watches):
            self.watches.pop(soul)()


class Listening:
    """All subscriptions of this device. ``on_leaf(place, key, value)`` gets what they deliver,
    ``on_writer(place)`` is told when somebody more may write into a session, ``on_left(name)`` when the place
    of that name is read no more."""

    def __init__(
        self,
        graph: Graph,
        directory: KeyDirectory,
        social: SocialState,
        user_id: str,
        *,
        on_leaf: Callable[[Place, str, str], None],
        on_writer: Callable[[Place], None],
        on_left: Callable[[str], None],
    ) -> None:
        self._graph = graph
        self._directory = directory
        self._social = social
        self._user_id = user_id
        self._on_leaf = on_leaf
        self._on_writer = on_writer
        self._on_left = on_left
        self._watches: dict[str, Callable[[], None]] = {}
        self._sessions: dict[str, _Session] = {}

    def refresh(self, now_ms: int) -> None:
        """Brings inboxes and contacts' cards up to date with network time."""
        wanted = self._wanted(now_ms)
        for soul in self._watches.keys() - wanted.keys():
            self._watches.pop(soul)()
        for soul in wanted.keys() - self._watches.keys():
            self._watches[soul] = self._graph.watch_leaves(soul, wanted[soul])

    def join(self, call_id: str, session: str, user_id: str) -> None:
        """Reads the session of a call, and takes what this user writes there as soon as its key is known; a
        call that has grown into a conference has another session, and its old one is left."""
        known = self._sessions.get(call_id)
        if known is not None and known.session != session:
            self.leave(call_id)
        if call_id not in self._sessions:
            if len(self._sessions) >= MAX_SESSIONS:
                self.leave(next(iter(self._sessions)))
            joined = self._sessions[call_id] = _Session(session)
            joined.users[user_id] = None
            soul = layout.session_soul(session)
            self._watch(joined, soul, self._of_session(call_id))
            self._graph.keep_close(True)
        joined = self._sessions[call_id]
        if user_id not in joined.users:
            joined.users[user_id] = None
            self._on_writer(self._of_call(call_id))
        if user_id != self._user_id and self._directory.peer(user_id) is None:
            self._watch(joined, layout.keys_soul(user_id), partial(self._card_of_writer, call_id, user_id))

    def leave(self, call_id: str) -> None:
        """Stops reading the session of a call; unknown calls are ignored."""
        joined = self._sessions.pop(call_id, None)
        if joined is not None:
            joined.stop()
            self._on_left(call_id)
            self._graph.keep_close(bool(self._sessions))

    def place_of(self, call_id: str, user_id: str) -> Place | None:
        """Where a leaf belongs that this user says over the control channel of a call; None if it may write
        nothing there."""
        session = self._sessions.get(call_id)
        if session is None or user_id not in session.users:
            return None
        return self._place(PlaceKind.SESSION, call_id, (user_id,))

    def stop(self) -> None:
        """Ends every subscription."""
        for call_id in list(self._sessions):
            self.leave(call_id)
        for stop in self._watches.values():
            stop()
        self._watches.clear()

    def _wanted(self, now_ms: int) -> dict[str, OnLeaf]:
        """The listener of every soul to be read now, calls aside."""
        wanted: dict[str, OnLeaf] = dict.fromkeys(
            layout.stranger_souls(self._user_id, now_ms), self._of_strangers
        )
        for contact in self._social.contacts():
            peer = self._directory.peer(contact.user_id)
            if peer is not None:
                souls = layout.pairwise_souls(peer.shared, self._user_id, now_ms)
                wanted |= dict.fromkeys(souls, self._of_contact(contact.user_id))
                wanted[layout.keys_soul(contact.user_id)] = self._of_cards(contact.user_id)
        return wanted

    def _of_strangers(self, key: str, value: str, state: int) -> None:
        self._on_leaf(Place(PlaceKind.STRANGERS), key, value)

    def _of_contact(self, user_id: str) -> OnLeaf:
        def on_leaf(key: str, value: str, state: int) -> None:
            self._on_leaf(self._place(PlaceKind.PAIRWISE, user_id, (user_id,)), key, value)

        return on_leaf

    def _of_session(self, call_id: str) -> OnLeaf:
        return lambda key, value, state: self._on_leaf(self._of_call(call_id), key, value)

    def _of_call(self, call_id: str) -> Place:
        """The users are looked up when a leaf arrives, which may be during the subscription."""
        session = self._sessions.get(call_id)
        return self._place(PlaceKind.SESSION, call_id, tuple(session.users) if session else ())

    def _watch(self, session: _Session, soul: str, on_leaf: OnLeaf) -> None:
        if soul in session.watches:
            return
        session.watches[soul] = lambda: None
        session.watches[soul] = self._graph.watch_leaves(soul, on_leaf)

    def _card_of_writer(self, call_id: str, user_id: str, key: str, text: str, state: int) -> None:
        """A card of somebody who may write into a session: what waits for its key can be read now."""
        known = self._directory.peer(user_id)
        self._directory.take_card(user_id, key, text)
        if known is None and self._directory.peer(user_id) is not None:
            self._on_writer(self._of_call(call_id))

    def _of_cards(self, user_id: str) -> OnLeaf:
        return lambda key, text, state: self._directory.take_card(user_id, key, text)

    def _place(self, kind: PlaceKind, name: str, user_ids: tuple[str, ...]) -> Place:
        return Place(kind, name, tuple(filter(None, map(self._directory.peer, user_ids))))


async def follow_time(clock: Clock, on_change: Callable[[], None]) -> None:
    """Calls ``on_change`` when other souls are to be read: a bucket begins, or relays have set the clock."""
    while True:
        now_ms, steady_ms = clock.network_ms(), clock.monotonic() * 1000
        change_ms = layout.next_change_ms(now_ms)
        await asyncio.sleep(min((change_ms - now_ms) / 1000 + 0.01, CLOCK_CHECK_S))
        step_ms = clock.network_ms() - now_ms - (clock.monotonic() * 1000 - steady_ms)
        if abs(step_ms) > CLOCK_STEP_MS or clock.network_ms() >= change_ms:
            on_change()
