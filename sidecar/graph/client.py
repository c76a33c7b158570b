"""The Gun peer on asyncio: performs what ``core.peer`` decides, over WebSockets (DESIGN section 2, adapters).

Imported after the ready line: it brings websockets with it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sidecar.clock import Clock, Random
from sidecar.errors import Code, LocalError, SidecarError, UnavailableError
from sidecar.graph import transport
from sidecar.graph.core import effects, leaves, outbox, sea
from sidecar.graph.core.effects import Item
from sidecar.graph.core.peer import Peer
from sidecar.graph.core.tickgap import TICK_S, TickGap
from sidecar.graph.relay_time import RelayTime
from sidecar.graph.sockets import Sockets
from sidecar.graph.store import Store
from sidecar.log import Logger

STATE_MARGIN_MS = 2_000
"""States lie this far in the past: a relay whose clock is a little behind ours must not defer a signal.
``Date`` tells the time to one second."""
MAX_VALUE = 64 * 1024
"""Characters of one leaf or signed value; the largest sealed signal has 24 KiB."""
FOREVER_MS = 400 * 86_400_000
"""How long what has no lifetime in its soul stays in the outbox."""
ACK_WITHIN_S = 8.0

OnLeaf = Callable[[str, str, int], None]
OnValue = Callable[[str, Any, float], None]


class RelayState(NamedTuple):
    """One relay for health: its URL, whether it is connected, the last round trip."""

    url: str
    connected: bool
    rtt_ms: float | None


class GraphClient:
    """Puts leaves and reads them on several relays at once.

    ``clock.network_ms`` has to follow :meth:`network_offset_ms`, which is learnt here. ``tls`` checks the
    certificates of wss relays, None as the system does.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        clock: Clock,
        random: Random,
        store: Store,
        log: Logger,
        tls: ssl.SSLContext | None = None,
        on_slept: Callable[[float], None] | None = None,
    ) -> None:
        """``on_slept`` is told the seconds for which nothing ran, as far as the clock counted them."""
        for url in urls:
            transport.relay_url(url)
        self._clock = clock
        self._store = store
        self._log = log
        self._on_slept = on_slept
        self._time = RelayTime(clock, store, tls)
        self._peer = Peer(list(dict.fromkeys(urls)), random, [Item(*row) for row in store.outbox()])
        self._sockets = Sockets(self._peer, self._time, clock=clock, tls=tls, changed=self._pump)
        self._gap = TickGap()
        self._acks: dict[tuple[str, str], set[asyncio.Future[None]]] = {}
        self._last_state = 0
        self._listeners: dict[int, OnValue] = {}
        self._reads: dict[int, asyncio.Future[bool]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._running = False
        self._pumping = False

    async def start(self) -> None:
        """Begin connecting; returns at once, connections come and go from now on."""
        self._running = True
        self._pump()

    async def stop(self) -> None:
        """Close all connections. What was not acknowledged waits in the store."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        await self._sockets.close()
        for acked in [one for waiting in self._acks.values() for one in waiting]:
            acked.cancel()
        for done in self._reads.values():
            done.cancel()
        self._log.info("graph client stopped", dropped=dict(self._peer.counters))

    async def put_leaf(self, soul: str, key: str, value: str, *, timeout_s: float = ACK_WITHIN_S) -> None:
        """Send a leaf to every relay; returns when one has it.

        Raises UnavailableError(graph.unreachable) when none acknowledged in time or every one refused. Unless
        refused, the leaf stays in the outbox, also over a restart, until a relay has it or its soul's
        lifetime is over.
        """
        if not leaves.is_leaf_soul(soul) or not leaves.is_leaf(key, value):
            raise LocalError("not a content-addressed leaf")
        await self._put(soul, key, value, self._clock.network_ms() - STATE_MARGIN_MS, timeout_s)

    async def put_value(
        self, soul: str, key: str, value: Any, pair: Mapping[str, str], *, timeout_s: float = ACK_WITHIN_S
    ) -> None:
        """Sign and set a value in the space ``~PUB`` of a pair; returns when a relay has it, or a newer one.

        Only the newest value of a key is kept for relays that are away. Raises as :meth:`put_leaf`, and
        LocalError(too-large) when the soul is full at every relay.
        """
        if sea.soul_pub(soul) != pair["pub"]:
            raise LocalError("not a soul of this pair")
        state = self._next_state()
        await self._put(soul, key, sea.sign_value(soul, key, value, state, pair), state, timeout_s)

    def _next_state(self) -> int:
        """A later put must win, also within one millisecond; a clock that was set back starts anew."""
        state = self._clock.network_ms() - STATE_MARGIN_MS
        if state <= self._last_state < state + STATE_MARGIN_MS:
            state = self._last_state + 1
        self._last_state = state
        return state

    async def _put(self, soul: str, key: str, text: str, state: int, timeout_s: float) -> None:
        if len(text) > MAX_VALUE:
            raise LocalError("the value is too large", code=Code.TOO_LARGE)
        item = Item(soul, key, text, state, leaves.expires_ms(soul, state) or state + FOREVER_MS)
        self._peer.put(item, self._now())
        self._store.add_to_outbox((item.soul, item.key, item.value, item.state, item.expires_ms))
        acked = asyncio.get_running_loop().create_future()
        self._acks.setdefault((soul, key), set()).add(acked)
        self._pump()
        try:
            async with asyncio.timeout(timeout_s):
                await acked
        except TimeoutError:
            raise UnavailableError("no relay acknowledged in time", code=Code.GRAPH_UNREACHABLE) from None
        finally:
            waiting = self._acks.get((soul, key), set())
            waiting.discard(acked)
            if not waiting:
                self._acks.pop((soul, key), None)

    def watch_leaves(self, soul: str, on_leaf: OnLeaf) -> Callable[[], None]:
        """Call ``on_leaf(key, value, state)`` once for each leaf of a soul, past and coming.

        Returns what ends it. Hashes are checked, a key is told once, a soul is cut at 512 KiB.
        """
        _check_unowned(soul)
        return self._watch(soul, lambda key, value, state: on_leaf(key, value, int(state)))

    def watch_values(self, soul: str, on_value: OnValue) -> Callable[[], None]:
        """Call ``on_value(key, value, state)`` for the newest value of each key of a soul ``~PUB``, now and
        when it changes; None is the owner's own deletion.

        Returns what ends it. Signatures are checked; what is not signed, not newer or from the future is
        dropped and counted.
        """
        if sea.soul_pub(soul) is None:
            raise LocalError("nobody owns this soul")
        return self._watch(soul, on_value)

    def _watch(self, soul: str, listener: OnValue) -> Callable[[], None]:
        number = self._peer.watch(soul, self._now())
        self._listeners[number] = listener
        self._pump()

        def stop() -> None:
            self._listeners.pop(number, None)
            self._peer.stop_watching(number)
            self._pump()

        return stop

    async def read_leaves(self, soul: str, *, timeout_s: float) -> dict[str, str]:
        """All leaves of a soul that the connected relays have.

        Raises UnavailableError(graph.unreachable) if no relay answered in time.
        """
        _check_unowned(soul)
        found: dict[str, str] = {}
        number = self._peer.read(soul, timeout_s, self._now())
        self._listeners[number] = lambda key, value, _: found.__setitem__(key, value)
        done = self._reads[number] = asyncio.get_running_loop().create_future()
        self._pump()
        try:
            answered = await done
        finally:
            self._listeners.pop(number, None)
            self._reads.pop(number, None)
            self._peer.stop_watching(number)
            self._pump()
        if not answered:
            raise UnavailableError("no relay answered in time", code=Code.GRAPH_UNREACHABLE)
        return found

    def wake(self) -> None:
        """A call needs the graph now: reconnect at once, and find out at once which connections are dead."""
        self._peer.wake(self._now())
        self._pump()

    def keep_close(self, close: bool) -> None:
        """Whether a call lives: relays are pinged every 10 s, and one that is silent is replaced at once."""
        self._peer.keep_close(close, self._now())
        self._pump()

    def network_offset_ms(self) -> int:
        """How far the relays' clocks are ahead of this machine's steady clock."""
        return self._time.offset_ms

    @property
    def relays(self) -> list[RelayState]:
        """Every configured relay, the best first: connected, few failures lately, a short round trip."""
        return [RelayState(link.url, link.up, link.rtt_ms) for link in self._peer.ranked(self._now())]

    def _now(self) -> float:
        return self._clock.monotonic()

    def _pump(self) -> None:
        """Let the machine look at the time, do what it wants, and arrange to be called again.

        A listener that asks for more while it is told of a leaf is served by the loop that is running.
        """
        if not self._running or self._pumping:
            return
        self._pumping = True
        try:
            if self._gap.noticed(self._now(), self._clock.wall_ms()):
                self._log.info("the machine slept, or its clock was set")
                self._time.hurry()
                self._peer.slept(self._now())
                if self._on_slept is not None:
                    asyncio.get_running_loop().call_soon(self._on_slept, self._gap.passed_s)
            self._peer.handle_timer(self._now(), self._clock.network_ms())
            while wanted := self._peer.take():
                for effect in wanted:
                    self._perform(effect)
        finally:
            self._pumping = False
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._peer.next_deadline()
        delay = TICK_S if deadline is None else min(max(0.0, deadline - self._now()), TICK_S)
        self._timer = asyncio.get_running_loop().call_later(delay, self._pump)

    def _perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.LeafFound(watch, key, value, state) | effects.ValueFound(watch, key, value, state):
                self._tell(watch, key, value, state)
            case effects.ReadDone(watch, answered):
                done = self._reads.get(watch)
                if done is not None and not done.done():
                    done.set_result(answered)
            case (
                effects.Connect() | effects.Disconnect() | effects.Renew() | effects.Retire()
                | effects.Send() | effects.Ping()
            ):  # fmt: skip
                self._sockets.perform(effect)
            case _:
                self._note(effect)

    def _tell(self, watch: int, key: str, value: Any, state: float) -> None:
        listener = self._listeners.get(watch)
        if listener is None:
            return
        try:
            listener(key, value, state)
        except Exception as error:
            self._log.error("listener failed", error=f"{type(error).__name__}: {error}")

    def _note(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Stored(soul, key):
                self._store.remove_from_outbox(soul, key)
                self._settle(soul, key, None)
            case effects.Rejected(soul, key, reason):
                self._store.remove_from_outbox(soul, key)
                self._settle(soul, key, _refusal(soul, reason))
            case effects.Expired(soul, key):
                self._store.remove_from_outbox(soul, key)
                self._log.warning("put expired unsent")
            case effects.Refused(url, _, _, reason, final):
                self._log.warning("relay refused a put", relay=url, reason=reason, final=final)
            case effects.LinkChanged(url, old, new, cause):
                self._log.info("relay link", relay=url, old=old.value, new=new.value, cause=cause)

    def _settle(self, soul: str, key: str, error: SidecarError | None) -> None:
        for acked in self._acks.pop((soul, key), ()):
            if acked.done():
                continue
            if error is None:
                acked.set_result(None)
            else:
                acked.set_exception(error)


def _check_unowned(soul: str) -> None:
    if sea.soul_pub(soul) is not None:
        raise LocalError("a soul of signed values, not of leaves")


def _refusal(soul: str, reason: str) -> SidecarError:
    if reason == outbox.SOUL_FULL and sea.soul_pub(soul) is not None:
        return LocalError("the soul is full", code=Code.TOO_LARGE)
    return UnavailableError(f"every relay refused: {reason}", code=Code.GRAPH_UNREACHABLE)
