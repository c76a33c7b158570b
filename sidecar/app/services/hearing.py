"""What is heard (DESIGN D3, D4): leaves of the graph and of control channels, as the inbox judges them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sidecar.app.services.control_link import ControlLink
from sidecar.app.services.delivery import ACK, SIGNAL
from sidecar.app.services.keys import Graph, KeyDirectory
from sidecar.app.services.listening import Listening
from sidecar.clock import Clock
from sidecar.media.messages import PeerRef
from sidecar.signaling.inbox import Inbox, Place
from sidecar.signaling.messages import Incoming
from sidecar.signaling.sealing import MAX_KEY_CHARS, MAX_VALUE_CHARS
from sidecar.trust.social import SocialState


class _Said(msgspec.Struct, frozen=True):
    """A leaf on the control channel."""

    key: Annotated[str, Meta(max_length=MAX_KEY_CHARS)]
    value: Annotated[str, Meta(max_length=MAX_VALUE_CHARS)]


class Hearing:
    """``on_incoming`` gets the signals that passed every check."""

    def __init__(
        self,
        graph: Graph,
        control: ControlLink,
        inbox: Inbox,
        directory: KeyDirectory,
        *,
        social: SocialState,
        user_id: str,
        clock: Clock,
        on_incoming: Callable[[Incoming], None],
    ) -> None:
        self._control = control
        self._inbox = inbox
        self._directory = directory
        self._clock = clock
        self._on_incoming = on_incoming
        self.listening = Listening(
            graph,
            directory,
            social,
            user_id,
            on_leaf=self._on_leaf,
            on_writer=self._on_writer,
            on_left=inbox.forget_parked,
        )
        control.listen(SIGNAL, self._on_note)

    def _on_leaf(self, place: Place, key: str, value: str) -> None:
        now_ms, now_s = self._clock.network_ms(), self._clock.monotonic()
        incoming = self._inbox.receive(place, key, value, now_ms, now_s)
        self._directory.flush()
        if incoming is not None:
            self._on_incoming(incoming)

    def _on_writer(self, place: Place) -> None:
        now_ms, now_s = self._clock.network_ms(), self._clock.monotonic()
        came = self._inbox.receive_parked(place, now_ms, now_s)
        self._directory.flush()
        for incoming in came:
            self._on_incoming(incoming)

    def _on_note(self, peer: PeerRef, data: dict[str, Any]) -> None:
        """A leaf that came over the control channel of a call: it passes the checks of its session."""
        try:
            said = msgspec.convert(data, _Said)
        except msgspec.ValidationError:
            self._control.drop("shape")
            return
        place = self.listening.place_of(peer.call_id, peer.user_id)
        if place is None:
            self._control.drop("session")
            return
        self._on_leaf(place, said.key, said.value)
        channel = self._control.channel(peer.call_id, peer.user_id)
        if channel is not None and self._inbox.judged(place, said.key):
            self._control.say(channel, ACK, {"key": said.key})
