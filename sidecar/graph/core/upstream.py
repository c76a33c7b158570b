"""What is shared with the relays that this one was told to peer with (DESIGN D9): decisions only.

They are told every change, and asked for what somebody here follows. A change that is none to the receiver
goes no further, so relays may peer in rings. The souls that change while one is away, and those it has not
acknowledged when it goes, are remembered; when it is back their state of then is sent, so much at a time as
it acknowledges. It handles what it hears in order, so an acknowledgement stands for everything sent before:
gun.js gives none for what it knew already.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterator

MAX_MISSED = 10_000
"""Souls remembered for a relay that is away, and messages to a silent one; the oldest goes first."""
WINDOW = 32
"""Puts on their way to a relay that is back and not acknowledged yet."""
ANSWER_S = 9.0
"""How long an acknowledgement is waited for before more is sent."""


class _Relay:
    """What one connection was sent and is still to be sent."""

    def __init__(self, missed: Collection[str]) -> None:
        self.backlog = deque(missed)
        self.sent: OrderedDict[str, Collection[str]] = OrderedDict()
        """By message that may not have arrived: its souls."""
        self.window: OrderedDict[str, float] = OrderedDict()
        """Messages of the backlog that are waited for, and when they were sent."""


class Upstreams:
    """Connections are numbers; ``expected`` is how many there are when nobody is away."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._missed: OrderedDict[str, None] = OrderedDict()
        self._relays: dict[int, _Relay] = {}
        self._followed: set[str] = set()

    def __contains__(self, connection: int) -> bool:
        return connection in self._relays

    def __iter__(self) -> Iterator[int]:
        return iter(self._relays)

    @property
    def followed(self) -> list[str]:
        """The souls that are asked of everyone."""
        return list(self._followed)

    def opened(self, connection: int) -> None:
        """It gets what it may have missed."""
        self._relays[connection] = _Relay(self._missed)
        if len(self._relays) >= self._expected:
            self._missed.clear()

    def closed(self, connection: int) -> None:
        """What was not sent or not acknowledged is sent again over the next connection."""
        relay = self._relays.pop(connection, None)
        if relay is None:
            return
        for souls in relay.sent.values():
            self._miss(souls)
        self._miss(relay.backlog)

    def changed(self, souls: Collection[str]) -> None:
        """These souls changed here."""
        if len(self._relays) < self._expected:
            self._miss(souls)

    def _miss(self, souls: Collection[str]) -> None:
        for soul in souls:
            self._missed[soul] = None
            self._missed.move_to_end(soul)
            if len(self._missed) > MAX_MISSED:
                self._missed.popitem(last=False)

    def shared(self, connection: int, message_id: str, souls: Collection[str]) -> None:
        """A change was passed on in this message."""
        sent = self._relays[connection].sent
        sent[message_id] = souls
        if len(sent) > MAX_MISSED:
            self._miss(sent.popitem(last=False)[1])

    def answered(self, connection: int, message_id: str, *, stored: bool) -> None:
        """A relay that could not store it is sent it again over the next connection."""
        relay = self._relays[connection]
        relay.window.pop(message_id, None)
        if message_id not in relay.sent:
            return
        if not stored:
            self._miss(relay.sent.pop(message_id))
            return
        while relay.sent.popitem(last=False)[0] != message_id:
            pass

    def next_missed(self, connection: int, now: float) -> str | None:
        """A soul to send now; None while enough are on their way."""
        relay = self._relays[connection]
        while relay.window and next(iter(relay.window.values())) + ANSWER_S <= now:
            relay.window.popitem(last=False)
        if not relay.backlog or len(relay.window) >= WINDOW:
            return None
        return relay.backlog.popleft()

    def sent(self, connection: int, message_id: str, soul: str, now: float) -> None:
        """Of the backlog: an answer to this message, or none for long, makes room for another."""
        self._relays[connection].window[message_id] = now
        self.shared(connection, message_id, (soul,))

    def follow(self, soul: str, wanted: bool) -> bool:
        """Whether somebody here follows a soul; True if that is news to the relays."""
        if wanted == (soul in self._followed):
            return False
        (self._followed.add if wanted else self._followed.discard)(soul)
        return True
