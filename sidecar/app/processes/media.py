"""Entry point of the media child (``python -m sidecar.app.processes.media``), where media and capture meet.

Commands come in frames on stdin, events go out in frames on the descriptor that stdout was; stray prints
end up on stderr. End of stdin means that the parent is gone: nothing of us is left a moment later.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

from sidecar import log
from sidecar.app import stdio
from sidecar.media.core import framing
from sidecar.media.pipes import PipeReader, PipeWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.media.engine import Engine
    from sidecar.media.messages import Event

RECORD_MODULE = "sidecar.app.processes.record"
EVENT_QUEUE_BYTES = 16 * 1024 * 1024
"""Two of the largest frames; a core that reads none of it is as good as gone."""
CLOSE_TIMEOUT_S = 1.0
"""To say goodbye to peers after the parent is gone; the whole process is gone within 2 s."""


def make_engine(emit: Callable[[Event], None]) -> Engine:
    """The engine with everything it needs; loads the codecs. Also used when media runs inside core."""
    from sidecar.capture.catalog import Catalog
    from sidecar.media.engine import Engine

    return Engine(emit, Catalog(), [sys.executable, "-m", RECORD_MODULE, log.level()])


class Child:
    """The process: a reader thread, the loop with the engine, a writer thread."""

    def __init__(self, events_fd: int) -> None:
        self._writer = PipeWriter(events_fd, EVENT_QUEUE_BYTES)
        self._loop = asyncio.new_event_loop()
        self._engine: Engine | None = None

    def run(self) -> None:
        """Until the parent says so or is gone."""
        self._writer.start()
        stdio.log_lost_errors(self._loop, log.get("media"))
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        PipeReader(stdio.STDIN, self._frame, self._parent_gone).start()
        engine = self._engine = make_engine(self._emit)  # commands wait in the loop's queue meanwhile
        await engine.stopped.wait()

    def _frame(self, body: bytes) -> None:
        self._loop.call_soon_threadsafe(self._take, body)

    def _take(self, body: bytes) -> None:
        assert self._engine is not None
        self._engine.post(framing.decode_command(body))

    def _emit(self, event: Event) -> None:
        if not self._writer.send(framing.frame(event)):
            log.get("media").error("events pile up, giving up")
            os._exit(1)

    def _parent_gone(self) -> None:
        """On the reader's thread: the end does not depend on a loop that may be stuck or still loading."""
        engine = self._engine
        if engine is not None:
            closing = asyncio.run_coroutine_threadsafe(engine.close(), self._loop)
            try:
                closing.result(CLOSE_TIMEOUT_S)
            except Exception:
                log.get("media").warning("media did not close in time")
        os._exit(0)


def main() -> None:
    """Runs the child; the only argument is the log level."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    events_fd = stdio.take_stdout()
    stdio.start_logs(sys.argv[1] if len(sys.argv) > 1 else "info")
    Child(events_fd).run()
    os._exit(0)


if __name__ == "__main__":
    main()
