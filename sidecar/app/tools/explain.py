"""What happened in a call, told from the envelopes that both ends sealed (DESIGN D3, Explain).

Pure. Every signature is verified again here. A session description is never shown, only its length and its
digest: it holds addresses. Nothing else of an envelope's body is shown but what is named here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from sidecar.errors import RemoteError
from sidecar.ids import fingerprint
from sidecar.schema import CallRecord, EndReason
from sidecar.signaling import payload, sealing
from sidecar.signaling.messages import AnyBody, Kind, Signal
from sidecar.trust import envelope
from sidecar.trust.names import claimed

CONFERENCE = frozenset({Kind.ANNOUNCE, Kind.GROW, Kind.JOIN})
HANGUPS = frozenset({Kind.REJECT, Kind.BUSY, Kind.CANCEL, Kind.END})
DIGEST_CHARS = 12
SHOWN = {
    "call_type": "callType",
    "ring": "ring",
    "reason": "reason",
    "detail": "detail",
    "display_name": "displayName",
    "sdp_type": "sdpType",
    "user_id": "userId",
    "device": "device",
}
"""Members of bodies that are shown as they are, and how they are spelt."""

WHY: dict[EndReason, str] = {
    EndReason.LOCAL_HANGUP: "our user hung up",
    EndReason.REMOTE_HANGUP: "the other side hung up",
    EndReason.DECLINED: "the callee declined",
    EndReason.BUSY: "the callee was in another call",
    EndReason.CANCELLED: "the caller gave up before it was answered",
    EndReason.NO_ANSWER: "nobody answered while it rang",
    EndReason.ANSWERED_ELSEWHERE: "another device of our user answered",
    EndReason.DECLINED_ELSEWHERE: "another device of our user declined",
    EndReason.GLARE: "both had called at once, and the other call stands",
    EndReason.REPLACED: "a newer call between the two took its place",
    EndReason.UNREACHABLE: "the invitation could not be delivered",
    EndReason.CONNECT_FAILED: "it was accepted, but no path between the two was found",
    EndReason.CONNECTION_LOST: "the path died and did not come back",
    EndReason.MEDIA_FAILED: "media could not be agreed on or handled",
    EndReason.POLICY_DENIED: "a rule forbade it",
    EndReason.SECURITY: "keys or signatures did not match",
    EndReason.APP_GONE: "the program of one side was gone",
    EndReason.SHUTDOWN: "the sidecar of one side was stopped",
    EndReason.INTERNAL_ERROR: "a bug; details are in the log",
}


class Kept(NamedTuple):
    """An envelope as it was kept; ``at_ms`` is network time."""

    at_ms: int
    sent: bool
    text: str


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One envelope. ``problem`` is why it proves nothing, None for one that does."""

    at: int
    sent: bool
    kind: str = "?"
    sender: str = ""
    sender_device: str = ""
    recipient: str = ""
    recipient_device: str | None = None
    epoch: str = ""
    gen: int = 0
    seq: int = 0
    issued_at: int = 0
    expires_at: int = 0
    size: int
    body: dict[str, Any] = {}
    verified: bool
    problem: str | None = None

    @property
    def peer(self) -> str:
        """The user at the other end."""
        return self.recipient if self.sent else self.sender


class Explanation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A call as far as this node knows it."""

    call_id: str
    why: str
    record: CallRecord | None = None
    steps: list[Step]
    problems: int
    """Envelopes that could not be verified."""


def explain(call_id: str, record: CallRecord | None, alive: bool, kept: Iterable[Kept]) -> Explanation:
    """``alive``: noted as such, by a process that runs or by one that crashed."""
    steps = [_step(call_id, one) for one in kept]
    return Explanation(
        call_id=call_id,
        record=record,
        steps=steps,
        why=_why(record, alive, steps),
        problems=sum(not step.verified for step in steps),
    )


def to_json(explanation: Explanation) -> str:
    return msgspec.json.format(msgspec.json.encode(explanation), indent=2).decode()


def _step(call_id: str, kept: Kept) -> Step:
    size = len(kept.text)
    try:
        signed = sealing.read_envelope(kept.text)
        signal, _ = payload.read(signed.get("payload"))
    except RemoteError as error:
        return Step(at=kept.at_ms, sent=kept.sent, size=size, verified=False, problem=error.reason)
    problem = _problem(call_id, signed, signal)
    return Step(
        at=kept.at_ms,
        sent=kept.sent,
        kind=signal.kind.value,
        sender=fingerprint(signal.sender.pub),
        sender_device=signal.sender.device or "",
        recipient=fingerprint(signal.recipient.pub),
        recipient_device=signal.recipient.device,
        epoch=signal.epoch,
        gen=signal.gen,
        seq=signal.seq,
        issued_at=signal.issued_at_ms,
        expires_at=signal.expires_at_ms,
        size=size,
        body=_shown(signal.body),
        verified=problem is None,
        problem=problem,
    )


def _problem(call_id: str, signed: dict[str, Any], signal: Signal) -> str | None:
    verdict = envelope.verify(signed)
    if not verdict.valid:
        return verdict.reason or "signature"
    if signed["author"]["pub"] != signal.sender.pub:
        return "sender"
    return None if signal.call_id == call_id else "another-call"


def _shown(body: AnyBody) -> dict[str, Any]:
    """What of a body may be seen."""
    shown: dict[str, Any] = {}
    for name, spelt in SHOWN.items():
        value = getattr(body, name, None)
        if value not in (None, "", False):
            shown[spelt] = claimed(value, 256) if isinstance(value, str) else value
    sdp = getattr(body, "sdp", None)
    if sdp is not None:
        shown["sdp"] = {"chars": len(sdp), "sha256": hashlib.sha256(sdp.encode()).hexdigest()}
    answered = getattr(body, "offer_digest", None)
    if answered is not None:
        shown["offerDigest"] = claimed(answered)
    members = getattr(body, "members", None)
    if members is not None:
        shown["members"] = len(members)
    return shown


def _why(record: CallRecord | None, alive: bool, steps: list[Step]) -> str:
    if record is None and not steps:
        return "nothing is known of it"
    if record is None:
        return "it is alive, or was when the process died" if alive else "it left no record here"
    return f"{record.end_reason.value}: {WHY[record.end_reason]}{_last_word(steps)}"


def _last_word(steps: list[Step]) -> str:
    """Who said goodbye first, and how."""
    if any(step.verified and step.kind in CONFERENCE for step in steps):
        return ""  # of several people each says goodbye for himself
    said = next((step for step in steps if step.verified and step.kind in HANGUPS), None)
    if said is None:
        return "; nobody said goodbye"
    reason = said.body.get("reason", "")
    return f"; {'we' if said.sent else 'the peer'} said {said.kind}" + (f" ({reason})" if reason else "")
