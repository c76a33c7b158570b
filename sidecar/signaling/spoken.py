"""What was said over a control channel and is not acknowledged yet (DESIGN D4): whom we wait for, how long.

After generation 0 a signal goes over ``aleph-control`` first, and into the graph if it is not acknowledged in
time, as the same leaf, so that a second delivery is a silent duplicate. A channel that has kept us waiting
once is not waited for again (a page that owns its media hears no notes): its leaves go both ways at once,
until it acknowledges one or another generation has taken its place.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

ACK_WITHIN_S = 0.3
"""Longer than the round trip of nearly every path, and a call hardly notices that a signal is so late."""
WAITING_MAX = 32
"""Leaves of one channel that wait at once: a call says two or three in a row."""
DEAF_MAX = 256
"""Channels of which it is kept in mind that they do not acknowledge."""


class Channel(NamedTuple):
    """The control channel of one connection."""

    call_id: str
    user_id: str
    gen: int

    @property
    def far_end(self) -> tuple[str, str]:
        """Whom it leads to, whatever the generation."""
        return self.call_id, self.user_id


class _Said(NamedTuple):
    channel: Channel
    due_s: float | None
    """When it goes into the graph; None if it has gone."""
    waits: bool
    """Whether an acknowledgement may still spare it the graph."""


class Spoken:
    """Leaves by their key. Monotonic seconds come in with every call."""

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}
        self._deaf: OrderedDict[tuple[str, str], int] = OrderedDict()

    def say(self, channel: Channel, key: str, now_s: float, *, wait: bool) -> bool:
        """A leaf is said; False if too many of this channel wait, and the graph has to do.

        ``wait`` False: nobody should be waited for, the graph gets it at once too.
        """
        if sum(said.channel.far_end == channel.far_end for said in self._said.values()) >= WAITING_MAX:
            return False
        waits = wait and self._deaf.get(channel.far_end) != channel.gen
        self._said[key] = _Said(channel, now_s + ACK_WITHIN_S if waits else now_s, waits)
        return True

    def acked(self, call_id: str, user_id: str, key: str) -> bool:
        """The far end has this leaf; False if it was not said to this user, or is acknowledged already."""
        said = self._said.get(key)
        if said is None or said.channel.far_end != (call_id, user_id):
            return False
        del self._said[key]
        self._deaf.pop((call_id, user_id), None)
        return True

    def closed(self, channel: Channel) -> None:
        """Nothing more can come over this channel: what waits for it is due."""
        for key, said in self._said.items():
            if said.channel == channel and said.due_s is not None:
                self._said[key] = _Said(channel, 0.0, False)

    def due(self, now_s: float) -> list[str]:
        """The keys of the leaves that are now to be put into the graph, each once; an acknowledgement of them
        may still come."""
        keys = [key for key, said in self._said.items() if said.due_s is not None and said.due_s <= now_s]
        for key in keys:
            channel, _, waits = self._said[key]
            self._said[key] = _Said(channel, None, False)
            if waits:
                self._take_for_deaf(channel)
        return keys

    def _take_for_deaf(self, channel: Channel) -> None:
        self._deaf[channel.far_end] = channel.gen
        self._deaf.move_to_end(channel.far_end)
        if len(self._deaf) > DEAF_MAX:
            self._deaf.popitem(last=False)

    def forget(self, key: str) -> None:
        """Whatever became of this leaf matters no more."""
        self._said.pop(key, None)

    def next_deadline(self) -> float | None:
        """When :meth:`due` has something to say."""
        return min((said.due_s for said in self._said.values() if said.due_s is not None), default=None)

    def __len__(self) -> int:
        return len(self._said)
