"""Upstream's SignedEnvelope (alephnet.md section 1): the signature covers the payload and nothing else.

Whatever must not be changed therefore lives inside the payload; author, times and versions beside it are
only consistent, never proven. ``strict`` verification also demands what upstream's never looks at: canonical
base64, a fingerprint that belongs to the key, every member of the right type.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from sidecar.errors import RemoteError
from sidecar.graph.core import jsjson
from sidecar.ids import fingerprint
from sidecar.trust import sodium
from sidecar.trust.canonical import content_hash
from sidecar.trust.encoding import b64, node_b64, strict_b64
from sidecar.trust.identity import (
    FIRST_PRIMES,
    KEY_BYTES,
    SPKI_PREFIX,
    Identity,
    library_fingerprint,
    raw_public_key,
)

PRIMES_IN_PROOF = 8
MAX_LIST = 64
"""Members of any list beside the payload."""


class Verification(NamedTuple):
    """A verdict; ``reason`` is a short static word where it is not valid.

    ``malformed`` ``hash`` ``base64`` ``key`` ``fingerprint`` ``signature`` ``time`` ``resonance``
    """

    valid: bool
    reason: str | None = None


def sign(
    payload: Any,
    identity: Identity | Mapping[str, Any],
    *,
    artifact_type: str,
    created_at_ms: int,
    version: str = "1.0.0",
    requested_capabilities: Sequence[str] = (),
    parent_envelope_hash: str | None = None,
) -> dict[str, Any]:
    """An envelope around ``payload``, byte for byte what upstream's ``create`` makes, members in its order.

    ``identity`` may be the object of an ``identity.json``.
    """
    author = _author_of(identity)
    digest = content_hash(payload)
    primes = proof_primes(digest, author.body_primes)
    envelope: dict[str, Any] = {
        "contentHash": digest,
        "payload": payload,
        "artifactType": artifact_type,
        "author": {
            "pub": author.pub,
            "fingerprint": author.fingerprint,
            "resonance": list(author.resonance),
        },
        "createdAt": created_at_ms,
        "version": version,
        "signature": b64(sodium.sign(digest.encode("ascii"), author.seed)),
        "resonanceProof": {
            "primes": primes,
            "hash": _proof_hash(digest, primes, author.resonance, created_at_ms),
            "timestamp": created_at_ms,
        },
        "endorsements": [],
        "requestedCapabilities": list(requested_capabilities),
    }
    if parent_envelope_hash:
        envelope["parentEnvelopeHash"] = parent_envelope_hash
    return envelope


def to_text(envelope: Mapping[str, Any]) -> str:
    """The envelope as one line, as ``JSON.stringify`` writes it."""
    return jsjson.stringify(envelope)


def verify(envelope: Any, *, strict: bool = True) -> Verification:
    """Whether the author's key signed the payload; never raises, whatever the envelope is.

    ``strict=False`` gives upstream's verdict, with invalid where upstream throws.
    """
    try:
        return _verify_strictly(envelope) if strict else _verify_as_upstream(envelope)
    except RemoteError as error:
        return Verification(False, error.reason)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return Verification(False, "malformed")


def proof_primes(digest: str, body_primes: Sequence[int]) -> list[int]:
    """The primes of the resonance proof, chosen by the content hash. They authenticate nothing."""
    if not body_primes:
        return [FIRST_PRIMES[octet % len(FIRST_PRIMES)] for octet in bytes.fromhex(digest[:16])]
    start = int(digest[:8], 16)
    count = min(len(body_primes), PRIMES_IN_PROOF)
    return [body_primes[(start + index) % len(body_primes)] for index in range(count)]


def _author_of(identity: Identity | Mapping[str, Any]) -> Identity:
    if isinstance(identity, Identity):
        return identity
    return Identity(
        identity["pub"],
        identity["priv"],
        identity["fingerprint"],
        tuple(identity["resonance"]),
        tuple(identity.get("bodyPrimes") or ()),
    )


def _verify_strictly(envelope: Any) -> Verification:
    _require(_well_formed(envelope) and not _has_lost_key(envelope["payload"]), "malformed")
    author, proof, digest = envelope["author"], envelope["resonanceProof"], envelope["contentHash"]
    public = _author_key(author)
    signature = strict_b64(envelope["signature"], sodium.SIGNATURE_BYTES)
    _require(signature is not None, "base64")
    _require(content_hash(envelope["payload"]) == digest, "hash")
    _require(sodium.verify(digest.encode("ascii"), signature or b"", public), "signature")
    _require(proof["timestamp"] == envelope["createdAt"], "time")
    expected = _proof_hash(digest, proof["primes"], author["resonance"], proof["timestamp"])
    _require(proof["hash"] == expected, "resonance")
    return Verification(True)


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise RemoteError(reason)


def _author_key(author: Mapping[str, Any]) -> bytes:
    """The author's 32 raw bytes: SPKI as the clients spell it, or raw as the library does."""
    pub = author["pub"]
    public = raw_public_key(pub)
    if public is not None:
        expected = fingerprint(pub)
    else:
        public = strict_b64(pub, KEY_BYTES) or b""
        _require(bool(public), "key")
        expected = library_fingerprint(public, author["resonance"])
    _require(author["fingerprint"] == expected, "fingerprint")
    return public


def _well_formed(envelope: Any) -> bool:
    if not isinstance(envelope, Mapping) or "payload" not in envelope:
        return False
    author, proof = envelope.get("author"), envelope.get("resonanceProof")
    if not isinstance(author, Mapping) or not isinstance(proof, Mapping):
        return False
    texts = (
        *(envelope.get(name) for name in ("contentHash", "artifactType", "version", "signature")),
        author.get("pub"),
        author.get("fingerprint"),
        proof.get("hash"),
        envelope.get("parentEnvelopeHash", ""),
    )
    return (
        all(isinstance(text, str) for text in texts)
        and type(envelope.get("createdAt")) is type(proof.get("timestamp")) is int
        and _is_list(author.get("resonance"), int, float)
        and all(map(math.isfinite, author["resonance"]))
        and _is_list(proof.get("primes"), int)
        and _is_list(envelope.get("endorsements"), dict)
        and _is_list(envelope.get("requestedCapabilities"), str)
    )


def _is_list(values: Any, *kinds: type) -> bool:
    """A list of bounded length whose members are exactly of these types (so that true is no number)."""
    return isinstance(values, list) and len(values) <= MAX_LIST and set(map(type, values)) <= set(kinds)


def _has_lost_key(payload: Any) -> bool:
    """A ``__proto__`` member anywhere: hashing drops it, so it would be unsigned content."""
    pending = [payload]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            if "__proto__" in item:
                return True
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return False


def _verify_as_upstream(envelope: Any) -> Verification:
    if content_hash(envelope["payload"]) != envelope["contentHash"]:
        return Verification(False, "hash")
    author, proof = envelope["author"], envelope["resonanceProof"]
    if not _openssl_verifies(envelope["contentHash"], envelope["signature"], author["pub"]):
        return Verification(False, "signature")
    expected = _proof_hash(
        envelope["contentHash"], proof["primes"], author["resonance"], proof.get("timestamp", msgspec.UNSET)
    )
    if proof.get("hash") != expected:
        return Verification(False, "resonance")
    return Verification(True)


def _openssl_verifies(digest: str, signature: str, pub: str) -> bool:
    """As Node does: the key through a forgiving PEM reader, the signature through ``Buffer.from``."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        der = base64.b64decode("".join(pub.split()), validate=True)
        if len(der) != len(SPKI_PREFIX) + KEY_BYTES or not der.startswith(SPKI_PREFIX):
            return False
        key = Ed25519PublicKey.from_public_bytes(der[len(SPKI_PREFIX) :])
        key.verify(node_b64(signature), digest.encode("ascii"))
    except (binascii.Error, ValueError, AttributeError, InvalidSignature):
        return False
    return True


def _proof_hash(digest: str, primes: Any, resonance: Any, timestamp: Any) -> str:
    text = f"{digest}:{_joined(primes)}:{_joined(resonance)}:{_interpolated(timestamp)}"
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _joined(values: Any) -> str:
    """``Array.prototype.join(',')``: null leaves nothing."""
    if not isinstance(values, (list, tuple)):
        raise TypeError("not an array")
    if set(map(type, values)) <= {int, float}:
        return ",".join(map(jsjson.number, values))
    return ",".join("" if value is None else _interpolated(value) for value in values)


def _interpolated(value: Any) -> str:
    """The text of a scalar in a template literal."""
    if isinstance(value, str):
        return value
    if value is None or value is msgspec.UNSET:
        return "null" if value is None else "undefined"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return jsjson.number(value)
    raise TypeError("not a scalar")
