"""Who a user is: upstream's ``identity.json`` as a value (alephnet.md section 2).

Reading one needs neither libsodium nor OpenSSL, because it happens before the ready line. The two key
pairs (Ed25519 for envelopes, SEA's P-256 for user space) are independent upstream; a key card binds them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sidecar import ids
from sidecar.errors import LocalError

SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
PKCS8_PREFIX = bytes.fromhex("302e020100300506032b657004220420")
KEY_BYTES = 32
FIRST_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53)
BODY_PRIMES = (7, 13, 17, 37, 41, 43, 67, 83)
"""The same for every identity: upstream draws them from the fixed head of the DER form."""

SEA_MEMBERS = ("pub", "priv", "epub", "epriv")


class Identity(NamedTuple):
    """A key pair and what upstream derives from it.

    ``pub`` and ``priv`` are the base64 of SPKI and PKCS8 DER; ``resonance`` is opaque (its floats differ in
    the last bit between platforms) and carried verbatim; ``sea`` is gun's pair where the file has one.
    """

    pub: str
    priv: str
    fingerprint: str
    resonance: tuple[float, ...]
    body_primes: tuple[int, ...] = ()
    sea: Mapping[str, str] | None = None

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes."""
        return base64.b64decode(self.priv)[-KEY_BYTES:]

    @property
    def public_key(self) -> bytes:
        """The 32 raw public bytes: the form in which keys are compared."""
        return base64.b64decode(self.pub)[-KEY_BYTES:]


def generate(seed: bytes, sea: Mapping[str, str] | None = None) -> Identity:
    """The identity upstream would derive from these 32 random bytes; ``sea`` is a pair of gun's."""
    from sidecar.trust import sodium

    spki = SPKI_PREFIX + sodium.sign_public(seed)
    pub = base64.b64encode(spki).decode("ascii")
    priv = base64.b64encode(PKCS8_PREFIX + seed).decode("ascii")
    return Identity(pub, priv, ids.fingerprint(pub), resonance(spki), BODY_PRIMES, sea)


def resonance(spki: bytes) -> tuple[float, ...]:
    """Upstream's sixteen numbers over the DER form; equal to V8's to within the last bit."""
    size = len(spki)
    return tuple(
        math.tanh(sum(octet * math.sin(prime * index / size) for index, octet in enumerate(spki)) / size)
        for prime in FIRST_PRIMES
    )


def parse(document: Any) -> Identity:
    """Checks an ``identity.json``; raises LocalError naming the member that cannot be used.

    Whether ``pub`` belongs to ``priv`` needs libsodium: see :func:`check_pair`.
    """
    if not isinstance(document, Mapping):
        raise LocalError("identity: not an object")
    pub, priv = _key(document, "pub", SPKI_PREFIX), _key(document, "priv", PKCS8_PREFIX)
    if document.get("fingerprint") != ids.fingerprint(pub):
        raise LocalError("identity.fingerprint: not that of pub")
    return Identity(
        pub,
        priv,
        ids.fingerprint(pub),
        _numbers(document.get("resonance"), "resonance", (int, float)),
        _numbers(document.get("bodyPrimes", ()), "bodyPrimes", int),
        _sea(document.get("sea")),
    )


def check_pair(identity: Identity) -> None:
    """Raises LocalError if the private key is not that of the public one."""
    from sidecar.trust import sodium

    if sodium.sign_public(identity.seed) != identity.public_key:
        raise LocalError("identity.priv: not the private key of pub")


def to_json(identity: Identity) -> dict[str, Any]:
    """The members of ``identity.json`` in upstream's order."""
    document: dict[str, Any] = {
        "pub": identity.pub,
        "priv": identity.priv,
        "resonance": list(identity.resonance),
        "fingerprint": identity.fingerprint,
        "bodyPrimes": list(identity.body_primes),
    }
    if identity.sea is not None:
        document["sea"] = {name: identity.sea[name] for name in SEA_MEMBERS}
    return document


def raw_public_key(pub: object) -> bytes | None:
    """The 32 bytes of a public key spelt as canonical base64 of its SPKI DER form, else None."""
    if not isinstance(pub, str) or len(pub) != 60:
        return None
    try:
        der = base64.b64decode(pub, validate=True)
    except (binascii.Error, ValueError):
        return None
    canonical = base64.b64encode(der).decode("ascii") == pub
    return der[len(SPKI_PREFIX) :] if canonical and der.startswith(SPKI_PREFIX) else None


def library_fingerprint(raw: bytes, values: Sequence[float]) -> str:
    """The fingerprint of alephnet-node's library, for authors that spell their key as 32 raw bytes."""
    digest = hashlib.sha256(raw)
    digest.update(",".join(f"{value:.6f}" for value in values).encode("ascii"))
    return digest.hexdigest()[:16]


def _key(document: Mapping[str, Any], name: str, prefix: bytes) -> str:
    text = document.get(name)
    try:
        der = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        der = b""
    if not isinstance(text, str) or not der.startswith(prefix) or len(der) != len(prefix) + KEY_BYTES:
        raise LocalError(f"identity.{name}: not the base64 of an Ed25519 key in DER")
    if base64.b64encode(der).decode("ascii") != text:
        raise LocalError(f"identity.{name}: not canonical base64")
    return text


def _numbers(values: Any, name: str, kinds: Any) -> tuple[Any, ...]:
    plain = isinstance(values, (list, tuple)) and len(values) <= 64
    if not plain or not all(isinstance(value, kinds) and not isinstance(value, bool) for value in values):
        raise LocalError(f"identity.{name}: not a list of numbers")
    return tuple(values)


def _sea(pair: Any) -> Mapping[str, str] | None:
    if pair is None:
        return None
    if not isinstance(pair, Mapping) or not all(isinstance(pair.get(name), str) for name in SEA_MEMBERS):
        raise LocalError("identity.sea: not a pair with pub, priv, epub and epriv")
    return {name: pair[name] for name in SEA_MEMBERS}
