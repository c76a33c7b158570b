"""One call inside media: its three lines, its links, its certificates."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, Protocol

from sidecar.frames import PictureSource, SoundSource
from sidecar.media.border.peer import Certificate
from sidecar.media.core import control
from sidecar.media.lines import AudioLine, VideoLine
from sidecar.media.link import Link
from sidecar.media.messages import Line, PeerRef, SetSendPlan
from sidecar.media.recording import Recording
from sidecar.media.sinks import Probe

PARTED_MAX = 64
"""People of one call whose last measurements are kept after their connection was closed."""


class Catalog(Probe, Protocol):
    """Where sources come from (implemented by capture). Every method may block: call it on a thread.

    ``UnavailableError`` with ``media.no-device`` or ``media.no-source`` when there is no such thing.
    """

    def configure(self, file_folders: list[str], display: str | None) -> None:
        """Folders that ``file:`` may read, the X display to look at."""

    def picture_source(self, line: Line, device_id: str, options: Mapping[str, Any]) -> PictureSource:
        """A started source of pictures for the camera or screen line."""

    def sound_source(self, device_id: str, options: Mapping[str, Any]) -> SoundSource:
        """A started source of sound."""

    def devices(self) -> list[dict[str, Any]]:
        """All devices in the schema's MediaDeviceInfo shape."""

    def screens(self, types: tuple[str, ...], width: int, height: int) -> list[dict[str, Any]]:
        """Shareable screens in the schema's ScreenSource shape."""


class Call:
    """Made by ``OpenCall``; sources are set on their own threads, one change of a line at a time."""

    def __init__(
        self,
        call_id: str,
        catalog: Catalog,
        pool: Executor,
        on_source_lost: Callable[[str, Line], None],
    ) -> None:
        self.call_id = call_id
        self.links: dict[PeerRef, Link] = {}
        self.recording: Recording | None = None
        self._catalog = catalog
        self._pool = pool
        self._certificates: dict[str, Certificate] = {}
        self._plans: dict[str, SetSendPlan] = {}
        self._parted: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._turn = {line: asyncio.Lock() for line in Line}
        self._closed = False

        def lost(line: Line) -> None:
            on_source_lost(call_id, line)
            self.tell_state()

        self.lines: dict[Line, AudioLine | VideoLine] = {
            Line.AUDIO: AudioLine(lost),
            Line.CAMERA: VideoLine(Line.CAMERA, pool, lost),
            Line.SCREEN: VideoLine(Line.SCREEN, pool, lost),
        }
        for line in self.lines.values():
            line.start()

    def certificate(self, user_id: str) -> Certificate:
        """The same for every generation towards a peer."""
        if user_id not in self._certificates:
            self._certificates[user_id] = Certificate.generateCertificate()
        return self._certificates[user_id]

    async def set_source(self, line: Line, device_id: str | None, options: Mapping[str, Any]) -> None:
        """Replaces what ``line`` sends; the old source stays when the new one cannot be had."""
        async with self._turn[line]:
            target = self.lines[line]
            loop = asyncio.get_running_loop()
            if isinstance(target, AudioLine):
                sound = None
                if device_id is not None:
                    make = lambda: self._catalog.sound_source(device_id, options)  # noqa: E731
                    sound = await loop.run_in_executor(self._pool, make)
                self._set_or_close(target, sound)
            else:
                picture = None
                if device_id is not None:
                    start = lambda: self._catalog.picture_source(line, device_id, options)  # noqa: E731
                    picture = await loop.run_in_executor(self._pool, start)
                self._set_or_close(target, picture)
        self.tell_state()

    def add_link(self, link: Link) -> None:
        """One more connection: told what is sent, recorded if the call is."""
        self.links[link.peer] = link
        self.tell_state()
        if self.recording is not None:
            self.recording.add_link(link)

    def part(self, peer: PeerRef) -> Link | None:
        """Takes a connection out, to be closed; what it measured last is kept for the end of the call."""
        link = self.links.pop(peer, None)
        if link is not None and link.connected:
            self._parted[peer.user_id] = link.stats(self._catalog)
            self._parted.move_to_end(peer.user_id)
            if len(self._parted) > PARTED_MAX:
                self._parted.popitem(last=False)
        return link

    def stats(self) -> list[dict[str, Any]]:
        """ParticipantStats of the schema, of the best connection to each peer."""
        latest: dict[str, Link] = {}
        for link in self.links.values():
            known = latest.get(link.peer.user_id)
            if known is None or (link.connected, link.peer.gen) > (known.connected, known.peer.gen):
                latest[link.peer.user_id] = link
        return [link.stats(self._catalog) for link in latest.values()]

    def last_stats(self) -> list[dict[str, Any]]:
        """The same at the end of the call, of everybody who was ever connected."""
        connected = {peer.user_id for peer, link in self.links.items() if link.connected}
        here = [stats for stats in self.stats() if stats["userId"] in connected]
        return [*here, *(stats for user_id, stats in self._parted.items() if user_id not in connected)]

    def record(self, recording: Recording) -> None:
        """Records everything from now on."""
        self.recording = recording
        for link in self.links.values():
            recording.add_link(link)
        recording.add_own(Line.AUDIO, self.lines[Line.AUDIO].listen)

    def set_muted(self, line: Line, muted: bool) -> None:
        """Never renegotiates."""
        self.lines[line].set_muted(muted)
        self.tell_state()

    def set_send_plan(self, plan: SetSendPlan) -> None:
        """One encoder serves all, so it does what the best served of those that are connected may have."""
        self._plans[plan.user_id] = plan
        connected = {peer.user_id for peer in self.links}
        plans = [plan for user_id, plan in self._plans.items() if user_id in connected]
        camera = self.lines[Line.CAMERA]
        if plans and isinstance(camera, VideoLine):
            camera.limit(
                max(plan.height for plan in plans),
                max(plan.fps for plan in plans),
                max(plan.bitrate for plan in plans),
            )

    def tell_state(self) -> None:
        """Every peer learns what is sent now, if that changed."""
        state = control.State(
            audio=self.lines[Line.AUDIO].active,
            video=self.lines[Line.CAMERA].active,
            screen=self.lines[Line.SCREEN].active,
        )
        for link in self.links.values():
            link.tell_state(state)

    async def close(self) -> None:
        """Links first, so that nothing is sent from a line that is gone."""
        self._closed = True
        links, self.links = list(self.links.values()), {}
        await asyncio.gather(*(link.close() for link in links))
        await asyncio.gather(*(line.close() for line in self.lines.values()))

    def _set_or_close(self, target: Any, source: PictureSource | SoundSource | None) -> None:
        if self._closed:
            if source is not None:
                source.close()
            return
        target.set_source(source)
