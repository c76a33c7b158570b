"""Notes between this core and those at the other ends, over the control channels of connections (DESIGN D4).

Follows which connection of a call carries, and hands on what is heard by its name. Decides nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from typing import Any

from sidecar.clock import Clock
from sidecar.media import messages as m
from sidecar.signaling.spoken import Channel
from sidecar.trust.rates import Rate, RateLimits

CONNECTIONS_MAX = 256
"""Connections that are kept in mind: no node has as many at once."""
NOTES = Rate(100, 20)
"""Of one peer, whatever their names: gossip is one a second, signals come a few at a time."""

OnNote = Callable[[m.PeerRef, dict[str, Any]], None]


class ControlLink:
    """``counters`` gets ``control.dropped.<reason>``: ``rate``, ``name``, and what listeners count."""

    def __init__(
        self,
        send: Callable[[m.SendControl], None],
        *,
        clock: Clock,
        counters: MutableMapping[str, int],
    ) -> None:
        self._send = send
        self._clock = clock
        self._counters = counters
        self._rates = RateLimits({"notes": NOTES}, CONNECTIONS_MAX)
        self._channels: OrderedDict[tuple[str, str], Channel] = OrderedDict()
        self._in_doubt: set[Channel] = set()
        self._listeners: dict[str, OnNote] = {}
        self._on_closed: list[Callable[[Channel], None]] = []

    def listen(self, name: str, on_note: OnNote) -> None:
        """Hands over what peers say under this name."""
        self._listeners[name] = on_note

    def watch_closed(self, on_closed: Callable[[Channel], None]) -> None:
        """Tells of every channel that ends without being replaced."""
        self._on_closed.append(on_closed)

    def channel(self, call_id: str, user_id: str) -> Channel | None:
        """That of the connection that carries; None where there is none."""
        return self._channels.get((call_id, user_id))

    def in_doubt(self, channel: Channel) -> bool:
        """Whether nothing has come through it for a while."""
        return channel in self._in_doubt

    def say(self, channel: Channel, name: str, data: dict[str, Any]) -> None:
        """Says it; it is lost if the connection has just ended."""
        self._send(m.SendControl(peer=m.PeerRef(**channel._asdict()), name=name, data=data))

    def drop(self, reason: str) -> None:
        """Counts a note that came to nothing."""
        name = f"control.dropped.{reason}"
        self._counters[name] = self._counters.get(name, 0) + 1

    def on_media_event(self, event: m.Event) -> None:
        """Follows connections, and hands on what is heard over them."""
        match event:
            case m.PeerConnected(peer=peer):
                self._connected(_channel(peer))
            case m.PeerLiveness(peer=peer, liveness=m.Liveness.LOST) | m.PeerFailed(peer=peer):
                self._close(_channel(peer))
            case m.PeerLiveness(peer=peer, liveness=liveness):
                self._judge(_channel(peer), liveness)
            case m.CallClosed(call_id=call_id):
                self._close_all(call_id)
            case m.MediaLost():
                self._close_all()
            case m.ControlHeard():
                self._heard(event)

    def _connected(self, channel: Channel) -> None:
        replaced = self._channels.pop(channel.far_end, None)
        self._channels[channel.far_end] = channel
        if replaced is not None:
            self._in_doubt.discard(replaced)
        if len(self._channels) > CONNECTIONS_MAX:
            self._close(next(iter(self._channels.values())))

    def _judge(self, channel: Channel, liveness: m.Liveness) -> None:
        if self._channels.get(channel.far_end) != channel or liveness is m.Liveness.ALIVE:
            self._in_doubt.discard(channel)
        else:
            self._in_doubt.add(channel)

    def _close(self, channel: Channel) -> None:
        self._in_doubt.discard(channel)
        if self._channels.get(channel.far_end) == channel:
            del self._channels[channel.far_end]
        for on_closed in self._on_closed:
            on_closed(channel)

    def _close_all(self, call_id: str | None = None) -> None:
        for channel in list(self._channels.values()):
            if call_id in (None, channel.call_id):
                self._close(channel)

    def _heard(self, note: m.ControlHeard) -> None:
        peer = note.peer
        if not self._rates.allow("notes", f"{peer.call_id} {peer.user_id}", self._clock.monotonic()):
            self.drop("rate")
            return
        listener = self._listeners.get(note.name)
        if listener is None:
            self.drop("name")
            return
        listener(peer, note.data)


def _channel(peer: m.PeerRef) -> Channel:
    return Channel(peer.call_id, peer.user_id, peer.gen)
