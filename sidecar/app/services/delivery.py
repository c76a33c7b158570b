"""Brings leaves to the other side (DESIGN D3, D4): over the control channel where there is one, else through
the graph. Decides nothing: ``signaling.spoken`` and ``signaling.outbox`` do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple

from sidecar.app.services.control_link import ControlLink
from sidecar.app.services.errands import Errands
from sidecar.app.services.keys import Graph
from sidecar.clock import Clock
from sidecar.media import messages as m
from sidecar.signaling.messages import Kind
from sidecar.signaling.outbox import Message, Outbox, Recipient
from sidecar.signaling.sealing import Leaf
from sidecar.signaling.spoken import Channel, Spoken

SIGNAL, ACK = "signal", "signal-ack"
"""Notes on the control channel: a leaf as it would lie in the graph, and the key of one that has come."""

_PARTING = frozenset({Kind.END, Kind.CANCEL, Kind.REJECT, Kind.BUSY})
"""Their connection is closed right behind them, so that no acknowledgement would be heard."""


class _OnItsWay(NamedTuple):
    leaf: Leaf
    there: asyncio.Future[None]


class Delivery:
    """What this device says. ``on_own`` is told the key of every leaf before anybody can see it."""

    def __init__(
        self,
        graph: Graph,
        control: ControlLink,
        outbox: Outbox,
        on_own: Callable[[str], None],
        *,
        clock: Clock,
        errands: Errands,
    ) -> None:
        self._graph = graph
        self._control = control
        self._outbox = outbox
        self._on_own = on_own
        self._clock = clock
        self._errands = errands
        self._spoken = Spoken()
        self._on_the_way: dict[str, _OnItsWay] = {}
        self._timer: asyncio.TimerHandle | None = None
        control.listen(ACK, self._acked)
        control.watch_closed(self._closed)

    def stop(self) -> None:
        """Plans nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    async def send(self, message: Message, recipient: Recipient) -> None:
        """Returns once the other side or a relay has it, for one device at least; raises as :meth:`put`, and
        LocalError ``too-large``."""
        leaves = self._outbox.write(message, recipient, self._clock.network_ms(), self._clock.monotonic())
        channel = None
        if message.session is not None:
            channel = self._control.channel(message.call_id, recipient.user_id)
        wait = channel is not None and not self._control.in_doubt(channel) and message.kind not in _PARTING
        ways = [self._bring(leaf, channel, wait=wait) for leaf in self._own(leaves)]
        self._plan()
        await _any_of(ways)

    async def put(self, leaves: Iterable[Leaf]) -> None:
        """Through the graph; raises UnavailableError only if not one leaf was taken by a relay."""
        await _any_of([self._graph.put_leaf(*leaf) for leaf in self._own(leaves)])

    def answered(self, call_id: str) -> None:
        """The other side has opened the invitation of this call."""
        self._outbox.answered(call_id)

    def tick(self) -> None:
        """Puts into the graph what was not acknowledged in time, and knocks again where nobody has opened;
        called by its own timer."""
        now_s = self._clock.monotonic()
        for key in self._spoken.due(now_s):
            self._errands.run(self._go_on(self._on_the_way[key]))
        leaves = self._outbox.knock_again(self._clock.network_ms(), now_s)
        if leaves:
            self._errands.run(self.put(leaves))
        self._plan()

    def _own(self, leaves: Iterable[Leaf]) -> Iterable[Leaf]:
        for leaf in leaves:
            self._on_own(leaf.key)
            yield leaf

    async def _bring(self, leaf: Leaf, channel: Channel | None, *, wait: bool) -> None:
        now_s = self._clock.monotonic()
        if channel is None or not self._spoken.say(channel, leaf.key, now_s, wait=wait):
            await self._graph.put_leaf(*leaf)
            return
        going = self._on_the_way[leaf.key] = _OnItsWay(leaf, asyncio.get_running_loop().create_future())
        try:
            self._control.say(channel, SIGNAL, {"key": leaf.key, "value": leaf.value})
            self.tick()
            await going.there
        finally:
            self._spoken.forget(leaf.key)
            del self._on_the_way[leaf.key]

    async def _go_on(self, going: _OnItsWay) -> None:
        """Takes the second way, while an acknowledgement of the first may still come."""
        try:
            await self._graph.put_leaf(*going.leaf)
        except Exception as error:
            if not going.there.done():
                going.there.set_exception(error)
        else:
            if not going.there.done():
                going.there.set_result(None)

    def _acked(self, peer: m.PeerRef, data: dict[str, Any]) -> None:
        key = data.get("key")
        if not isinstance(key, str) or not self._spoken.acked(peer.call_id, peer.user_id, key):
            self._control.drop("ack")
            return
        there = self._on_the_way[key].there
        if not there.done():
            there.set_result(None)

    def _closed(self, channel: Channel) -> None:
        self._spoken.closed(channel)
        if self._on_the_way:
            self.tick()

    def _plan(self) -> None:
        self.stop()
        due = [at for at in (self._outbox.next_deadline(), self._spoken.next_deadline()) if at is not None]
        if due:
            delay_s = max(0.0, min(due) - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.tick)


async def _any_of(ways: list[Coroutine[Any, Any, None]]) -> None:
    results = await asyncio.gather(*ways, return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures and len(failures) == len(results):
        raise failures[0]
