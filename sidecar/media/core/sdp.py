"""The fixed SDP layout of D4, and the sanitiser every remote description passes before a library sees it.

A remote description is never filtered, it is *rebuilt* from the few values that were understood, so that
nothing a peer wrote reaches the parser below by accident (FAULTS M01, M02). The layout, always:

    m=audio  camera microphone   sendrecv, rtcp-mux, Opus
    m=video  camera              sendrecv, rtcp-mux, VP8 (and its RTX)
    m=video  screen              sendrecv, rtcp-mux, VP8 (and its RTX)
    m=application aleph-control  SCTP data channel

one BUNDLE group, one transport, SHA-256 fingerprint, complete candidates (no trickle).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.errors import RemoteError
from sidecar.media.core.addresses import candidate_allowed

MAX_SDP_BYTES = 16 * 1024
"""The largest envelope a signal may have; ours is about 3 KiB, Chromium's about 8."""
BROWSER_MAX_SDP_BYTES = 64 * 1024
"""Of a browser of ours, which may offer every codec that it has; rebuilt, it is as small as the others."""
MAX_LINES = 600
BROWSER_MAX_LINES = 2400
MAX_LINE_BYTES = 1024
MAX_CANDIDATES = 64
"""Candidates of a generation (FAULTS section 1)."""

RTP_PROFILE = "UDP/TLS/RTP/SAVPF"
KINDS = ("audio", "video", "video", "application")
EXTENSIONS = {
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level": 1,
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time": 2,
    "urn:ietf:params:rtp-hdrext:sdes:mid": 4,
}
"""Header extensions with Chromium's default ids: it refuses to reassign an id later (media.md section 2)."""

FEEDBACK = ("nack", "nack pli")
BROWSER_FEEDBACK = (*FEEDBACK, "ccm fir", "goog-remb", "transport-cc")
BROWSER_EXTENSIONS = {
    **EXTENSIONS,
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01": 3,
}
"""What two browsers need beside ours, to learn how much the path between them carries."""
LAST_CANDIDATE = "a=end-of-candidates"

_PRINTABLE = re.compile(r"[\x20-\x7e\t\r\n]*")
_M_LINE = re.compile(r"m=(audio|video|application) (\d{1,5}) ([A-Z/]{1,32}) ([A-Za-z0-9 -]{1,512})")
_MID = re.compile(r"[A-Za-z0-9_-]{1,16}")
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PWD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_SHA256 = re.compile(r"(?:[0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}")
_RTPMAP = re.compile(r"(\d{1,3}) ([A-Za-z0-9-]{1,32})/(\d{1,6})(?:/(\d))?")
_APT = re.compile(r"(\d{1,3}) apt=(\d{1,3})")
_FID = re.compile(r"FID (\d{1,10}) (\d{1,10})")
_FOUNDATION = re.compile(r"[A-Za-z0-9+/]{1,32}")


@dataclass(frozen=True, slots=True)
class CleanSdp:
    """A description that may be applied; ``dropped`` counts candidates that were not taken over."""

    sdp: str
    fingerprint: str
    ufrag: str
    candidates: int
    dropped: int


@dataclass(slots=True)
class _Section:
    """What is understood of one m-line; session-level attributes are defaults."""

    kind: str
    port: int
    profile: str
    formats: list[str]
    lines: list[str] = field(default_factory=list)


def sanitise(sdp: str, kind: str, *, loopback: bool = False, browser: bool = False) -> CleanSdp:
    """The remote description rebuilt, ``kind`` being offer or answer; ``browser``: one end of it is one.

    Raises RemoteError with reason ``bad-sdp`` (its message says what is wrong) or ``no-common-codec``.
    """
    limits = (BROWSER_MAX_SDP_BYTES, BROWSER_MAX_LINES) if browser else (MAX_SDP_BYTES, MAX_LINES)
    session, sections = _split(sdp, *limits)
    _check_layout(session, sections)
    transport = _transport(session, sections, kind)
    candidates, dropped = _candidates(sections, loopback=loopback)
    mids = [_mid(section) for section in sections]
    if len(set(mids)) != len(mids):
        raise _bad("duplicate mid")
    _check_bundle(session, mids)
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", f"a=group:BUNDLE {' '.join(mids)}"]
    ssrcs: set[int] = set()
    for section, mid in zip(sections, mids, strict=True):
        data = section.kind == "application"
        body = _data_lines(section) if data else _rtp_lines(section, ssrcs, browser=browser)
        lines += [body[0], "c=IN IP4 0.0.0.0", f"a=mid:{mid}", *body[1:], *candidates, *transport.lines]
    return CleanSdp(
        sdp="\r\n".join(lines) + "\r\n",
        fingerprint=transport.fingerprint,
        ufrag=transport.ufrag,
        candidates=len(candidates) - 1,
        dropped=dropped,
    )


def compact(sdp: str) -> str:
    """Our own description with the candidates in the first section only: what is bundled is said once."""
    lines, sections = [], 0
    for line in sdp.split("\r\n"):
        sections += line.startswith("m=")
        if sections < 2 or not line.startswith(("a=candidate:", LAST_CANDIDATE, "a=rtcp:")):
            lines.append(line)
    return "\r\n".join(lines)


def _split(sdp: str, max_bytes: int, max_lines: int) -> tuple[list[str], list[_Section]]:
    if len(sdp) > max_bytes:
        raise _bad("too long")
    if not _PRINTABLE.fullmatch(sdp):
        raise _bad("control or non-ASCII characters")
    lines = sdp.replace("\r\n", "\n").split("\n")
    if len(lines) > max_lines or lines[0] != "v=0":
        raise _bad("not a session description")
    session: list[str] = []
    sections: list[_Section] = []
    for line in lines:
        if len(line) > MAX_LINE_BYTES or "\r" in line:
            raise _bad("bad line")
        if line.startswith("m="):
            sections.append(_section(line))
            if len(sections) > len(KINDS):
                raise _bad("too many m-lines")
        elif sections:
            sections[-1].lines.append(line)
        else:
            session.append(line)
    return session, sections


def _section(line: str) -> _Section:
    match = _M_LINE.fullmatch(line)
    if match is None:
        raise _bad("malformed m-line")
    return _Section(match[1], int(match[2]), match[3], match[4].split())


def _check_layout(session: list[str], sections: list[_Section]) -> None:
    if tuple(section.kind for section in sections) != KINDS:
        raise _bad("m-lines are not audio, video, video, application")
    for section in sections:
        if not 0 < section.port < 65536:
            raise _bad("rejected m-line")
        if section.kind == "application":
            continue
        if section.profile != RTP_PROFILE:
            raise _bad("wrong profile")
        if "a=rtcp-mux" not in section.lines:
            raise _bad("no rtcp-mux")
        if "a=sendrecv" not in section.lines and "a=sendrecv" not in session:
            raise _bad("not sendrecv")


@dataclass(frozen=True, slots=True)
class _Transport:
    fingerprint: str
    ufrag: str
    lines: tuple[str, ...]


def _transport(session: list[str], sections: list[_Section], kind: str) -> _Transport:
    """ICE and DTLS parameters, which must be one set: all sections share one transport."""
    ufrag = _one(session, sections, "ice-ufrag", _UFRAG)
    pwd = _one(session, sections, "ice-pwd", _PWD)
    setup = _one(session, sections, "setup", re.compile(r"actpass|active|passive"))
    if kind == "answer" and setup == "actpass":
        raise _bad("an answer must choose its DTLS role")
    digests = {
        value.split(" ", 1)[1].upper()
        for lines in (session, *(section.lines for section in sections))
        for value in _values(lines, "fingerprint")
        if value.lower().startswith("sha-256 ")
    }
    if len(digests) != 1:
        raise _bad("no single sha-256 fingerprint")
    digest = digests.pop()
    if not _SHA256.fullmatch(digest):
        raise _bad("malformed fingerprint")
    return _Transport(
        fingerprint=digest,
        ufrag=ufrag,
        lines=(
            f"a=ice-ufrag:{ufrag}",
            f"a=ice-pwd:{pwd}",
            f"a=fingerprint:sha-256 {digest}",
            f"a=setup:{setup}",
        ),
    )


def _one(session: list[str], sections: list[_Section], name: str, shape: re.Pattern[str]) -> str:
    default = _values(session, name)
    found = {value for section in sections for value in (_values(section.lines, name) or default or [""])}
    if len(found) != 1:
        raise _bad(f"sections differ in {name}")
    value = found.pop()
    if not shape.fullmatch(value):
        raise _bad(f"missing or malformed {name}")
    return value


def _values(lines: list[str], name: str) -> list[str]:
    prefix = f"a={name}:"
    return [line[len(prefix) :] for line in lines if line.startswith(prefix)]


def _mid(section: _Section) -> str:
    mids = _values(section.lines, "mid")
    if len(mids) != 1 or not _MID.fullmatch(mids[0]):
        raise _bad("missing or malformed mid")
    return mids[0]


def _check_bundle(session: list[str], mids: list[str]) -> None:
    groups = [value.split() for value in _values(session, "group")]
    bundles = [group[1:] for group in groups if group[:1] == ["BUNDLE"]]
    if len(bundles) != 1 or bundles[0] != mids:
        raise _bad("not one BUNDLE group of all sections")


def _rtp_lines(section: _Section, ssrcs: set[int], *, browser: bool) -> list[str]:
    """The m-line and attributes of an audio or video section, ``ssrcs`` collecting those already taken."""
    maps = {}
    for value in _values(section.lines, "rtpmap"):
        match = _RTPMAP.fullmatch(value)
        if match and match[1] in section.formats:
            maps[match[1]] = f"{match[2].lower()}/{match[3]}" + (f"/{match[4]}" if match[4] else "")
    wanted, text = ("opus/48000/2", "opus/48000/2") if section.kind == "audio" else ("vp8/90000", "VP8/90000")
    main = next((pt for pt in section.formats if maps.get(pt) == wanted and _dynamic(pt)), None)
    if main is None:
        raise RemoteError("no-common-codec", f"no {text} in the {section.kind} section")
    formats, lines = [main], [f"a=rtpmap:{main} {text}"]
    if section.kind == "video":
        feedback = set(_values(section.lines, "rtcp-fb"))
        known = BROWSER_FEEDBACK if browser else FEEDBACK
        lines += [f"a=rtcp-fb:{main} {f}" for f in known if f"{main} {f}" in feedback]
        rtx = _rtx(section, maps, main)
        if rtx is not None:
            formats.append(rtx)
            lines += [f"a=rtpmap:{rtx} rtx/90000", f"a=fmtp:{rtx} apt={main}"]
    lines += _extension_lines(section, BROWSER_EXTENSIONS if browser else EXTENSIONS)
    lines += _ssrc_lines(section, ssrcs, rtx=len(formats) > 1)
    return [f"m={section.kind} 9 {RTP_PROFILE} {' '.join(formats)}", "a=sendrecv", "a=rtcp-mux", *lines]


def _dynamic(payload_type: str) -> bool:
    return 96 <= int(payload_type) <= 127 or 35 <= int(payload_type) <= 63


def _rtx(section: _Section, maps: dict[str, str], main: str) -> str | None:
    for value in _values(section.lines, "fmtp"):
        match = _APT.fullmatch(value)
        if match and match[2] == main and maps.get(match[1]) == "rtx/90000" and _dynamic(match[1]):
            return match[1]
    return None


def _extension_lines(section: _Section, known: Mapping[str, int]) -> list[str]:
    lines, taken = [], set()
    for value in _values(section.lines, "extmap"):
        number, _, uri = value.partition(" ")
        number = number.removesuffix("/sendrecv")
        if uri not in known or not number.isdigit() or not 1 <= int(number) <= 14 or number in taken:
            continue
        taken.add(number)
        lines.append(f"a=extmap:{int(number)} {uri}")
    return lines


def _ssrc_lines(section: _Section, taken: set[int], *, rtx: bool) -> list[str]:
    """The media source and its retransmission source: two at most, none used by another section."""
    declared = []
    for value in _values(section.lines, "ssrc"):
        number = value.split(" ", 1)[0]
        if not number.isdigit() or not 0 < int(number) < 2**32:
            raise _bad("malformed ssrc")
        if int(number) not in declared:
            declared.append(int(number))
    chosen = declared[:1]
    for value in _values(section.lines, "ssrc-group"):
        match = _FID.fullmatch(value)
        if match and rtx and chosen and int(match[1]) == chosen[0] and int(match[2]) in declared[1:]:
            chosen.append(int(match[2]))
            break
    if taken.intersection(chosen):
        raise _bad("an ssrc in two sections")
    taken.update(chosen)
    group = [f"a=ssrc-group:FID {chosen[0]} {chosen[1]}"] if len(chosen) == 2 else []
    return group + [f"a=ssrc:{ssrc} cname:peer" for ssrc in chosen]


def _data_lines(section: _Section) -> list[str]:
    ports = _values(section.lines, "sctp-port")
    if section.profile != "UDP/DTLS/SCTP" or section.formats != ["webrtc-datachannel"]:
        raise _bad("not a data channel section")
    if len(ports) != 1 or not ports[0].isdigit() or not 0 < int(ports[0]) < 65536:
        raise _bad("missing or malformed sctp-port")
    return [
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        f"a=sctp-port:{int(ports[0])}",
        "a=max-message-size:65536",
    ]


def _candidates(sections: list[_Section], *, loopback: bool) -> tuple[list[str], int]:
    """Candidate lines of all sections together, each once, closed by end-of-candidates; and how many fell."""
    kept: dict[str, None] = {}
    dropped = 0
    for section in sections:
        for value in _values(section.lines, "candidate"):
            line = candidate_line(value, loopback=loopback)
            if line is None or (len(kept) >= MAX_CANDIDATES and line not in kept):
                dropped += 1
            else:
                kept[line] = None
    return [*kept, LAST_CANDIDATE], dropped


def candidate_line(value: str, *, loopback: bool) -> str | None:
    """The line of a candidate, given without its ``a=candidate:``; None for one that may not be used."""
    parts = value.split()
    if len(parts) < 8 or not _FOUNDATION.fullmatch(parts[0]) or parts[1] != "1" or parts[6] != "typ":
        return None
    transport, priority, address, port, kind = parts[2].lower(), parts[3], parts[4], parts[5], parts[7]
    if transport != "udp" or kind not in ("host", "srflx", "prflx", "relay"):
        return None
    if not (priority.isdigit() and port.isdigit() and len(priority) < 11 and len(port) < 6):
        return None
    if not (0 < int(priority) < 2**31 and 0 < int(port) < 65536):
        return None
    if not candidate_allowed(address, loopback=loopback):
        return None
    return f"a=candidate:{parts[0]} 1 udp {int(priority)} {address} {int(port)} typ {kind}"


def _bad(what: str) -> RemoteError:
    return RemoteError("bad-sdp", what)
