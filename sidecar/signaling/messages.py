"""What two nodes say to each other about a call (DESIGN D3, D4): kinds, bodies, before they are sealed.

Everything that matters is inside the signed payload, because upstream's signature covers nothing else
(alephnet.md section 1.4). ``Signal`` is that payload as a value; ``signaling.sealing`` turns it into a leaf.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

PAYLOAD_VERSION = 1

SessionId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
"""128 random bits in hex; it becomes part of a soul, so nothing else may stand in it."""
DisplayName = Annotated[str, Meta(max_length=256)]
Word = Annotated[str, Meta(max_length=64)]
Signature = Annotated[str, Meta(pattern=r"^([A-Za-z0-9+/]{86}==)?\Z")]
LeaseKey = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{0,90}\Z")]
"""A SEA public key; it becomes part of a soul, so nothing else may stand in it."""


class Kind(StrEnum):
    """Message kinds; a reader ignores and counts the ones it does not know."""

    INVITE = "invite"
    """Caller to callee: a call exists. Between contacts it carries the offer."""
    RECEIPT = "receipt"
    """A contact's device opened the invitation (before any decision of its user)."""
    RINGING = "ringing"
    """The callee's user is being alerted."""
    ACCEPT = "accept"
    """The callee takes the call: the answer for a contact, the callee's offer for a stranger."""
    ANSWER = "answer"
    """The caller's answer to an offer that came inside an accept."""
    REJECT = "reject"
    """The callee's user declined."""
    BUSY = "busy"
    """The callee is in another call."""
    CANCEL = "cancel"
    """The caller gave up before an accept, or took another device's accept."""
    END = "end"
    """Either side leaves a call."""
    OFFER = "offer"
    """The offerer of a connection makes its next generation (D4)."""
    RESTART = "restart"
    """The other side of it asks for one; ``gen`` names the generation that is no good any more."""
    ANNOUNCE = "announce"
    """A conference lives: to every member of its room once a minute, to somebody invited once."""
    GROW = "grow"
    """To the peer of a 1:1 call: it becomes a conference under the same call id."""
    JOIN = "join"
    """To each member of a conference: somebody joins, with the offer of the connection of the two."""
    REMOVE = "remove"
    """A moderator removes a member; to every member."""
    HUSH = "hush"
    """A moderator asks a member to be mute."""


class Body(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Base of all bodies: members unknown to this version are ignored."""


class InviteBody(Body, frozen=True, kw_only=True):
    """``session`` names the soul ``calls/s/<session>``, where the rest of the call runs."""

    call_type: Word
    session: SessionId
    display_name: DisplayName
    sdp: str | None = None


class AcceptBody(Body, frozen=True, kw_only=True):
    """``sdp_type`` is ``answer`` (then ``offer_digest`` names the offer, SHA-256 hex) or ``offer``."""

    sdp: str
    sdp_type: Word
    offer_digest: Word | None = None
    display_name: DisplayName = ""


class AnswerBody(Body, frozen=True, kw_only=True):
    """The caller's answer; ``offer_digest`` is the SHA-256 hex of the offer it answers."""

    sdp: str
    offer_digest: Word


class OfferBody(Body, frozen=True):
    """The offer of the generation that ``gen`` names."""

    sdp: str


class MemberInfo(Body, frozen=True, kw_only=True):
    """A member of a conference as another one knows it; times are network time in milliseconds.

    ``lease``: the SEA public key of the space where its presence stands; empty until it is known. ``at``: the
    newest moment at which the member itself said that it was there, which decides between two accounts.
    ``sig``: the member's signature, see ``conference.accounts``; without one an account is not passed on.
    """

    pub: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/=]{44,60}\Z")]
    device: Word
    lease: LeaseKey = ""
    joined_at: Annotated[int, Meta(ge=0, lt=2**53)]
    at: Annotated[int, Meta(ge=0, lt=2**53)]
    left: bool = False
    sig: Signature = ""


class AnnounceBody(Body, frozen=True, kw_only=True):
    """A conference: where it is (``session``), what opens it (``key``, 32 bytes in hex), who is in it.

    In a room the call id is SHA-256(room id, ``nonce``, ``founder``), and ``founder_sig`` is the founder's
    signature of all that never changes in it. Outside rooms ``founder`` is who began
    the call that has grown, as the teller says.
    """

    call_type: Word
    session: SessionId
    key: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    nonce: SessionId
    founder: Annotated[str, Meta(pattern=r"^([A-Za-z0-9+/=]{44,60})?\Z")] = ""
    founder_sig: Signature = ""
    display_name: DisplayName
    created_at: Annotated[int, Meta(ge=0, lt=2**53)]
    ring: bool = False
    members: Annotated[list[MemberInfo], Meta(max_length=16)]


class JoinBody(Body, frozen=True, kw_only=True):
    """``proof``: HMAC-SHA256 in hex with the session's key, see ``conference.ids``; ``sdp`` is the offer,
    None when the connection of the two exists already (a grown call). ``info``: the joiner's own account."""

    info: MemberInfo
    proof: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    display_name: DisplayName
    sdp: str | None = None


class TargetBody(Body, frozen=True):
    """Whom a moderator means."""

    user_id: Word


class ReasonBody(Body, frozen=True, kw_only=True):
    """Reject, busy, cancel, end: ``reason`` is an ``EndReason`` value as the sender sees it.

    ``detail``: words of the sender's user for the log of the receiver, at most 256 characters are kept.
    ``device``: the one device of the receiver that this is not meant for, because it took the call.
    """

    reason: Word
    detail: str = ""
    device: Word = ""


class EmptyBody(Body, frozen=True):
    """Receipt, ringing, restart, hush."""


AnyBody = (
    InviteBody | AcceptBody | AnswerBody | OfferBody | ReasonBody | EmptyBody | AnnounceBody | JoinBody
    | TargetBody
)  # fmt: skip

BODIES: dict[Kind, type[AnyBody]] = {
    Kind.INVITE: InviteBody,
    Kind.RECEIPT: EmptyBody,
    Kind.RINGING: EmptyBody,
    Kind.ACCEPT: AcceptBody,
    Kind.ANSWER: AnswerBody,
    Kind.REJECT: ReasonBody,
    Kind.BUSY: ReasonBody,
    Kind.CANCEL: ReasonBody,
    Kind.END: ReasonBody,
    Kind.OFFER: OfferBody,
    Kind.RESTART: EmptyBody,
    Kind.ANNOUNCE: AnnounceBody,
    Kind.GROW: AnnounceBody,
    Kind.JOIN: JoinBody,
    Kind.REMOVE: TargetBody,
    Kind.HUSH: EmptyBody,
}


class Party(msgspec.Struct, frozen=True, omit_defaults=True):
    """One end: full SPKI base64 key, and the device where one is meant (None: every device of the user)."""

    pub: str
    device: str | None = None


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One signed message; times are network time in integer milliseconds."""

    kind: Kind
    call_id: str
    sender: Party
    recipient: Party
    body: AnyBody
    epoch: str
    gen: int
    seq: int
    issued_at_ms: int
    expires_at_ms: int
    nonce: str
    room_id: str | None = None
    domain_id: str | None = None


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that passed every check of D3.

    ``user_id`` is whose it is, by full key and never by claim. ``contact``: a friend whose full key our
    social copy holds. ``verified_name``: the name in our social copy, None where there is none.
    """

    signal: Signal
    user_id: str
    contact: bool
    verified_name: str | None = None
