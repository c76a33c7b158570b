"""Work of a service that nobody waits for, ended with the service."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from sidecar.errors import SidecarError
from sidecar.log import Logger


class Errands:
    """Tasks on their way."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Begins work; a ``SidecarError`` of it only shows in the log: the graph goes on trying, and health
        tells of its state."""
        task = asyncio.create_task(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancels what has not ended."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _quietly(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except SidecarError as error:
            self._log.debug("work failed that nobody waits for", code=error.code.value)
