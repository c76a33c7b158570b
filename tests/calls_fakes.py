"""Stand-ins for the services around calls: they note what they are asked, and answer as told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sidecar.app.services.call_media import CallMedia
from sidecar.app.services.calls import CallsService
from sidecar.app.services.policy import Policy
from sidecar.calls.events import Relation
from sidecar.calls.notes import LiveNote
from sidecar.calls.rules import Rules
from sidecar.calls.switchboard import Switchboard
from sidecar.conference.exchange import Exchange
from sidecar.conference.facts import Self
from sidecar.conference.hall import Hall
from sidecar.conference.rules import ConferenceRules
from sidecar.log import Logger
from sidecar.media import messages as m
from sidecar.schema import CallRecord, MediaTrackKind
from sidecar.signaling.messages import Incoming, Kind
from sidecar.trust.social import Change, Contact, Fact, SocialState
from tests.calls_lab import ALICE, BOB, WALL_MS

SOURCES = {MediaTrackKind.AUDIO: "tone:440", MediaTrackKind.VIDEO: "pattern:"}


class FakeClock:
    """The loop's own clock plus what it is set forward; unix time stands still."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead_s

    def wall_ms(self) -> int:
        return WALL_MS

    def network_ms(self) -> int:
        return WALL_MS


class FakeRandom:
    def __init__(self) -> None:
        self.count = 0

    def bytes(self, n: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(n, "big")


class FakeMedia:
    """``sent`` are the commands, ``asked`` the requests; ``answers`` by request type (or errors to raise)."""

    def __init__(self) -> None:
        self.sent: list[m.Command] = []
        self.asked: list[Any] = []
        self.answers: dict[type[Any], Any] = {}
        self.on_send: Callable[[m.Command], None] = lambda command: None

    def send(self, command: m.Command) -> None:
        self.sent.append(command)
        self.on_send(command)

    async def request(self, request: Any) -> Any:
        self.asked.append(request)
        answer = self.answers.get(type(request))
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeSignaling:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.relations = {BOB: Relation.CONTACT}
        self.prefetched: list[str] = []
        self.sessions: dict[str, tuple[str, str]] = {}

    async def relation(self, user_id: str) -> Relation:
        return self.relations.get(user_id, Relation.UNKNOWN)

    async def send(self, **signal: Any) -> None:
        self.sent.append(signal)
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error

    def devices(self, user_id: str) -> tuple[str, ...]:
        return ()

    def prefetch(self, user_id: str) -> None:
        self.prefetched.append(user_id)

    def join_session(self, call_id: str, session: str, user_id: str) -> None:
        self.sessions[call_id] = (session, user_id)

    def leave_session(self, call_id: str) -> None:
        del self.sessions[call_id]

    def kinds(self) -> list[Kind]:
        return [signal["kind"] for signal in self.sent]


class FakeHub:
    def __init__(self) -> None:
        self.events: list[tuple[str, msgspec.Struct]] = []

    def emit(self, name: str, data: msgspec.Struct, *, to: str | None = None) -> None:
        self.events.append((name, data))

    def names(self) -> list[str]:
        return [name for name, _ in self.events]


class FakeHistory:
    def __init__(self) -> None:
        self.records: list[CallRecord] = []
        self.added = asyncio.Event()

    def add(self, record: CallRecord) -> None:
        self.records.append(record)
        self.added.set()

    def newest(self, limit: int, before_ms: int | None = None) -> list[CallRecord]:
        upper = before_ms if before_ms is not None else 2**62
        return [record for record in reversed(self.records) if record.ended_at < upper][:limit]


class FakeJournal:
    def __init__(self) -> None:
        self.notes: list[LiveNote] = []

    def keep(self, notes: Iterable[LiveNote]) -> None:
        self.notes = list(notes)


class Bench:
    """A calls service with stand-ins all round."""

    def __init__(self, tmp_path: Any, rules: Rules | None = None) -> None:
        self.media, self.signaling = FakeMedia(), FakeSignaling()
        self.hub, self.history, self.journal = FakeHub(), FakeHistory(), FakeJournal()
        self.clock = FakeClock()
        self.social = SocialState([Change(Fact.FRIEND, BOB, Contact(BOB, "Bob", "Bob's key"))])
        self.board = Switchboard(rules or Rules(), ALICE, "Alice")
        self.calls = CallsService(
            Exchange(
                self.board,
                Hall(ConferenceRules(), Self(ALICE, "our key", "our-device", lambda _: ""), "Alice"),
                str,
            ),
            media=self.media,
            signaling=self.signaling,
            hub=self.hub,
            history=self.history,
            journal=self.journal,
            policy=Policy(self.social, ALICE),
            sources=SOURCES,
            ice_servers=[m.IceServer(urls=["stun:127.0.0.1:3478"])],
            more={},
            clock=self.clock,
            random=FakeRandom(),
            log=Logger("calls"),
        )
        self.recordings = tmp_path / "recordings"
        self.call_media = CallMedia(
            self.calls, self.media, sources=SOURCES, recordings=self.recordings, random=FakeRandom()
        )

    def on_media(self, event: m.Event) -> None:
        """As the composition root passes media's events on."""
        self.calls.on_media_event(event)
        self.call_media.on_media_event(event)

    def later(self, seconds: float) -> None:
        """Sets the clock forward and lets what is due happen."""
        self.clock.ahead_s += seconds
        self.calls._on_timer()

    def receive(self, signal: Any, user_id: str = BOB) -> None:
        self.calls.on_signal(Incoming(signal=signal, user_id=user_id, contact=True, verified_name="Bob"))


async def turn() -> None:
    """Lets every task that can run, run."""
    for _ in range(5):
        await asyncio.sleep(0)
