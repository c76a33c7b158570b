"""Tasks that are used again: for coroutines that mostly finish without waiting.

A fresh task costs a call as much as everything else in Python together. Here a burst of coroutines runs one
after the other in the same task; only when one of them waits, the next task takes over the rest. At rest one
idle task is left. Each coroutine still has a task to itself *while it runs*, so timeouts and cancellation
work as usual; context variables are shared with what ran there before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any


class Workers:
    """Runs what ``start`` is given, in order of arrival; a coroutine must not raise."""

    def __init__(self) -> None:
        self._jobs: deque[Coroutine[Any, Any, None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: asyncio.Future[None] | None = None
        self._coming = False
        """A task was woken and has not looked at the jobs yet."""
        self._relief_due = False
        self._closing = False

    def start(self, job: Coroutine[Any, Any, None]) -> None:
        """Runs ``job`` in the next turn of the loop."""
        self._jobs.append(job)
        if not self._coming:
            self._call_one()

    async def close(self) -> None:
        """Waits until what runs has ended; the caller has seen to it that it does."""
        self._closing = True
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def _call_one(self) -> None:
        self._coming = True
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None
        else:
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while True:
            self._coming = False
            while self._jobs:
                job = self._jobs.popleft()
                if self._jobs and not self._relief_due:
                    self._relief_due = True
                    asyncio.get_running_loop().call_soon(self._relieve)
                await job
            if self._idle is not None or self._closing:
                return
            self._idle = rest = asyncio.get_running_loop().create_future()
            try:
                await rest
            finally:
                if self._idle is rest:
                    self._idle = None

    def _relieve(self) -> None:
        """Runs when no task does: jobs that are left mean that their task waits for something."""
        self._relief_due = False
        if self._jobs and not self._coming:
            self._call_one()
