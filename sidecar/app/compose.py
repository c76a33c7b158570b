"""The composition root of ``aleph-sidecar ipc``: makes every part, tells it of the others, ends all in order.

Loaded after the ready line.
"""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path

from sidecar import log
from sidecar.app import exit_codes, health, stdio, supervision
from sidecar.app.channels import events, media
from sidecar.app.channels.system import Admission, SystemChannels
from sidecar.app.handshake import Handshake
from sidecar.app.identity_file import create_identity
from sidecar.app.lifeline import Lifeline
from sidecar.app.services.graph import GraphService
from sidecar.app.services.media import MediaService
from sidecar.app.shutdown import Shutdown
from sidecar.app.start import Place
from sidecar.app.system_clock import SystemClock, SystemRandom
from sidecar.errors import SidecarError
from sidecar.ids import hex_id
from sidecar.ipc.events import EventHub
from sidecar.ipc.registry import Registry
from sidecar.ipc.zmq_server import ZmqServer
from sidecar.media.messages import Configure, Event
from sidecar.schema import SelfInfo

logger = log.get("app")


def serve(shake: Handshake, place: Place) -> int:
    """Runs a sidecar that has said that it is ready, to its end; the exit code."""
    try:
        return asyncio.run(_live(shake, place))
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

    shutdown = Shutdown(forced)
    shutdown.listen()
    Lifeline(stdio.STDIN, shake.parent_pid, shutdown.request).start()
    node = Node(shake, place, shutdown)
    await node.start()
    cause = await shutdown.wanted()
    await node.stop(cause)
    return exit_codes.CLEAN


class Node:
    """All parts of one sidecar."""

    def __init__(self, shake: Handshake, place: Place, shutdown: Shutdown) -> None:
        config = shake.config
        self._place = place
        self._shutdown = shutdown
        self.clock = SystemClock()
        self.random = SystemRandom()
        self.identity = place.identity or create_identity(place.identity_file, self.random)
        self.contacts = place.contacts
        self.health = health.HealthBoard()
        self.hub = EventHub()
        self.graph = GraphService(config.network.peers, Path(place.data_dir), self.clock)
        self.health.watch_relays(lambda: self.graph.relays)
        self.media = MediaService(
            "inline" if config.media.process == "inline" else "child",
            _configure(shake),
            log.get("media"),
            self._on_media_event,
        )
        self.registry = Registry(log.get("ipc"), lambda: hex_id(self.random.bytes(8)))
        self._register(Admission(shake.clients))
        admission = Admission(shake.clients)
        self.server = ZmqServer(
            self.registry, log.get("ipc"), permissions=admission.permissions, admitted=admission.open
        )

    def _register(self, admission: Admission) -> None:
        SystemChannels(
            admission=admission,
            self_info=self._self_info,
            calls=list,
            seq=lambda: self.hub.seq,
            health=self.health.report,
            shutdown=lambda: self._shutdown.request("request"),
        ).register(self.registry)
        events.register(self.registry, self.hub)
        media.register(self.registry, self.media)

    def _self_info(self) -> SelfInfo:
        return SelfInfo(
            user_id=self.identity.fingerprint,
            public_key=self.identity.pub,
            device="0" * 16,
            display_name=self.contacts.self_name or None,
        )

    def _on_media_event(self, event: Event) -> None:
        pass

    async def start(self) -> None:
        await self.server.start(self._place.bound)
        await self.graph.start()
        self.health.raise_problem("media.starting", "media is being loaded")
        self._media_start = asyncio.create_task(self._start_media(), name="media-start")

    async def _start_media(self) -> None:
        try:
            await self.media.start()
        except SidecarError as error:
            logger.error("media did not start", problem=error.message)
            self.health.raise_problem("media.failed", error.message)
        else:
            logger.info("media ready")
        self.health.clear("media.starting")

    async def stop(self, cause: str) -> None:
        """Says goodbye to peers, then takes apart what was made, last things first."""
        self._media_start.cancel()
        await self.graph.stop()
        await self.media.stop()
        self.hub.close()
        await self.server.stop()


def _configure(shake: Handshake) -> Configure:
    config = shake.config
    return Configure(
        ice_interfaces=list(config.media.ice_interfaces),
        file_folders=list(config.media.file_folders),
        suspect_s=config.calls.suspect_s,
        reconnecting_s=config.calls.reconnecting_s,
        lost_s=config.calls.lost_s,
        display=config.media.display,
    )
