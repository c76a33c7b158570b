"""Entry point of the record child (``python -m sidecar.app.processes.record``): frames in, files out.

A process of its own, because muxing and disks stall for seconds at times and a call must not. Ends with
the Finish message or the end of stdin; either way the files are finished first.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sidecar import log
from sidecar.app import stdio
from sidecar.errors import InternalError
from sidecar.media.core.framing import FrameReader, frame
from sidecar.media.record import messages

if TYPE_CHECKING:
    from sidecar.media.record.mixed import MixedWriter
    from sidecar.media.record.tracks import TracksWriter

READ_BYTES = 256 * 1024


def main() -> None:
    """Runs the child; the only argument is the log level."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = stdio.take_stdout()
    stdio.start_logs(sys.argv[1] if len(sys.argv) > 1 else "info")
    stdio.write_once(answers, frame(record(read_messages(stdio.STDIN))))


def record(incoming: Iterator[messages.AnyRecord]) -> messages.Done:
    """Writes what comes in until it ends; a full disk ends it early."""
    begin = next(incoming, None)
    if not isinstance(begin, messages.Begin):
        return messages.Done(duration_ms=0, error="nothing to record")
    error = ""
    duration_ms = 0
    try:
        writer = _writer(begin)
        try:
            for message in incoming:
                if not isinstance(message, messages.Frame):
                    break
                writer.write(message)
        finally:
            duration_ms = writer.close()
    except OSError as failure:
        error = failure.strerror or str(failure)
        log.get("record").error("a recording cannot be written", reason=error)
    return messages.Done(duration_ms=duration_ms, error=error)


def read_messages(fd: int) -> Iterator[messages.AnyRecord]:
    """Messages from a pipe until it ends."""
    frames = FrameReader()
    while data := _read(fd):
        try:
            bodies = frames.feed(data)
        except InternalError:
            return
        for body in bodies:
            yield messages.decode(body)


def _writer(begin: messages.Begin) -> TracksWriter | MixedWriter:
    if begin.mode is messages.Mode.TRACKS:
        from sidecar.media.record.tracks import TracksWriter

        return TracksWriter(begin.path)
    from sidecar.media.record.mixed import MixedWriter

    return MixedWriter(begin.path)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, READ_BYTES)
    except OSError:
        return b""


if __name__ == "__main__":
    main()
