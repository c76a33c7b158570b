"""A recording in the player most people have: Chromium reads its length and size, seeks and plays it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import ClassVar

import pytest

from sidecar.app.processes.record import record
from sidecar.media.messages import Line
from sidecar.media.record.messages import Mode
from tests.peers import need
from tests.unit.test_media_record import in_time, messages, pictures, sounds

PAGE = b"""<video id="video" src="/clip.webm" muted></video><script>
const video = document.getElementById('video');
const say = text => fetch('/said', {method: 'POST', body: text});
video.onloadedmetadata = () => {
  say(`${video.duration} ${video.videoWidth}x${video.videoHeight}`); video.currentTime = 3 };
video.onseeked = () => { say(`at ${video.currentTime}`); video.play() };
video.onended = () => { say('ended') };
video.onerror = () => { say(`error ${video.error.message}`) };
</script>"""


class Handler(BaseHTTPRequestHandler):
    """Serves the page and the clip, takes what the page says."""

    clip: ClassVar[bytes]
    said: ClassVar[SimpleQueue[str]]

    def do_GET(self) -> None:
        body = self.clip if self.path == "/clip.webm" else PAGE
        self._answer(body, "video/webm" if self.path == "/clip.webm" else "text/html")

    def do_POST(self) -> None:
        self.said.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self._answer(b"", "text/plain")

    def log_message(self, format: str, *args: object) -> None:
        """Not on stderr."""

    def _answer(self, body: bytes, kind: str) -> None:
        first, last = 0, len(body) - 1
        wanted = self.headers.get("Range", "").removeprefix("bytes=").split("-")
        if len(wanted) == 2 and wanted[0]:
            first, last = int(wanted[0]), int(wanted[1] or last)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(body[first : last + 1])


@contextmanager
def serving(clip: bytes) -> Iterator[tuple[str, SimpleQueue[str]]]:
    said: SimpleQueue[str] = SimpleQueue()
    handler = type("ThisHandler", (Handler,), {"clip": clip, "said": said})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", said
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.real_peer("chromium")
def test_chromium_reads_seeks_and_plays_a_recording(tmp_path: Path) -> None:
    chromium = need("chromium")
    frames = in_time(pictures("clip", Line.CAMERA, 120), sounds("clip", 600, 200))
    record(messages(Mode.TRACKS, tmp_path, frames))
    with serving((tmp_path / "clip.webm").read_bytes()) as (url, said):
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        browser = subprocess.Popen(
            [chromium, *options, f"--user-data-dir={tmp_path / 'profile'}", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert [said.get(timeout=60) for _ in range(3)] == ["4 320x180", "at 3", "ended"]
        finally:
            browser.terminate()
            browser.wait(20)
