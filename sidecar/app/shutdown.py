"""Two-stage end of the process: what is polite within a deadline, then the end whatever happens.

The first stage runs on the event loop (end signals, media, storage). The second is a thread's: it ends the
children that are left and the process, also when the loop is stuck (DESIGN section 4: 2 s after the parent,
3 s after SIGTERM, at once at the second SIGTERM). It also covers an interpreter that waits for its threads.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable

from sidecar import log

logger = log.get("shutdown")

STEP_S = 0.4
"""How long one part may take to end; all of them together fit into what politeness leaves."""

DEADLINES_S = {"stdin-eof": 1.7, "parent-gone": 1.7, "signal": 2.7, "request": 2.7}
"""From the cause to the forced end; 0.3 s of each promise are left for the kernel and a busy machine."""

EXIT_CLEAN, EXIT_USAGE, EXIT_ENVIRONMENT, EXIT_BUG = 0, 2, 3, 70


class Shutdown:
    """Collects reasons to end; the first one counts."""

    def __init__(self, on_forced: Callable[[], None], exit_now: Callable[[int], None] = os._exit) -> None:
        """``on_forced`` ends the children and removes what is on disk; it must not wait for anything."""
        self._loop = asyncio.get_running_loop()
        self._wanted = asyncio.Event()
        self._on_forced = on_forced
        self._exit = exit_now
        self._lock = threading.Lock()
        self.cause: str | None = None

    def request(self, cause: str) -> None:
        """Starts the end, from any thread. A second *signal* is the end at once."""
        with self._lock:
            first = self.cause is None
            if first:
                self.cause = cause
                last_word = threading.Timer(DEADLINES_S[cause], self._force)
                last_word.daemon = True
                last_word.start()
        if first:
            logger.info("shutdown begins", cause=cause)
            self._loop.call_soon_threadsafe(self._wanted.set)
        elif cause == "signal":
            self._end_now(EXIT_CLEAN)

    async def wanted(self) -> str:
        """Waits for the first cause."""
        await self._wanted.wait()
        assert self.cause is not None
        return self.cause

    @property
    def politeness_s(self) -> float:
        """How long end signals may take: what is left then is for media and storage."""
        return DEADLINES_S[self.cause or "request"] * 0.6

    def listen(self) -> None:
        """SIGTERM and SIGINT are causes; Python handles them where a loop cannot (Windows)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            if sys.platform == "win32":
                signal.signal(number, lambda *_: self.request("signal"))
            else:
                self._loop.add_signal_handler(number, self.request, "signal")

    def _force(self) -> None:
        logger.error("shutdown forced", cause=self.cause)
        self._end_now(EXIT_BUG)

    def _end_now(self, code: int) -> None:
        try:
            self._on_forced()
        finally:
            self._exit(code)


async def step(part: str, ending: Awaitable[None]) -> None:
    """Ends one part of the node, but does not wait for it longer than its share."""
    try:
        await asyncio.wait_for(ending, STEP_S)
    except TimeoutError:
        logger.warning("a part did not end in time", part=part)
