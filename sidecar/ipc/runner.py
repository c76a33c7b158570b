"""Runs what the wire asks for: a task per waiting call and per stream, cancelled when its channel closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from sidecar.errors import UnavailableError
from sidecar.ipc.registry import Client, Pending, Registry, Stream
from sidecar.ipc.wire.server import Call, Channel, Event, ServerWire, Writable
from sidecar.ipc.workers import Workers

FAIR_ITEMS: Final = 64
"""Items after which a stream lets others run, if nothing else made it wait."""


class _Running(msgspec.Struct, eq=False):
    """The task of one channel, and what its stream waits for."""

    task: asyncio.Task[Any] | None = None
    doomed: bool = False
    cancelled: bool = False
    writable: asyncio.Future[None] | None = None

    def begin(self) -> None:
        self.task = asyncio.current_task()

    def stop(self) -> None:
        """Cancels the work; what has not begun is let in to release what it was given."""
        if not self.doomed:
            self.doomed = True
            if self.task is not None and self.task is not asyncio.current_task():
                self.cancelled = self.task.cancel()

    def end(self) -> None:
        """The task goes on to other work: a cancellation that is still counted was for this one."""
        if self.cancelled and self.task is not None:
            self.task.uncancel()


class Runner:
    """Performs the events of a ``ServerWire``; whoever feeds that passes them on to ``perform``."""

    def __init__(
        self,
        wire: ServerWire,
        registry: Registry,
        *,
        clients: Mapping[bytes, Client],
        is_clogged: Callable[[bytes], bool],
        flush: Callable[[], None],
        flush_soon: Callable[[], None],
    ) -> None:
        """``is_clogged(identity)``: answers wait for that client; ``flush()`` sends what the wire has,
        ``flush_soon()`` before the loop sleeps.

        ``clients`` are by identity and belong to the caller.
        """
        self._wire = wire
        self._registry = registry
        self._clients = clients
        self._is_clogged = is_clogged
        self._flush = flush
        self._flush_soon = flush_soon
        self._running: dict[Channel, _Running] = {}
        self._workers = Workers()
        self._closing = False
        self.started = 0
        """Tasks so far."""

    @property
    def active(self) -> int:
        """Calls and streams with a task."""
        return len(self._running)

    def perform(self, event: Event) -> None:
        if isinstance(event, Call):
            self._start(event)
        elif isinstance(event, Writable):
            self._wake(event.channel)
        else:
            self._cancel(event.channel)

    def unclogged(self, identity: bytes) -> None:
        """The answers that waited for a client are out: its streams go on."""
        for channel in list(self._running):
            if channel.peer.identity == identity:
                self._wake(channel)

    async def close(self) -> None:
        """Cancels everything that runs, tells its clients, and waits for it."""
        self._closing = True
        for running in self._running.values():
            running.stop()
        await self._workers.close()

    def _start(self, call: Call) -> None:
        channel = call.channel
        try:
            outcome = self._registry.invoke(self._clients[channel.peer.identity], call.method, call.args)
        except Exception as error:
            self._fail(channel, error, call.method)
            return
        if isinstance(outcome, Raw):
            self._wire.ok(channel, outcome)
            return
        self.started += 1
        running = self._running[channel] = _Running()
        work = (
            self._pump(channel, running, outcome, call.method)
            if isinstance(outcome, Stream)
            else self._answer(channel, running, outcome, call.method)
        )
        self._workers.start(work)

    async def _answer(self, channel: Channel, running: _Running, call: Pending, method: str) -> None:
        running.begin()
        try:
            if running.doomed:
                call.result.close()
                return
            self._wire.ok(channel, Raw(call.encode(await call.result)))
        except asyncio.CancelledError as cancelled:
            self._on_cancelled(channel, method, cancelled)
        except Exception as error:
            self._fail(channel, error, method)
        finally:
            self._running.pop(channel, None)
            running.end()
            self._flush_soon()

    async def _pump(self, channel: Channel, running: _Running, stream: Stream, method: str) -> None:
        running.begin()
        try:
            if running.doomed:
                return
            sent = 0
            async for item in stream.items:
                await self._writable(channel, running)
                self._wire.item(channel, stream.encode(item))
                self._flush()
                sent += 1
                if sent % FAIR_ITEMS == 0:
                    await asyncio.sleep(0)
            await self._writable(channel, running)
            self._wire.done(channel)
        except asyncio.CancelledError as cancelled:
            self._on_cancelled(channel, method, cancelled)
        except Exception as error:
            self._fail(channel, error, method)
        finally:
            self._running.pop(channel, None)
            running.end()
            self._flush()
            await self._close(stream, method)

    async def _close(self, stream: Stream, method: str) -> None:
        try:
            await stream.close()
        except Exception as error:
            self._registry.failure(error, method)

    async def _writable(self, channel: Channel, running: _Running) -> None:
        while channel.open and (channel.allowance.left <= 0 or self._is_clogged(channel.peer.identity)):
            running.writable = asyncio.get_running_loop().create_future()
            try:
                await running.writable
            finally:
                running.writable = None

    def _wake(self, channel: Channel) -> None:
        running = self._running.get(channel)
        if running is not None and running.writable is not None and not running.writable.done():
            running.writable.set_result(None)

    def _cancel(self, channel: Channel) -> None:
        running = self._running.get(channel)
        if running is not None:
            running.stop()

    def _on_cancelled(self, channel: Channel, method: str, cancelled: asyncio.CancelledError) -> None:
        """A channel that is still open was not cancelled by its client."""
        if channel.open and self._closing:
            self._fail(channel, UnavailableError("the sidecar is stopping"), method)
        elif channel.open:
            error = RuntimeError("the handler was cancelled from within")
            error.__cause__ = cancelled
            self._fail(channel, error, method)

    def _fail(self, channel: Channel, error: Exception, method: str) -> None:
        failure = self._registry.failure(error, method)
        details = msgspec.json.encode(failure.to_wire(), enc_hook=str).decode("utf-8")
        self._wire.error(channel, failure.code, failure.message, details)
