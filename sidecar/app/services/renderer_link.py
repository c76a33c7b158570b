"""One connection that a front end has (DESIGN D7): what it says becomes the words of the media process.

Signals carry complete descriptions (D4). A front end that sends its candidates one by one is waited for:
until it says that there are no more, or for a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sidecar.calls.facts import digest
from sidecar.errors import Code, LocalError, RemoteError
from sidecar.log import Logger
from sidecar.media import messages as m
from sidecar.media.core.sdp import LAST_CANDIDATE, MAX_CANDIDATES, candidate_line, compact, sanitise
from sidecar.schema import EndReason, RtcPeerState

GATHER_S = 1.0
"""For candidates that come after their description. Host and STUN candidates take a fraction of it; a relay
that takes longer is found by the next generation."""
UNREPORTED_S = 15.0
"""Without any report of a connection that was up: nobody drives it any more. Browsers let the timers of a
hidden page run once a second while it has connections."""
CLAIM_S = 2.0
"""For a front end that attaches to say that it still has a connection: two of the reports it sends."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all links share. ``loopback``: candidates of this machine make sense; limits in seconds (D5)."""

    emit: Callable[[m.Event], None]
    loopback: bool
    limits: tuple[tuple[float, m.Liveness], ...]
    log: Logger


class _Candidate(msgspec.Struct, frozen=True):
    """RTCIceCandidateInit as far as it matters: all lines share the transport of the first."""

    candidate: str
    sdp_m_line_index: int | None = msgspec.field(name="sdpMLineIndex", default=None)


class RendererLink:
    """Lives from ``OpenPeer`` to ``ClosePeer``. All raise LocalError for what makes no sense."""

    def __init__(self, opening: m.OpenPeer, remote_sdp: str | None, around: Surroundings) -> None:
        """``remote_sdp``: the offer of the peer as it may be shown to a browser."""
        self.opening = opening
        self.peer = opening.peer
        self.remote_sdp = remote_sdp
        self.offer_digest = None if opening.remote_sdp is None else digest(opening.remote_sdp)
        self.told = False
        """Whether our description has gone out."""
        self.connected = False
        self.over = False
        self.measured: dict[str, Any] = {}
        """What was last reported, in the shape of ParticipantStats."""
        self._around = around
        self._lines: list[str] | None = None
        self._candidates: dict[str, None] = {}
        self._complete = False
        self._level = m.Liveness.ALIVE
        self._gathering: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Nothing is said about it any more."""
        self.over = True
        for timer in (self._gathering, self._silence):
            if timer is not None:
                timer.cancel()

    @property
    def described(self) -> bool:
        """Whether the front end has given its description."""
        return self._lines is not None

    # --- description -------------------------------------------------------------------------------------

    def describe(self, role: m.Role, sdp: str, offer_digest: str | None) -> None:
        """Takes the one description of this generation, an offer or an answer by ``role``."""
        if role is not self.opening.role:
            raise self._wrong(f"this side is the {self.opening.role.value} of this connection")
        if self.described:
            raise self._wrong("this generation has its description")
        if offer_digest is not None and offer_digest != self.offer_digest:
            raise self._wrong("this answers another offer")
        self._lines = browser_sdp(sdp, self._kind, loopback=self._around.loopback).split("\r\n")
        if self._complete or LAST_CANDIDATE in sdp:
            self._tell()
        else:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_S, self._tell)

    def add_candidate(self, text: str) -> None:
        """One more candidate, or with an empty one the end of them; it may come before its description."""
        try:
            given = msgspec.json.decode(text, type=_Candidate)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise LocalError("candidate: no RTCIceCandidateInit", details={"field": "candidate"}) from None
        if self.told:
            return  # too late for this generation
        if given.candidate:
            self._keep(given)
            return
        self._complete = True
        if self.described:
            self._tell()

    def _keep(self, given: _Candidate) -> None:
        value = given.candidate.removeprefix("a=").removeprefix("candidate:")
        line = candidate_line(value, loopback=self._around.loopback) if value.isascii() else None
        if line is None or given.sdp_m_line_index not in (None, 0):
            return  # as the peer would drop it: a host name, TCP, a line that is bundled
        if line not in self._candidates and len(self._candidates) >= MAX_CANDIDATES:
            raise self._wrong(f"a connection has {MAX_CANDIDATES} candidates at most")
        self._candidates[line] = None

    def _tell(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
        assert self._lines is not None, "told only what was described"
        self.told = True
        lines = self._lines
        room = MAX_CANDIDATES - sum(line.startswith("a=candidate:") for line in lines)
        more = [line for line in self._candidates if line not in lines][:room]
        end = lines.index(LAST_CANDIDATE)
        sdp = "\r\n".join([*lines[:end], *more, *lines[end:]])
        self._around.emit(m.LocalDescription(peer=self.peer, type=self._kind, sdp=sdp))

    @property
    def _kind(self) -> str:
        return "offer" if self.opening.role is m.Role.OFFERER else "answer"

    # --- state -------------------------------------------------------------------------------------------

    def report(
        self, state: RtcPeerState, silent_ms: int | None, measured: Mapping[str, float | None]
    ) -> None:
        """What the front end sees of the connection: its state, its silence, its measurements."""
        match state:
            case RtcPeerState.FAILED | RtcPeerState.CLOSED:
                self.fail(f"reported {state.value}")
                return
            case RtcPeerState.CONNECTED if not self.connected:
                self._connect()
        self.measured |= {name: value for name, value in measured.items() if value is not None}
        if self.over or not self.connected:
            return
        self._watch(UNREPORTED_S)
        self._judge((silent_ms or 0) / 1000, state)

    def claim(self) -> None:
        """A front end attaches: it has to say soon that it has this connection."""
        if self.described:
            self._watch(CLAIM_S)

    def fail(self, detail: str) -> None:
        """It is gone: the next generation is tried at once."""
        if self.over:
            return
        self.over = True
        reason = EndReason.CONNECTION_LOST if self.connected else EndReason.CONNECT_FAILED
        if self.connected:
            self._around.emit(m.PeerLiveness(peer=self.peer, liveness=m.Liveness.SUSPECT))
        self._around.emit(m.PeerFailed(peer=self.peer, reason=reason.value, detail=detail))

    def _connect(self) -> None:
        if not self.told:
            raise self._wrong("a connection without a description is not connected")
        self.connected = True
        self._around.emit(m.PeerConnected(peer=self.peer))

    def _judge(self, silence_s: float, state: RtcPeerState) -> None:
        level = next((level for limit, level in self._around.limits if silence_s >= limit), m.Liveness.ALIVE)
        if level is m.Liveness.ALIVE and state is RtcPeerState.DISCONNECTED:
            level = m.Liveness.SUSPECT
        if level is not self._level:
            self._level = level
            self._around.log.info("liveness of a path changed", gen=self.peer.gen, liveness=level.value)
            self._around.emit(m.PeerLiveness(peer=self.peer, liveness=level))

    def _watch(self, for_s: float) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self._silence = asyncio.get_running_loop().call_later(for_s, self.fail, "no reports")

    def _wrong(self, why: str) -> LocalError:
        return LocalError(why, code=Code.CALL_WRONG_STATE, details={"gen": self.peer.gen})


def browser_sdp(sdp: str, kind: str, *, loopback: bool) -> str:
    """A description of a browser, or one for it, rebuilt as D4 wants it. LocalError: ``media.bad-sdp``."""
    try:
        return compact(sanitise(sdp, kind, loopback=loopback, browser=True).sdp)
    except RemoteError as error:
        raise LocalError(f"sdp: {error}", code=Code.MEDIA_BAD_SDP, details={"field": "sdp"}) from None
