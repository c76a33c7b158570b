"""What runs for a channel, and how it ends: answered, cancelled, broken, before it began."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgpack
import msgspec
import pytest

from sidecar import log
from sidecar.ipc.registry import Client, Registry
from sidecar.ipc.runner import FAIR_ITEMS, Runner
from sidecar.ipc.wire.directory import Directory
from sidecar.ipc.wire.messages import MessageIds
from sidecar.ipc.wire.server import ServerWire


class Spec(NamedTuple):
    name: str
    params: type[msgspec.Struct] | None = None
    stream: bool = False
    permission: str | None = None


class Rig:
    """A wire and a runner without a socket."""

    def __init__(self) -> None:
        names = ("now", "later", "hang", "stubborn", "unencodable")
        specs = [*(Spec(name) for name in names), Spec("items", stream=True), Spec("rude", stream=True)]
        registry = Registry(log.get("ipc"), lambda: "e1", {spec.name: spec for spec in specs})
        registry.channel("now", lambda _, __: 1)
        for name in ("later", "hang", "stubborn", "unencodable"):
            registry.channel(name, getattr(self, name))
        registry.stream("items", self.items)
        registry.stream("rude", self.rude)
        self.wire = ServerWire(Directory("rig", {}), MessageIds("s"))
        self.wire.connect(b"A")
        self.seen: list[str] = []
        self.clogged = False
        self.runner = Runner(
            self.wire,
            registry,
            clients={b"A": Client("c1", frozenset())},
            is_clogged=lambda _: self.clogged,
            flush=lambda: None,
            flush_soon=lambda: None,
        )

    async def later(self, _: Client, __: None) -> int:
        return 2

    async def hang(self, _: Client, __: None) -> None:
        self.seen.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            self.seen.append("ended")

    async def stubborn(self, _: Client, __: None) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.seen.append("shrugged")
        return 3

    async def unencodable(self, _: Client, __: None) -> object:
        return object()

    async def items(self, _: Client, __: None) -> AsyncIterator[int]:
        try:
            for n in range(1000):
                yield n
        finally:
            self.seen.append("closed")

    async def rude(self, _: Client, __: None) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            raise ValueError("even at the end")

    def send(self, name: str, args: Any = (None,), to: str | None = None) -> None:
        header: dict[str, Any] = {"message_id": name, "v": 3}
        if to is not None:
            header["response_to"] = to
        event = self.wire.receive(b"A", msgpack.packb([header, name, args]), 0.0)
        if event is not None:
            self.runner.perform(event)

    async def sent(self) -> list[Any]:
        for _ in range(10):
            await asyncio.sleep(0)
        out = []
        for outgoing in self.wire.take_outgoing():
            header, name, args = msgpack.unpackb(outgoing.payload)
            out.append((header["response_to"], name, args if name != "ERR" else args[0]))
        return out


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.runner.close()
    assert made.runner.active == 0


async def test_a_plain_function_is_answered_in_place(rig: Rig) -> None:
    rig.send("now")
    assert rig.wire.outgoing
    assert rig.runner.active == 0


async def test_coroutines_are_answered_later(rig: Rig) -> None:
    rig.send("later")
    assert not rig.wire.outgoing
    assert rig.runner.active == 1
    assert await rig.sent() == [("later", "OK", [2])]
    assert rig.runner.active == 0


async def test_a_result_that_cannot_be_encoded_is_internal(rig: Rig) -> None:
    rig.send("unencodable")
    assert await rig.sent() == [("unencodable", "ERR", "internal")]


async def test_a_cancelled_call_ends_and_the_next_is_untouched(rig: Rig) -> None:
    rig.send("hang")
    assert await rig.sent() == []
    rig.send("_zpc_cancel", [], to="hang")
    rig.send("later")
    assert await rig.sent() == [("later", "OK", [2])]
    assert rig.seen == ["begun", "ended"]
    assert rig.runner.active == 0


async def test_a_call_cancelled_before_it_began_never_begins(rig: Rig) -> None:
    rig.send("hang")
    rig.send("_zpc_cancel", [], to="hang")
    rig.send("items")
    rig.send("_zpc_cancel", [], to="items")
    assert await rig.sent() == []
    assert rig.seen == []
    assert rig.runner.active == 0


async def test_a_handler_that_ignores_its_cancellation_answers_nobody(rig: Rig) -> None:
    rig.send("stubborn")
    assert await rig.sent() == []
    rig.send("_zpc_cancel", [], to="stubborn")
    rig.send("hang")
    assert await rig.sent() == []
    assert rig.seen == ["shrugged", "begun"]
    assert rig.runner.active == 1, "the cancellation does not reach what runs in the same task afterwards"


async def test_a_stream_waits_for_credit_and_for_the_socket(rig: Rig) -> None:
    rig.send("items")
    assert await rig.sent() == [("items", "STREAM", 0)]
    rig.clogged = True
    rig.send("_zpc_more", [2], to="items")
    assert await rig.sent() == []
    rig.clogged = False
    rig.runner.unclogged(b"B")
    assert await rig.sent() == []
    rig.runner.unclogged(b"A")
    assert [args for _, _, args in await rig.sent()] == [1, 2]
    rig.send("_zpc_cancel", [], to="items")
    assert await rig.sent() == []
    assert rig.seen == ["closed"]


async def test_a_stream_with_much_credit_lets_others_run(rig: Rig) -> None:
    rig.send("items")
    await rig.sent()
    rig.send("_zpc_more", [900], to="items")
    rig.send("later")
    answers = await rig.sent()
    assert answers.index(("later", "OK", [2])) <= 2 * FAIR_ITEMS


async def test_a_source_that_breaks_while_closing_breaks_nothing_else(rig: Rig) -> None:
    rig.send("rude")
    assert await rig.sent() == [("rude", "STREAM", 1)]
    rig.send("_zpc_cancel", [], to="rude")
    rig.send("later")
    assert await rig.sent() == [("later", "OK", [2])]


async def test_closing_tells_every_open_channel(rig: Rig) -> None:
    rig.send("hang")
    rig.send("items")
    await rig.sent()
    await rig.runner.close()
    assert sorted(await rig.sent()) == [("hang", "ERR", "resource"), ("items", "ERR", "resource")]
    assert rig.seen == ["begun", "ended", "closed"] or rig.seen == ["begun", "closed", "ended"]
