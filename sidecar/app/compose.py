"""The composition root of ``aleph-sidecar ipc``: makes every part, tells it of the others, ends all in order.

Loaded after the ready line.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections import Counter
from functools import partial
from pathlib import Path

from sidecar import log
from sidecar.app import exit_codes, headroom, health, settings, stdio, supervision
from sidecar.app.calling import Calling
from sidecar.app.channels import events, media, rtc, social
from sidecar.app.channels.call import CallChannels
from sidecar.app.channels.conference import ConferenceChannels
from sidecar.app.channels.system import Admission, SystemChannels
from sidecar.app.device_file import DeviceFile
from sidecar.app.handshake import Handshake
from sidecar.app.identity_file import create_identity
from sidecar.app.lifeline import Lifeline
from sidecar.app.remains import Remains
from sidecar.app.services.control_link import ControlLink
from sidecar.app.services.graph import GraphService
from sidecar.app.services.media import MediaService
from sidecar.app.services.signaling import SignalingService
from sidecar.app.services.social import SocialChange, SocialService
from sidecar.app.services.trust_store import TrustStore
from sidecar.app.shutdown import Shutdown, step
from sidecar.app.start import Place
from sidecar.app.system_clock import SystemClock, SystemRandom
from sidecar.app.watchdog import Watchdog
from sidecar.conference.accounts import signer
from sidecar.conference.facts import Self
from sidecar.config import Config
from sidecar.errors import LocalError, SidecarError, UnavailableError
from sidecar.ids import hex_id
from sidecar.ipc.events import EventHub
from sidecar.ipc.registry import Registry
from sidecar.ipc.zmq_server import ZmqServer
from sidecar.media.messages import Event as MediaEvent
from sidecar.media.messages import SendControl
from sidecar.schema import KeyChanged, SelfInfo
from sidecar.signaling.messages import Incoming
from sidecar.trust.pins import KeyChange
from sidecar.trust.social import SocialState

logger = log.get("app")


def serve(shake: Handshake, place: Place) -> int:
    """Runs a sidecar that has said that it is ready, to its end; the exit code."""
    try:
        # ZeroMQ's sockets are watched by their descriptors, which Windows' default loop cannot
        factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(_live(shake, place))
    except SidecarError as error:
        logger.error("cannot go on", code=error.code.value, problem=error.message)
        return exit_codes.of(error)
    except Exception as error:
        logger.error("crashed", traceback="".join(traceback.format_exception(error))[-1400:])
        return exit_codes.BUG


async def _live(shake: Handshake, place: Place) -> int:
    def forced() -> None:
        supervision.kill_all()
        place.remove_files()

    stdio.log_lost_errors(asyncio.get_running_loop(), logger)
    shutdown = Shutdown(forced)
    shutdown.listen()
    Lifeline(stdio.STDIN, shake.parent_pid, shutdown.request).start()
    node = Node(shake, place, shutdown)
    await node.start()
    cause = await shutdown.wanted()
    await node.stop(app_gone=cause in ("stdin-eof", "parent-gone"), within_s=shutdown.politeness_s)
    return exit_codes.CLEAN


class Node:
    """All parts of one sidecar."""

    def __init__(self, shake: Handshake, place: Place, shutdown: Shutdown) -> None:
        config, data_dir = shake.config, Path(place.data_dir)
        self._place = place
        self._clock = SystemClock()
        self._random = SystemRandom()
        self._identity = place.identity or create_identity(place.identity_file, self._random)
        self._health = health.HealthBoard()
        self._hub = EventHub()
        self._media_start: asyncio.Task[None] | None = None
        self.counters: Counter[str] = Counter()
        network = config.network
        self._graph = GraphService(network.peers, data_dir, self._clock, network.ca_file, self._on_slept)
        self._watchdog = Watchdog(log.get("watchdog"))
        self._health.watch_loop(self._watchdog.problem)
        self._health.watch_relays(lambda: self._graph.relays)
        self._health.watch_room(self._check_room)
        self._media = MediaService(
            "inline" if config.media.process == "inline" else "child",
            settings.configure(config),
            log.get("media"),
            self._on_media_event,
        )
        self._remains = Remains(data_dir, self._hub, self._clock)
        call_soon = asyncio.get_running_loop().call_soon_threadsafe
        self._trust = TrustStore(data_dir, call_soon, log.get("trust"))
        self._social = SocialService(
            SocialState(self._trust.facts()),
            self._trust,
            self._identity.fingerprint,
            configured=config.social,
            on_change=self._on_social_change,
            log=log.get("trust"),
        )
        control = ControlLink(self._say, clock=self._clock, counters=self.counters)
        self._signaling = SignalingService(
            self._graph.client,
            self._identity,
            DeviceFile.inside(place.data_dir, self._random),
            self._social.state,
            control=control,
            memory=self._trust,
            clock=self._clock,
            random=self._random,
            log=log.get("signaling"),
            on_signal=self._on_signal,
            on_key_changed=self._on_key_changed,
            counters=self.counters,
            on_envelope=self._remains.envelopes.keep,
        )
        self._calling = Calling(
            config,
            Self(
                self._identity.fingerprint,
                self._identity.pub,
                self._signaling.device,
                signer(self._identity),
            ),
            social=self._social.state,
            media=self._media,
            signaling=self._signaling,
            control=control,
            graph=self._graph.client,
            hub=self._hub,
            sea_pair=self._identity.sea,
            history=self._remains.summaries,
            journal=self._remains.journal,
            clock=self._clock,
            random=self._random,
            recordings=data_dir / "recordings",
            on_media_event=self._on_media_event,
        )
        self._calls = self._calling.calls
        registry = Registry(log.get("ipc"), lambda: hex_id(self._random.bytes(8)))
        admission = Admission(shake.clients)
        self._register(registry, admission, shutdown, config)
        self._server = ZmqServer(
            registry,
            log.get("ipc"),
            permissions=admission.permissions,
            admitted=admission.open,
            on_client_gone=self._calling.client_gone,
        )

    def _register(self, registry: Registry, admission: Admission, shutdown: Shutdown, config: Config) -> None:
        SystemChannels(
            admission=admission,
            self_info=self._self_info,
            calls=self._calls.board.active,
            seq=lambda: self._hub.seq,
            health=self._health.report,
            shutdown=partial(shutdown.request, "request"),
        ).register(registry)
        events.register(registry, self._hub)
        media.register(registry, self._media)
        social.register(registry, self._social)
        rtc.register(registry, self._calling.renderers)
        past, check_room = self._remains.history, self._check_room
        CallChannels(self._calls, self._calling.call_media, past, check_room).register(registry)
        ConferenceChannels(self._calls, self._calling.meetings, check_room).register(registry)

    def _self_info(self) -> SelfInfo:
        return SelfInfo(
            user_id=self._identity.fingerprint,
            public_key=self._identity.pub,
            device=self._signaling.device,
            display_name=self._social.state.self_name or None,
        )

    def _check_room(self) -> None:
        headroom.check(headroom.measure(self._place.data_dir, supervision.children()))

    def _on_signal(self, incoming: Incoming) -> None:
        self._calls.on_signal(incoming)

    def _say(self, note: SendControl) -> None:
        self._calling.media.send(note)

    def _on_slept(self, for_s: float) -> None:
        self._calls.slept(for_s)

    def _on_key_changed(self, change: KeyChange) -> None:
        self._hub.emit("aleph:keyChanged", KeyChanged(**change._asdict()))

    def _on_social_change(self, change: SocialChange) -> None:
        if change.contacts:
            self._signaling.follow_contacts()
        self._calling.on_social_change(change)

    def _on_media_event(self, event: MediaEvent) -> None:
        self._health.on_media_event(event)
        self._calling.on_media_event(event)
        self._remains.summaries.on_media_event(event)

    async def start(self) -> None:
        """Serves from the first line on; what needs time or a network goes on in the background."""
        self._watchdog.start()
        await self._server.start(self._place.bound)
        await self._graph.start()
        try:
            await self._signaling.start()
        except LocalError as error:
            raise UnavailableError(f"identity file {self._place.identity_file}: {error.message}") from None
        self._remains.recover(self._signaling)
        self._health.raise_problem("media.starting", "media is being loaded")
        self._media_start = asyncio.create_task(self._start_media(), name="media-start")

    async def _start_media(self) -> None:
        try:
            await self._media.start()
        except SidecarError as error:
            logger.error("media did not start", problem=error.message)
            self._health.clear("media.starting")
            self._health.raise_problem("media.failed", error.message)

    async def stop(self, *, app_gone: bool, within_s: float) -> None:
        """Says goodbye to peers, then takes apart what was made, each part within its time."""
        await self._calling.close(app_gone=app_gone, within_s=within_s)
        if self._media_start is not None:
            self._media_start.cancel()
        await asyncio.gather(step("signaling", self._signaling.stop()), step("media", self._media.stop()))
        supervision.kill_all()
        await step("graph", self._graph.stop())
        await step("history", self._remains.stop())
        self._trust.close()
        self._hub.close()
        self._watchdog.stop()
        await step("bridge", self._server.stop())
