"""The signed payload: a ``Signal`` as the object that the envelope's hash covers (DESIGN D3).

Everything that decides what a signal means is in here: who, to whom, under which key, for which call and
room, in which order, from when till when. Members this version does not know are ignored; all others are
typed and bounded.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sidecar.errors import RemoteError
from sidecar.signaling.messages import BODIES, PAYLOAD_VERSION, Kind, Party, Signal

Hex16 = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Key = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/=]{44,60}\Z")]
Id = Annotated[str, Meta(min_length=1, max_length=512)]
CallId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Count = Annotated[int, Meta(ge=0, le=2**31)]
Time = Annotated[int, Meta(ge=0, lt=2**53)]


class _From(msgspec.Struct, frozen=True):
    pub: Key
    device: Hex16


class _To(msgspec.Struct, frozen=True, omit_defaults=True):
    pub: Key
    device: Hex16 | None = None


class _Payload(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The wire form, members in writing order (the hash sorts them anyway)."""

    v: int
    kind: str
    call_id: CallId
    sender: _From = msgspec.field(name="from")
    recipient: _To = msgspec.field(name="to")
    kid: Hex16
    room_id: Id | None = None
    domain_id: Id | None = None
    epoch: Hex16
    gen: Count
    seq: Count
    issued_at: Time
    expires_at: Time
    nonce: Hex32
    body: dict[str, Any]


def build(signal: Signal, kid: str) -> dict[str, Any]:
    """The payload of a signal that is sealed to the box key ``kid``."""
    payload = _Payload(
        v=PAYLOAD_VERSION,
        kind=signal.kind.value,
        call_id=signal.call_id,
        sender=_From(signal.sender.pub, signal.sender.device or ""),
        recipient=_To(signal.recipient.pub, signal.recipient.device),
        kid=kid,
        room_id=signal.room_id,
        domain_id=signal.domain_id,
        epoch=signal.epoch,
        gen=signal.gen,
        seq=signal.seq,
        issued_at=signal.issued_at_ms,
        expires_at=signal.expires_at_ms,
        nonce=signal.nonce,
        body=msgspec.to_builtins(signal.body),
    )
    built: dict[str, Any] = msgspec.to_builtins(payload)
    return built


def read(payload: Any) -> tuple[Signal, str]:
    """The signal and the ``kid`` it says it was sealed to.

    Raises RemoteError with reason ``version``, ``kind`` (not one this version knows) or ``payload``.
    """
    if not isinstance(payload, dict) or payload.get("v") != PAYLOAD_VERSION:
        raise RemoteError("version")
    try:
        parsed = msgspec.convert(payload, _Payload)
        kind = Kind(parsed.kind)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise RemoteError("payload") from error
    except ValueError as error:
        raise RemoteError("kind") from error
    try:
        body = msgspec.convert(parsed.body, BODIES[kind])
    except (msgspec.ValidationError, UnicodeError) as error:
        raise RemoteError("payload") from error
    signal = Signal(
        kind=kind,
        call_id=parsed.call_id,
        sender=Party(parsed.sender.pub, parsed.sender.device),
        recipient=Party(parsed.recipient.pub, parsed.recipient.device),
        body=body,
        epoch=parsed.epoch,
        gen=parsed.gen,
        seq=parsed.seq,
        issued_at_ms=parsed.issued_at,
        expires_at_ms=parsed.expires_at,
        nonce=parsed.nonce,
        room_id=parsed.room_id,
        domain_id=parsed.domain_id,
    )
    return signal, parsed.kid
