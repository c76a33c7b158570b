"""SEA, Gun's security layer: P-256 signatures, AES-GCM, ECDH, PBKDF2 (gun.md section 8; vectors: sea.json).

A pair is a mapping with gun's own keys: ``pub`` and ``epub`` are ``x.y`` in base64url without padding,
``priv`` and ``epriv`` the secret number in the same spelling. Text that does not verify or decrypt gives
None, as gun gives undefined: it comes from anybody.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidecar.clock import Random
from sidecar.graph.core import sea_certificates
from sidecar.graph.core.jsjson import stringify
from sidecar.graph.core.sea_certificates import ReadCell, Write, certify, read_nothing
from sidecar.graph.core.sea_signing import (
    CURVE,
    PREFIX,
    parse,
    private_key,
    public_key,
    sign,
    signature,
    to_base64,
    utf8,
    verified,
    verify,
)

__all__ = [
    "certify",
    "decrypt",
    "encrypt",
    "make_pair",
    "objection",
    "parse",
    "secret",
    "sign",
    "sign_value",
    "soul_pub",
    "stringify",
    "verify",
    "verify_value",
    "work",
]

UNVERIFIED = "Unverified data."
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SALT_BYTES = 9
_IV_BYTES = 15
_NOT_IN_PUB = re.compile(r"[^A-Za-z0-9_-]")


def make_pair(random: Random) -> dict[str, str]:
    """A new pair of signing and encryption keys."""
    priv, pub = _make_key(random)
    epriv, epub = _make_key(random)
    return {"pub": pub, "priv": priv, "epub": epub, "epriv": epriv}


def _make_key(random: Random) -> tuple[str, str]:
    number = int.from_bytes(random.bytes(40)) % (_ORDER - 1) + 1  # 64 spare bits leave no bias worth naming
    point = ec.derive_private_key(number, CURVE).public_key().public_numbers()
    return _base64url(number), f"{_base64url(point.x)}.{_base64url(point.y)}"


# User space


def sign_value(
    soul: str,
    key: str,
    value: Any,
    state: float,
    pair: Mapping[str, str],
    *,
    certificate: str | None = None,
) -> str:
    """The text stored in user space for a value: the signature covers soul, key, value and state.

    ``certificate``: what the owner of the soul gave to ``pair`` for it, see :func:`certify`.
    """
    stored = {":": value, "~": signature(_signed_form(soul, key, value, state), pair["priv"])}
    if certificate is not None:
        stored |= {"+": parse(certificate), "*": pair["pub"]}
    return stringify(stored)


def verify_value(soul: str, key: str, stored: Any, state: float) -> bool:
    """Whether the owner named in the soul, or one with the owner's certificate, signed this cell.

    Block lists of certificates are not at hand here: a relay, which has them, asks :func:`objection`.
    """
    return objection(soul, key, stored, state) is None


def objection(soul: str, key: str, stored: Any, state: float, read: ReadCell = read_nothing) -> str | None:
    """Why a cell of user space must not be kept, in gun.js's words; None if it may."""
    owner = soul_pub(soul)
    cell = parse(stored) if isinstance(stored, str) else None
    if owner is None or not isinstance(cell, dict) or ":" not in cell:
        return UNVERIFIED
    writer = cell.get("*", owner)
    message = _signed_form(soul, key, cell[":"], state)
    if not isinstance(writer, str) or not verified(message, cell.get("~"), writer):
        return UNVERIFIED
    if writer == owner:
        return None
    if not isinstance(cell.get("+"), dict):  # gun.js lets anybody in who names himself and shows nothing
        return UNVERIFIED
    return sea_certificates.objection(cell["+"], Write(writer, owner, soul, key, state), read)


def soul_pub(soul: str) -> str | None:
    """The public key that owns a soul: what follows its first ``~``, up to the second other character."""
    parts = soul.split("~")
    if len(parts) < 2 or not parts[1]:
        return None
    halves = _NOT_IN_PUB.split(parts[1])[:2]
    return ".".join(halves) if len(halves) == 2 else None


def _signed_form(soul: str, key: str, value: Any, state: float) -> dict[str, Any]:
    return {"#": soul, ".": key, ":": value, ">": state}


# Secrets


def encrypt(value: Any, key: str | Mapping[str, str], *, random: Random) -> str:
    """``SEA{"ct","iv","s"}``: AES-256-GCM with a 15-byte nonce under a salted key; ``key`` may be a pair."""
    salt, iv = random.bytes(_SALT_BYTES), random.bytes(_IV_BYTES)
    text = value if isinstance(value, str) else stringify(value)
    sealed = AESGCM(_aes_key(key, salt)).encrypt(iv, utf8(text), None)
    return PREFIX + stringify({"ct": to_base64(sealed), "iv": to_base64(iv), "s": to_base64(salt)})


def decrypt(text: Any, key: str | Mapping[str, str]) -> Any | None:
    """What was encrypted, parsed if it is JSON; None if this key does not open it."""
    box = parse(text)
    if not isinstance(box, dict):
        return None
    try:
        sealed, iv, salt = (base64.b64decode(box[name], validate=True) for name in ("ct", "iv", "s"))
        return parse(AESGCM(_aes_key(key, salt)).decrypt(iv, sealed, None).decode())
    except (KeyError, TypeError, ValueError, InvalidTag):
        return None


def secret(epub: str, pair: Mapping[str, str]) -> str:
    """The key two pairs share: the ECDH x coordinate."""
    shared = private_key(pair["epriv"]).exchange(ec.ECDH(), public_key(epub))
    return base64.urlsafe_b64encode(shared).decode("ascii").rstrip("=")


def work(
    data: Any,
    salt: Any = None,
    *,
    name: str = "PBKDF2",
    iterations: int = 100_000,
    length: int = 512,
    encode: str = "base64",
) -> str:
    """Proof of work: PBKDF2-HMAC-SHA256 with ``length`` in bits, or a plain hash with ``name="SHA-256"``."""
    text = utf8(data if isinstance(data, str) else stringify(data))
    if name == "SHA-256":
        result = hashlib.sha256(text).digest()
    else:
        salted = utf8(salt if isinstance(salt, str) else stringify(salt))
        result = hashlib.pbkdf2_hmac("sha256", text, salted, iterations, length // 8)
    return result.hex() if encode == "hex" else to_base64(result)


def _aes_key(key: str | Mapping[str, str], salt: bytes) -> bytes:
    phrase = key if isinstance(key, str) else key["epriv"]
    return hashlib.sha256(utf8(phrase + salt.decode("latin-1"))).digest()


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32)).decode("ascii").rstrip("=")
