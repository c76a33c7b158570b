"""Two media engines on loopback, joined by handing each other's SDP over: what core does, without core."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sidecar.app.processes.media import make_engine
from sidecar.media.messages import (
    ApplyAnswer,
    CloseCall,
    ClosePeer,
    Configure,
    Event,
    GetStats,
    Line,
    LocalDescription,
    OpenCall,
    OpenPeer,
    PeerConnected,
    PeerRef,
    Ready,
    Reply,
    Role,
)

LOOPBACK = ["127.0.0.0/8"]
SOURCES = {Line.AUDIO: "tone:440", Line.CAMERA: "pattern:color=ff8800,size=320x180,fps=30"}
TIMEOUT_S = 30.0

E_ = TypeVar("E_")


class Node:
    """An engine, the events it emitted, and requests to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[Event] = []
        self._changed = asyncio.Event()
        self._ids = itertools.count(1)
        self.on_event: Callable[[Event], None] = lambda event: None
        self.engine = make_engine(self._emit)

    async def configure(self, **settings: Any) -> None:
        self.engine.post(Configure(**{"ice_interfaces": LOOPBACK, **settings}))
        await self.event(Ready)

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()
        self.on_event(event)

    async def event(
        self,
        kind: type[E_],
        matches: Callable[[E_], bool] = lambda event: True,
        *,
        timeout: float = TIMEOUT_S,
    ) -> E_:
        """The first event of a kind that matches, past or to come."""
        async with asyncio.timeout(timeout):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and matches(event):
                        return event
                self._changed.clear()
                await self._changed.wait()

    async def request(self, kind: type[Any], **fields: Any) -> Any:
        """The result of a request; the error's wire form is raised as AssertionError."""
        reply = await self.reply(kind, **fields)
        assert reply.error is None, reply.error
        return reply.result

    async def reply(self, kind: type[Any], **fields: Any) -> Reply:
        number = next(self._ids)
        self.engine.post(kind(request_id=number, **fields))
        return await self.event(Reply, lambda reply: reply.request_id == number)

    async def stats(self, call_id: str = "call_1") -> dict[str, Any]:
        """The only participant's statistics, {} while there is none."""
        result = await self.request(GetStats, call_id=call_id)
        return result["participants"][0] if result["participants"] else {}

    async def stats_when(
        self,
        condition: Callable[[dict[str, Any]], bool],
        *,
        call_id: str = "call_1",
        timeout: float = TIMEOUT_S,
    ) -> dict[str, Any]:
        """Asks until ``condition`` holds of the statistics."""
        async with asyncio.timeout(timeout):
            while True:
                stats = await self.stats(call_id)
                if condition(stats):
                    return stats
                await asyncio.sleep(0.05)


class Pair:
    """``alice`` offers, ``bob`` answers."""

    def __init__(self) -> None:
        self.alice, self.bob = Node("alice"), Node("bob")
        self.alice.on_event = lambda event: self._carry(event, self.bob)
        self.bob.on_event = lambda event: self._carry(event, self.alice)

    def open(
        self,
        call_id: str = "call_1",
        gen: int = 0,
        *,
        alice: dict[Line, str] = SOURCES,
        bob: dict[Line, str] = SOURCES,
        muted: list[Line] | None = None,
    ) -> None:
        if gen == 0:
            self.alice.engine.post(OpenCall(call_id=call_id, sources=alice, muted=muted or []))
            self.bob.engine.post(OpenCall(call_id=call_id, sources=bob))
        peer = PeerRef(call_id=call_id, user_id="bob", gen=gen)
        self.alice.engine.post(OpenPeer(peer=peer, role=Role.OFFERER))

    async def connected(self, call_id: str = "call_1", gen: int = 0) -> None:
        for node in (self.alice, self.bob):
            await node.event(PeerConnected, lambda e: (e.peer.call_id, e.peer.gen) == (call_id, gen))

    def close(self, call_id: str = "call_1") -> None:
        for node in (self.alice, self.bob):
            node.engine.post(CloseCall(call_id=call_id))

    def close_peers(self, call_id: str = "call_1", gen: int = 0) -> None:
        for node, other in ((self.alice, "bob"), (self.bob, "alice")):
            node.engine.post(ClosePeer(peer=PeerRef(call_id=call_id, user_id=other, gen=gen)))

    def _carry(self, event: Event, to: Node) -> None:
        if not isinstance(event, LocalDescription):
            return
        sender = "alice" if to is self.bob else "bob"
        peer = PeerRef(call_id=event.peer.call_id, user_id=sender, gen=event.peer.gen)
        if event.type == "offer":
            to.engine.post(OpenPeer(peer=peer, role=Role.ANSWERER, remote_sdp=event.sdp))
        else:
            to.engine.post(ApplyAnswer(peer=peer, sdp=event.sdp))


@asynccontextmanager
async def pair(**settings: Any) -> AsyncIterator[Pair]:
    """A configured pair that is closed at the end."""
    both = Pair()
    try:
        await asyncio.gather(both.alice.configure(**settings), both.bob.configure(**settings))
        yield both
    finally:
        await asyncio.gather(both.alice.engine.close(), both.bob.engine.close())


def decoded(line: str = "video", frames: int = 1) -> Callable[[dict[str, Any]], bool]:
    """Whether so many pictures of a line were decoded."""
    return lambda stats: stats.get(line, {}).get("framesDecoded", 0) >= frames


async def until(condition: Callable[[], bool], *, timeout: float = TIMEOUT_S) -> None:
    """Looks again and again until ``condition`` holds: for counts that nothing announces."""
    async with asyncio.timeout(timeout):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)
