"""What sources that need a thread have in common: a slot for the latest picture, never a queue."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sidecar.frames import Picture, SourceEndedError


class LatestPicture:
    """Runs ``work(self)`` on a thread until ``close``; it publishes pictures and looks at ``closing``.

    However ``work`` ends, the source has ended for whoever asks for the next picture.
    """

    def __init__(self, name: str, fps: float, work: Callable[[LatestPicture], None]) -> None:
        self.fps = fps
        self.closing = threading.Event()
        self._work = work
        self._picture: Picture | None = None
        self._taken = True
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def publish(self, picture: Picture) -> None:
        """Thread: replaces whatever nobody took."""
        self._picture, self._taken = picture, False

    def picture(self, at: float) -> Picture | None:
        """The latest picture, None when it was taken before."""
        if self._ended:
            raise SourceEndedError
        if self._taken:
            return None
        self._taken = True
        return self._picture

    def close(self) -> None:
        """The thread ends by itself."""
        self.closing.set()

    def _run(self) -> None:
        try:
            self._work(self)
        finally:
            self._ended = True


def fit(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """The largest even size of the same shape within the limits, never larger than the picture itself."""
    scale = min(1.0, max_width / width, max_height / height)
    return max(2, round(width * scale) & ~1), max(2, round(height * scale) & ~1)
