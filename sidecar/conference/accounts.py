"""Who says what: a member alone that it is in a conference, its founder alone what the conference is.

Accounts and announcements are passed on by others, so the envelope of who passes them on proves nothing about
them. Each carries an Ed25519 signature of the one it is about (K09).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from sidecar.signaling.messages import AnnounceBody, MemberInfo
from sidecar.trust import sodium
from sidecar.trust.encoding import b64, strict_b64
from sidecar.trust.identity import Identity, raw_public_key

Sign = Callable[[bytes], str]
"""Signs as our user: the base64 of an Ed25519 signature."""


def signer(identity: Identity) -> Sign:
    """What signs for this identity."""
    return lambda text: b64(sodium.sign(text, identity.seed))


def signed(info: MemberInfo, call_id: str, sign: Sign) -> MemberInfo:
    """Our own account, as others may pass it on."""
    return msgspec.structs.replace(info, sig=sign(_account(info, call_id)))


def is_own_word(info: MemberInfo, call_id: str) -> bool:
    """Whether the device that an account is about has given it, for this conference."""
    return _verifies(_account(info, call_id), info.sig, info.pub)


def founding(call_id: str, *, call_type: str, session: str, key: str, nonce: str, created_at: int) -> bytes:
    """What a founder signs: nobody else gives his conference another session, key or age."""
    digest = hashlib.sha256(bytes.fromhex(key)).hexdigest()
    return msgspec.json.encode(["aleph-conference", call_id, call_type, session, digest, nonce, created_at])


def is_founded(body: AnnounceBody, call_id: str) -> bool:
    """Whether the one who is named as founder has made this conference."""
    text = founding(
        call_id,
        call_type=body.call_type,
        session=body.session,
        key=body.key,
        nonce=body.nonce,
        created_at=body.created_at,
    )
    return _verifies(text, body.founder_sig, body.founder)


def _account(info: MemberInfo, call_id: str) -> bytes:
    claims = [info.pub, info.device, info.lease, info.joined_at, info.at, info.left]
    return msgspec.json.encode(["aleph-member", call_id, *claims])


def _verifies(text: bytes, sig: str, pub: str) -> bool:
    raw, signature = raw_public_key(pub), strict_b64(sig)
    return raw is not None and signature is not None and sodium.verify(text, signature, raw)
