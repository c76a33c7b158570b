"""Whole nodes in one process: channels, calls, conferences, trust and signaling, on a graph in memory.

Only media and the wires are played: a connection comes up as soon as both ends have described it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar import log
from sidecar.app.calling import Calling
from sidecar.app.channels import social
from sidecar.app.channels.call import CallChannels
from sidecar.app.channels.conference import ConferenceChannels
from sidecar.app.device_file import DeviceFile
from sidecar.app.services.control_link import ControlLink
from sidecar.app.services.signaling import SignalingService
from sidecar.app.services.social import SocialChange, SocialService
from sidecar.conference.accounts import signer
from sidecar.conference.facts import Self
from sidecar.config import resolve
from sidecar.errors import SidecarError, UnavailableError
from sidecar.graph.core import sea
from sidecar.ipc.registry import Client, Pending, Registry
from sidecar.media import messages as m
from sidecar.schema import CHANNELS, KeyChanged, Permission
from sidecar.trust.identity import Identity
from sidecar.trust.pins import KeyChange
from sidecar.trust.social import Change, SocialState
from tests.calls_fakes import FakeHistory, FakeHub, FakeJournal
from tests.signaling_kit import HandClock, MemoryGraph, MemoryTrust, SeededRandom, friend

SEA_PAIR = sea.make_pair(SeededRandom(99))
"""Gun's keys of every home."""
EVERYTHING = frozenset(permission.value for permission in Permission)
Document = dict[str, Any]


async def settle(turns: int = 60) -> None:
    """Lets everything run that needs no time."""
    for _ in range(turns):
        await asyncio.sleep(0)


class HomeGraph(MemoryGraph):
    """The graph with the mutable values of leases."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Any] = {}
        self._readers: dict[str, list[Callable[[str, Any, float], None]]] = {}

    async def put_value(
        self, soul: str, key: str, value: Any, pair: Mapping[str, str], *, timeout_s: float
    ) -> None:
        self.values[soul] = value
        for reader in self._readers.get(soul, []):
            reader(key, value, 0.0)

    def watch_values(self, soul: str, on_value: Callable[[str, Any, float], None]) -> Callable[[], None]:
        readers = self._readers.setdefault(soul, [])
        readers.append(on_value)
        if soul in self.values:
            on_value("lease", self.values[soul], 0.0)
        return lambda: readers.remove(on_value)


class PlayedMedia:
    """Media that can describe and connect, and notes what it was told."""

    def __init__(self) -> None:
        self.sent: list[m.Command] = []
        self.tell: Callable[[m.Event], None]
        self.carry: Callable[[m.SendControl], None]

    def send(self, command: m.Command) -> None:
        self.sent.append(command)
        loop = asyncio.get_running_loop()
        if isinstance(command, m.SendControl):
            self.carry(command)
        if isinstance(command, m.OpenPeer):
            kind = "offer" if command.remote_sdp is None else "answer"
            made = m.LocalDescription(peer=command.peer, type=kind, sdp=f"v=0 {kind} {len(self.sent)}")
            loop.call_soon(self.tell, made)
        if isinstance(command, m.ApplyAnswer) or (isinstance(command, m.OpenPeer) and command.remote_sdp):
            loop.call_soon(loop.call_soon, self.tell, m.PeerConnected(peer=command.peer))

    async def request(self, request: Any) -> Any:
        return None

    def connections(self) -> set[str]:
        """The users to whom it has ever begun a connection."""
        return {command.peer.user_id for command in self.sent if isinstance(command, m.OpenPeer)}

    def opened(self) -> list[m.Command]:
        """What has made, or could make, something known about this machine."""
        return [command for command in self.sent if isinstance(command, m.OpenCall | m.OpenPeer)]


class Facts:
    """The disk of a social copy."""

    def save_facts(self, changes: Iterable[Change], on_done: Callable[[bool], None]) -> None:
        asyncio.get_running_loop().call_soon(on_done, True)


class Home:
    """One node and its one client."""

    def __init__(
        self,
        graph: HomeGraph,
        clock: HandClock,
        me: Identity,
        folder: Path,
        known: Document,
        seed: int,
        calls: Document | None,
        trust: MemoryTrust | None,
    ) -> None:
        self.me = me
        self.clock = clock
        self.media, self.hub, self.history = PlayedMedia(), FakeHub(), FakeHistory()
        self.counters: dict[str, int] = {}
        self.trust = trust or MemoryTrust()
        self.full = False
        random = SeededRandom(seed)
        state = SocialState()
        self.social = SocialService(
            state,
            Facts(),
            me.fingerprint,
            configured=known,
            on_change=self._social_changed,
            log=log.get("trust"),
        )
        control = ControlLink(lambda note: self.calling.media.send(note), clock=clock, counters=self.counters)
        self.signaling = SignalingService(
            graph,
            me,
            DeviceFile.inside(str(folder), random),
            state,
            control=control,
            memory=self.trust,
            clock=clock,
            random=random,
            log=log.get("signaling"),
            on_signal=lambda incoming: self.calling.calls.on_signal(incoming),
            on_key_changed=self._key_changed,
            counters=self.counters,
        )
        self.calling = Calling(
            resolve({"media": {"camera": "pattern:", "microphone": "tone:440"}, "calls": calls or {}}),
            Self(me.fingerprint, me.pub, self.signaling.device, signer(me)),
            social=state,
            media=self.media,
            signaling=self.signaling,
            control=control,
            graph=graph,
            hub=self.hub,
            sea_pair=SEA_PAIR,
            history=self.history,
            journal=FakeJournal(),
            clock=clock,
            random=random,
            recordings=folder / "recordings",
            on_media_event=lambda event: self.calling.on_media_event(event),
        )
        self.media.tell = self.calling.on_media_event
        self.registry = Registry(log.get("ipc"), lambda: "error-id")
        CallChannels(self.calling.calls, self.calling.call_media, self.history, self._check_room).register(
            self.registry
        )
        ConferenceChannels(self.calling.calls, self.calling.meetings, self._check_room).register(
            self.registry
        )
        social.register(self.registry, self.social)
        self.client = Client("c1", EVERYTHING)

    def _check_room(self) -> None:
        if self.full:
            raise UnavailableError("full")

    def _social_changed(self, change: SocialChange) -> None:
        if change.contacts:
            self.signaling.follow_contacts()
        self.calling.on_social_change(change)

    def _key_changed(self, change: KeyChange) -> None:
        self.hub.emit("aleph:keyChanged", KeyChanged(**change._asdict()))

    @property
    def user_id(self) -> str:
        return self.me.fingerprint

    @property
    def dropped(self) -> Mapping[str, int]:
        """What came to nothing after the checks of the inbox, by reason."""
        return self.calling.calls.board.dropped

    # --- as a client -----------------------------------------------------------------------------------

    async def __call__(self, name: str, **params: Any) -> Any:
        """Calls a channel; the result has the schema's shape."""
        raw = msgspec.Raw(msgspec.msgpack.encode([params or None]))
        outcome = self.registry.invoke(self.client, name, raw)
        assert isinstance(outcome, Pending | msgspec.Raw)
        answer = outcome.encode(await outcome.result) if isinstance(outcome, Pending) else bytes(outcome)
        result = msgspec.msgpack.decode(answer)
        msgspec.convert(result, CHANNELS[name].result)
        await settle()
        return result

    async def refused(self, name: str, **params: Any) -> SidecarError:
        """Calls a channel that must answer an error of those that its schema lists."""
        with pytest.raises(SidecarError) as caught:
            await self(name, **params)
        code = caught.value.code.value
        assert code in CHANNELS[name].errors, f"{name} may not answer {code}"
        return caught.value

    async def code(self, name: str, **params: Any) -> str:
        return (await self.refused(name, **params)).code.value

    def events(self, name: str) -> list[Any]:
        """The events of that name that the client was told, in order."""
        return [data for event, data in self.hub.events if event == f"aleph:{name}"]

    def later(self, seconds: float) -> None:
        """Lets time pass for the machines of this node."""
        self.clock.advance(seconds)
        self.calling.calls._on_timer()

    @property
    def said(self) -> int:
        """How many signals it has sent: what others may have learnt of it."""
        return self.counters.get("signal.sent", 0)


class Street:
    """Homes on one graph with one clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.graph = HomeGraph()
        self.clock = HandClock()
        self.homes: list[Home] = []

    async def home(
        self,
        me: Identity,
        /,
        *contacts: Identity,
        calls: Document | None = None,
        trust: MemoryTrust | None = None,
        **known: Any,
    ) -> Home:
        """A running node; ``known`` is what its front end has handed over, ``calls`` its configuration."""
        number = len(self.homes)
        document = {"friends": [friend(who) for who in contacts], **known}
        made = Home(self.graph, self.clock, me, self.folder / str(number), document, number, calls, trust)
        made.media.carry = partial(self._carry, made)
        self.homes.append(made)
        await made.signaling.start()
        await settle()
        return made

    def _carry(self, sender: Home, said: m.SendControl) -> None:
        """A word over the control channel of a connection."""
        peer = m.PeerRef(call_id=said.peer.call_id, user_id=sender.user_id, gen=said.peer.gen)
        heard = m.ControlHeard(peer=peer, name=said.name, data=said.data)
        for home in self.homes:
            if home.user_id == said.peer.user_id:
                asyncio.get_running_loop().call_soon(home.media.tell, heard)

    async def later(self, seconds: float) -> None:
        """Lets time pass, second by second, for everybody."""
        for _ in range(round(seconds)):
            self.clock.advance(1)
            for home in self.homes:
                home.signaling.delivery.tick()
                home.calling.calls._on_timer()
            await settle()

    async def close(self) -> None:
        for home in self.homes:
            await home.calling.close(app_gone=False, within_s=0.1)
            await home.signaling.stop()
