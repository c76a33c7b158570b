"""Notices that the event loop is blocked and says where (FAULTS I12).

A thread looks whether the loop still ticks, and writes down what the main thread is doing when it does not.
Audio does not wait for this loop: media is a process of its own. How long the loop stood still is measured by
the loop itself, so that it is counted also where the thread got no turn (C code that holds the interpreter).
A process that was stopped has not blocked itself.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic, process_time

from sidecar.log import Logger

BLOCKED_S = 0.5
"""Half a second is heard by a user who clicks, and is far more than any handler of ours takes."""
TICK_S = 0.2
"""Of the loop and of the thread: cheap enough to be always on."""
LOG_EVERY_S = 60.0
"""Between two stacks in the log."""
SHOWN_S = 60.0
"""How long health tells of the last time."""
STACK_MAX = 1_400
"""Characters of the innermost frames; a log line takes no more."""


class Watchdog:
    """Started on the loop that it watches. ``count``: how often the loop was blocked."""

    def __init__(
        self,
        log: Logger,
        now: Callable[[], float] = monotonic,
        worked_s: Callable[[], float] = process_time,
    ) -> None:
        """``worked_s``: processor time of this process."""
        self._log = log
        self._now = now
        self._worked_s = worked_s
        self._worked_before_s = worked_s()
        self._thread_id = threading.get_ident()
        self._ended = threading.Event()
        self._ticked_at = now()
        self._looked_at = now()
        self._watching_s = 0.0
        """For how long the thread has been looking since the last tick."""
        self._logged_at = -LOG_EVERY_S
        self._timer: asyncio.TimerHandle | None = None
        self._last_at = -SHOWN_S
        self._last_s = 0.0
        self.count = 0

    def start(self) -> None:
        """Begins to watch the running loop."""
        self.tick()
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Ends the thread at its next look."""
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()

    def problem(self) -> str | None:
        """For health: what there is to say, if it was not long ago."""
        if self._now() - self._last_at > SHOWN_S:
            return None
        return f"the event loop stood still for {self._last_s:.1f} s, {self.count} times since the start"

    def tick(self) -> None:
        """The loop's own part: it runs again, and knows for how long it did not."""
        now, worked_s = self._now(), self._worked_s()
        late_s = now - self._ticked_at - TICK_S
        working_s, watching_s = worked_s - self._worked_before_s, self._watching_s
        self._ticked_at, self._worked_before_s, self._watching_s = now, worked_s, 0.0
        # Otherwise the whole process stood still: it was stopped, or given no time by a busy machine.
        if late_s >= BLOCKED_S and max(watching_s, working_s) >= late_s / 2:
            self.count += 1
            self._last_at, self._last_s = now, late_s
            self._log.warning("event loop was blocked", seconds=round(late_s, 2), count=self.count)
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self.tick)

    def look(self) -> None:
        """The thread's part: logs the stack of a loop that is blocked, once a minute at most."""
        now = self._now()
        passed_s, self._looked_at = now - self._looked_at, now
        stood_still = passed_s >= TICK_S + BLOCKED_S  # the whole process did, or it would have looked earlier
        self._watching_s += 0.0 if stood_still else passed_s
        if stood_still or now - self._ticked_at < TICK_S + BLOCKED_S or now - self._logged_at < LOG_EVERY_S:
            return
        self._logged_at = now
        frame = sys._current_frames().get(self._thread_id)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        self._log.warning("event loop is blocked", traceback=stack[-STACK_MAX:])

    def _run(self) -> None:
        while not self._ended.wait(TICK_S):
            self.look()
