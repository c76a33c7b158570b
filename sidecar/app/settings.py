"""The configuration as the services take it."""

from __future__ import annotations

from sidecar.calls.path_rules import PathRules
from sidecar.calls.rules import Rules
from sidecar.config import Config
from sidecar.media.messages import Configure, IceServer
from sidecar.schema import MediaTrackKind


def rules(config: Config) -> Rules:
    return Rules(
        ring_timeout_s=config.calls.ring_timeout_s,
        connect_timeout_s=config.calls.connect_timeout_s,
        path=PathRules(lost_s=config.calls.lost_s),
        strangers_ring=config.calls.strangers_ring,
    )


def configure(config: Config) -> Configure:
    """What the media process is told first."""
    return Configure(
        ice_interfaces=list(config.media.ice_interfaces),
        file_folders=list(config.media.file_folders),
        suspect_s=config.calls.suspect_s,
        reconnecting_s=config.calls.reconnecting_s,
        lost_s=config.calls.lost_s,
        display=config.media.display,
    )


def ice_servers(config: Config) -> list[IceServer]:
    return [
        IceServer(urls=list(server.urls), username=server.username, credential=server.credential)
        for server in config.network.ice_servers
    ]


def sources(config: Config) -> dict[MediaTrackKind, str]:
    """The device each line of a call starts with."""
    return {MediaTrackKind.AUDIO: config.media.microphone, MediaTrackKind.VIDEO: config.media.camera}
