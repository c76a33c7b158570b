"""A page in Chromium that has the media of a sidecar's calls, with our compiled peer code in it.

There is no bridge for browsers yet: an HTTP server of this process carries the page's calls to the sidecar's
one client, and the events of that client to the page.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from sidecar.ipc.zmq_client import CallFailed
from tests.peers import ROOT, need
from tests.sidecars import DEADLINE_S, Journal, Record, Sidecar

CODE = ROOT / "bindings" / "typescript" / "dist" / "esm" / "peer"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns",
)  # fmt: skip
PAGE = """<!doctype html><video id="remote" autoplay playsinline></video><script type="module">
import { PeerCalls } from '/peer/index.js';
const post = (path, body) => fetch(path, {method: 'POST', body: JSON.stringify(body)});
const say = (what, more) => post('/said', {what, ...more});
window.onerror = (text) => { say('error', {text}); };
window.onunhandledrejection = ({reason}) => { say('error', {text: String(reason)}); };
const listeners = {};
const link = {
  on(event, listener) { (listeners[event] ??= []).push(listener); return () => {}; },
  async invoke(channel, params) {
    const answer = await (await post('/invoke', {channel, params})).json();
    if (answer.error) throw Object.assign(new Error(answer.error.code), answer.error);
    return answer.result;
  },
};
const mine = await navigator.mediaDevices.getUserMedia({audio: true, video: {width: 320, height: 180}});
const [[sound], [picture]] = [mine.getAudioTracks(), mine.getVideoTracks()];
const video = document.getElementById('remote');
const seen = {};
const peers = new PeerCalls(link, {
  RTCPeerConnection,
  userId: USER_ID,
  now: () => performance.now(),
  onTracks(callId, userId, tracks) {
    say('tracks', {callId, userId, lines: Object.keys(tracks)});
    video.srcObject = new MediaStream([tracks.audio, tracks.video]);
    let pictures = 0;
    const draw = (_, {width, height}) => {
      pictures += 1;
      if (pictures === 10) say('pictures', {callId, width, height});
      else video.requestVideoFrameCallback(draw);
    };
    video.requestVideoFrameCallback(draw);
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(new MediaStream([tracks.audio])).connect(analyser);
    const wave = new Uint8Array(analyser.frequencyBinCount);
    const timer = setInterval(() => {
      analyser.getByteFrequencyData(wave);
      const loudest = wave.indexOf(Math.max(...wave));
      if (wave[loudest] < 100) return;
      clearInterval(timer);
      say('sound', {callId, hz: loudest * context.sampleRate / analyser.fftSize});
    }, 100);
  },
  onRemoteState: (callId, userId, state) => say('state', {callId, ...state}),
  onProblem: (error) => say('problem', {text: String(error)}),
});
const use = async (callId) => {
  await peers.setTrack(callId, 'audio', sound);
  await peers.setTrack(callId, 'video', picture);
};
link.on('aleph:callOffer', async ({callId, roomId}) => {
  await use(callId);
  await link.invoke(roomId ? 'conference:join' : 'call:accept', {callId});
});
link.on('aleph:mediaStateChange', ({userId}) => {
  if (userId === USER_ID) say('enabled', {audio: sound.enabled, video: picture.enabled});
});
link.on('aleph:callStateChange', ({callId, state}) => {
  if (state === 'ended') say('left', {callId, calls: peers.callIds});
});
link.on('page:call', async ({to}) => {
  const {id} = await link.invoke('call:initiate', {userId: to, type: 'video'});
  await use(id);
});
new EventSource('/events').onmessage = ({data}) => {
  const {event, data: value} = JSON.parse(data);
  for (const listener of listeners[event] ?? []) listener(value);
};
say('ready');
</script>"""


class Page:
    """What stands between the page and its sidecar; ``said`` is what the page tells of itself."""

    def __init__(self, node: Sidecar) -> None:
        self.said = Journal()
        self._node = node
        self.url = ""

    async def says(self, what: str, **members: Any) -> Record:
        """The first thing of that kind that it said, with those members."""
        return await self.said.wait(
            lambda item: item["what"] == what and all(item.get(k) == v for k, v in members.items()),
            timeout_s=DEADLINE_S * 2,
        )

    async def do(self, event: str, **data: Any) -> None:
        """Tells the page something that is no event of a sidecar."""
        await self._node.events.add({"event": event, "data": data})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request; the connection ends with it."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            method, path, _ = (await reader.readline()).decode().split(" ")
            length = 0
            while line := (await reader.readline()).strip().lower():
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = await reader.readexactly(length)
            if path == "/events":
                await self._stream(writer)
            kind, answer = await self._answer(method, path, body)
            _head(writer, kind, f"Content-Length: {len(answer)}\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    async def _answer(self, method: str, path: str, body: bytes) -> tuple[str, bytes]:
        if path == "/invoke":
            return "application/json", json.dumps(await self._invoke(json.loads(body))).encode()
        if path == "/said":
            await self.said.add(json.loads(body))
            return "text/plain", b""
        if path.startswith("/peer/"):
            return "text/javascript", (CODE / path.removeprefix("/peer/")).read_bytes()
        return "text/html", PAGE.replace("USER_ID", json.dumps(self._node.me["userId"])).encode()

    async def _invoke(self, asked: Record) -> Record:
        try:
            return {"result": await self._node.client.call(asked["channel"], asked["params"])}
        except CallFailed as error:
            return {"error": {"code": error.code, "message": error.message}}

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        """Events as they come, those of before included, until the page is gone."""
        _head(writer, "text/event-stream", "")
        sent, events = 0, self._node.events
        while True:
            await events.wait(lambda _, sent=sent: len(events.entries) > sent, timeout_s=3600)
            for item in events.entries[sent:]:
                writer.write(f"data: {json.dumps(item)}\n\n".encode())
                sent += 1
            await writer.drain()


def _head(writer: asyncio.StreamWriter, kind: str, more: str) -> None:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{more}Cache-Control: no-store\r\nConnection: close\r\n"
    )
    writer.write(head.encode() + b"\r\n")


@asynccontextmanager
async def chromium(node: Sidecar, folder: Path) -> AsyncIterator[Page]:
    """A browser whose page is a front end of ``node`` and is ready."""
    page = Page(node)
    server = await asyncio.start_server(page.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    with (folder / "chromium.log").open("wb") as output:
        browser = await asyncio.create_subprocess_exec(
            need("chromium"), *FLAGS, f"--user-data-dir={folder / 'profile'}", url,
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        await page.says("ready")
        yield page
    finally:
        with suppress(ProcessLookupError):
            browser.terminate()
        await browser.wait()
        server.close()
