"""What core tells media and what media reports (DESIGN D11): plain structs, so that media may be a child.

Commands and events carry ids, never objects. This module imports no codec and no network library: core
imports it without loading aiortc. Every call has three fixed lines (D4): audio, camera, screen.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class Line(StrEnum):
    """The three media lines of the fixed SDP layout."""

    AUDIO = "audio"
    CAMERA = "camera"
    SCREEN = "screen"


class Role(StrEnum):
    """Who makes the offer of a connection."""

    OFFERER = "offerer"
    ANSWERER = "answerer"


class Liveness(StrEnum):
    """D5: RTP/RTCP silence and control pings judge a path."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    RECONNECTING = "reconnecting"
    LOST = "lost"


class Message(msgspec.Struct, frozen=True, tag=True, tag_field="message", kw_only=True):
    """Base of commands and events; ``message`` on the wire is the class name."""


class PeerRef(msgspec.Struct, frozen=True, kw_only=True):
    """Names one connection; nothing about a connection is ever said without all of it."""

    call_id: str
    user_id: str
    gen: int


class IceServer(msgspec.Struct, frozen=True, kw_only=True):
    urls: list[str]
    username: str | None = None
    credential: str | None = None


# --- commands -------------------------------------------------------------------------------------------


class Configure(Message, frozen=True):
    """First command, once. ``ice_interfaces``: CIDRs that may be gathered on; empty = all but loopback.

    ``file_folders``: folders that ``file:`` sources may be under. Timers in seconds (D5).
    """

    ice_interfaces: list[str] = []
    file_folders: list[str] = []
    suspect_s: float = 2.5
    reconnecting_s: float = 5.0
    lost_s: float = 30.0
    display: str | None = None


class OpenCall(Message, frozen=True):
    """Makes the local sources of a call. ``sources``: device id per line (``pattern:``, ``tone:``,
    ``file:``, ``null:`` or a listed device); a line that is absent sends nothing until ``SetSource``.

    ``owner``: the front end that has the media itself (D7); media gets none of these calls."""

    call_id: str
    sources: dict[Line, str]
    muted: list[Line] = []
    owner: str | None = None


class OpenPeer(Message, frozen=True):
    """Makes a connection. An offerer answers with ``LocalDescription(type=offer)``; an answerer is given
    the offer in ``remote_sdp`` and answers with ``LocalDescription(type=answer)``."""

    peer: PeerRef
    role: Role
    remote_sdp: str | None = None
    ice_servers: list[IceServer] = []
    relay_only: bool = False


class ApplyAnswer(Message, frozen=True):
    """The remote answer for an offerer."""

    peer: PeerRef
    sdp: str


class ClosePeer(Message, frozen=True):
    peer: PeerRef


class CloseCall(Message, frozen=True):
    """Closes every connection and source of a call; recordings of it are finished."""

    call_id: str


class SetMuted(Message, frozen=True):
    """Mute keeps the track and sends silence or black; never renegotiates. The peer is told (RemoteState)."""

    call_id: str
    line: Line
    muted: bool


class SendControl(Message, frozen=True):
    """A note for the core at the other end; lost if the connection is not up."""

    peer: PeerRef
    name: str
    data: dict[str, Any]


class SetSendPlan(Message, frozen=True):
    """What one user of a call is sent of our camera at most: lines, frames a second, bits a second."""

    call_id: str
    user_id: str
    height: int
    fps: int
    bitrate: int


class SetSource(Message, frozen=True):
    """A *request* (answered by Reply): replaces what a line sends; None stops it. Screen: a source id of
    ``media:get-screen-sources`` with ``options`` fps, cursor."""

    request_id: int
    call_id: str
    line: Line
    device_id: str | None
    options: dict[str, Any] = {}


class GetStats(Message, frozen=True):
    """Request: Reply.result is {participants: [...]} in the shape of the schema's CallStats."""

    request_id: int
    call_id: str


class ListDevices(Message, frozen=True):
    """Request: Reply.result is a list in the schema's MediaDeviceInfo shape."""

    request_id: int


class ListScreens(Message, frozen=True):
    """Request: Reply.result is a list in the schema's ScreenSource shape (thumbnails are data URLs)."""

    request_id: int
    types: tuple[str, ...] = ("screen",)
    thumbnail_width: int = 320
    thumbnail_height: int = 180


class RecordStart(Message, frozen=True):
    """Request: Reply.result is {path}. ``directory`` exists; ``mode`` is mixed or tracks."""

    request_id: int
    recording_id: str
    call_id: str
    mode: str
    directory: str


class RecordStop(Message, frozen=True):
    """Request: Reply.result is {path, durationMs}."""

    request_id: int
    recording_id: str


class Shutdown(Message, frozen=True):
    """Close everything and exit."""


Command = (
    Configure | OpenCall | OpenPeer | ApplyAnswer | ClosePeer | CloseCall | SetMuted | SendControl
    | SetSendPlan | SetSource | GetStats | ListDevices | ListScreens | RecordStart | RecordStop | Shutdown
)  # fmt: skip


# --- events ---------------------------------------------------------------------------------------------


class Ready(Message, frozen=True):
    """The process has loaded its libraries and takes commands."""


class Reply(Message, frozen=True):
    """Answers a request: ``result``, or ``error`` {code, message, details?}."""

    request_id: int
    result: Any = None
    error: dict[str, Any] | None = None


class LocalDescription(Message, frozen=True):
    """Complete SDP with candidates inside (no trickle); ``type`` is offer or answer."""

    peer: PeerRef
    type: str
    sdp: str


class PeerConnected(Message, frozen=True):
    """ICE and DTLS are up and the control channel is open: media can flow."""

    peer: PeerRef


class PeerLiveness(Message, frozen=True):
    """A change of D5's judgement, ``LOST`` being final."""

    peer: PeerRef
    liveness: Liveness


class PeerFailed(Message, frozen=True):
    """The connection cannot live; ``reason`` is an ``EndReason`` value, ``detail`` is for the log."""

    peer: PeerRef
    reason: str
    detail: str = ""


class RemoteState(Message, frozen=True):
    """What the peer says it sends, over ``aleph-control``."""

    peer: PeerRef
    audio: bool
    video: bool
    screen: bool


class ControlHeard(Message, frozen=True):
    """A note of the core at the other end (``SendControl``)."""

    peer: PeerRef
    name: str
    data: dict[str, Any]


class Warning(Message, frozen=True):
    """An ``aleph:mediaWarning``: no-media, device-lost, source-lost, recorder-slow."""

    call_id: str
    code: str
    user_id: str | None = None


class RecordingEnded(Message, frozen=True):
    """A recording ended without ``RecordStop`` (call over, disk full)."""

    recording_id: str
    call_id: str
    path: str
    duration_ms: int


class CallClosed(Message, frozen=True):
    """Answers ``CloseCall``: the last measurements of everybody who was connected, shape of CallStats."""

    call_id: str
    stats: dict[str, Any]


class MediaLost(Message, frozen=True):
    """Made by the supervisor when the media process died: every connection is gone."""


Event = (
    Ready | Reply | LocalDescription | PeerConnected | PeerLiveness | PeerFailed | RemoteState | ControlHeard
    | Warning | RecordingEnded | CallClosed | MediaLost
)  # fmt: skip
