"""What conferences need of the graph and of the control channels: leases, gossip, plans. Decides nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from sidecar.app.services.control_link import ControlLink
from sidecar.calls import events as ce
from sidecar.calls.effects import Effect
from sidecar.clock import Clock, Random
from sidecar.conference import effects as f
from sidecar.conference import events as e
from sidecar.conference import lease
from sidecar.conference.roster import ACCOUNTS_MAX
from sidecar.errors import RemoteError, SidecarError
from sidecar.graph.core import sea
from sidecar.log import Logger
from sidecar.media import messages as m
from sidecar.signaling.messages import MemberInfo

GOSSIP = "gossip"
"""Name of our notes on the control channel."""
PUT_WITHIN_S = 8.0


class Graph(Protocol):
    """What conferences use of the graph."""

    async def put_value(
        self, soul: str, key: str, value: Any, pair: Mapping[str, str], *, timeout_s: float
    ) -> None: ...
    def watch_values(self, soul: str, on_value: Callable[[str, Any, float], None]) -> Callable[[], None]: ...


class Media(Protocol):
    """What conferences use of the media service."""

    def send(self, command: m.Command) -> None: ...


class _Gossip(msgspec.Struct, frozen=True, rename="camel"):
    ages_ms: dict[str, Annotated[int, Meta(ge=0, lt=2**53)]]
    members: list[MemberInfo]
    invited: Annotated[list[Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]], Meta(max_length=64)] = []


class ConferenceService:
    """``performers`` does the effects that only conferences have; what they find out goes to ``tell``."""

    def __init__(
        self,
        graph: Graph,
        media: Media,
        control: ControlLink,
        tell: Callable[[ce.Event], None],
        *,
        clock: Clock,
        random: Random,
        log: Logger,
    ) -> None:
        self._graph = graph
        self._media = media
        self._control = control
        self._tell = tell
        self._clock = clock
        self._random = random
        self._log = log
        self._spaces: dict[str, dict[str, str]] = {}
        """Pairs of the leases that are ours, by public key."""
        self._unused: set[str] = set()
        self._watches: dict[tuple[str, str], Callable[[], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.dropped: Counter[str] = Counter()
        self.performers: Mapping[type[Effect], Callable[[Any], None]] = {
            f.PutLease: self._put_lease,
            f.WatchLease: self._watch,
            f.UnwatchLease: self._unwatch,
            f.SendGossip: self._gossip,
            f.SetSendPlan: self._plan,
        }
        control.listen(GOSSIP, self._heard)

    @contextmanager
    def lease(self) -> Iterator[str]:
        """A space for what is begun meanwhile, forgotten again if it came to nothing."""
        pub = self.new_lease()
        self._unused.add(pub)
        try:
            yield pub
        finally:
            if pub in self._unused:
                self._unused.discard(pub)
                del self._spaces[pub]

    def new_lease(self) -> str:
        """Makes a space for one session; the private half is forgotten with the last lease."""
        pair = sea.make_pair(self._random)
        self._spaces[pair["pub"]] = pair
        return pair["pub"]

    async def close(self, within_s: float) -> None:
        """Waits for the last leases to be taken, but not for long."""
        for stop in self._watches.values():
            stop()
        self._watches.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- leases ----------------------------------------------------------------------------------------

    def _put_lease(self, effect: f.PutLease) -> None:
        info = effect.info
        pair = self._spaces.get(info.lease)
        if pair is None:
            return
        self._unused.discard(info.lease)
        if info.left:
            del self._spaces[info.lease]
        value = lease.seal(lease.Lease(info, effect.others), effect.key, self._random)
        task = asyncio.create_task(self._write(effect.call_id, value, pair), name="lease")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, call_id: str, value: str, pair: Mapping[str, str]) -> None:
        try:
            soul = lease.soul(pair["pub"])
            await self._graph.put_value(soul, lease.KEY, value, pair, timeout_s=PUT_WITHIN_S)
        except SidecarError as error:
            self._log.warning("lease not written", call_id=call_id, code=error.code.value)

    def _watch(self, effect: f.WatchLease) -> None:
        key = (effect.call_id, effect.user_id)
        self._forget(key)

        def changed(name: str, value: Any, _: float) -> None:
            if name != lease.KEY or value is None:
                return
            try:
                found = lease.unseal(value, effect.key, effect.lease)
            except RemoteError as error:
                self.dropped[error.reason] += 1
                return
            self._tell(
                e.LeaseSeen(
                    call_id=effect.call_id,
                    user_id=effect.user_id,
                    info=found.info,
                    others=found.others,
                    network_ms=self._clock.network_ms(),
                )
            )

        try:
            self._watches[key] = self._graph.watch_values(lease.soul(effect.lease), changed)
        except SidecarError as error:
            self._log.warning("lease not read", call_id=effect.call_id, code=error.code.value)

    def _unwatch(self, effect: f.UnwatchLease) -> None:
        self._forget((effect.call_id, effect.user_id))

    def _forget(self, key: tuple[str, str]) -> None:
        stop = self._watches.pop(key, None)
        if stop is not None:
            stop()

    # --- control channels ----------------------------------------------------------------------------------

    def _gossip(self, effect: f.SendGossip) -> None:
        channel = self._control.channel(effect.call_id, effect.user_id)
        if channel is not None:
            data = msgspec.to_builtins(_Gossip(effect.ages_ms, effect.members, effect.invited))
            self._control.say(channel, GOSSIP, data)

    def _heard(self, peer: m.PeerRef, data: dict[str, Any]) -> None:
        try:
            said = msgspec.convert(data, _Gossip)
        except msgspec.ValidationError:
            self.dropped["gossip"] += 1
            return
        self._tell(
            e.Gossip(
                call_id=peer.call_id,
                user_id=peer.user_id,
                ages_ms=said.ages_ms,
                members=said.members[:ACCOUNTS_MAX],
                invited=said.invited,
                network_ms=self._clock.network_ms(),
            )
        )

    def _plan(self, effect: f.SetSendPlan) -> None:
        plan = effect.plan
        self._media.send(
            m.SetSendPlan(
                call_id=effect.call_id,
                user_id=effect.user_id,
                height=plan.height,
                fps=plan.fps,
                bitrate=plan.bitrate,
            )
        )
