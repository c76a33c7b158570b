"""SEA, Gun's security layer: P-256 signatures, AES-GCM, ECDH, PBKDF2 (gun.md section 8; vectors: sea.json).

A pair is a mapping with gun's own keys: ``pub`` and ``epub`` are ``x.y`` in base64url without padding,
``priv`` and ``epriv`` the secret number in the same spelling. Text that does not verify or decrypt gives
None, as gun gives undefined: it comes from anybody.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidecar.clock import Random
from sidecar.graph.core.jsjson import stringify

__all__ = [
    "decrypt",
    "encrypt",
    "make_pair",
    "secret",
    "sign",
    "sign_value",
    "soul_pub",
    "stringify",
    "verify",
    "verify_value",
    "work",
]

PREFIX = "SEA"
_CURVE = ec.SECP256R1()
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SIGNING = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_VERIFYING = ec.ECDSA(hashes.SHA256())
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
    point = ec.derive_private_key(number, _CURVE).public_key().public_numbers()
    return _base64url(number), f"{_base64url(point.x)}.{_base64url(point.y)}"


def sign(value: Any, pair: Mapping[str, str]) -> str:
    """``SEA{"m":value,"s":signature}``; text that is JSON is signed as what it says, as gun does."""
    message = parse(value)
    return PREFIX + stringify({"m": message, "s": _signature(message, pair["priv"])})


def verify(text: Any, pub: str) -> Any | None:
    """The signed value, itself parsed if it is JSON text; None if this key did not sign it."""
    signed = parse(text)
    if not isinstance(signed, dict) or "m" not in signed:
        return None
    return parse(signed["m"]) if _verified(signed["m"], signed.get("s"), pub) else None


def sign_value(soul: str, key: str, value: Any, state: float, pair: Mapping[str, str]) -> str:
    """The text stored in user space for a value: the signature covers soul, key, value and state."""
    return stringify({":": value, "~": _signature(_signed_form(soul, key, value, state), pair["priv"])})


def verify_value(soul: str, key: str, stored: Any, state: float) -> bool:
    """Whether the owner named in the soul signed this cell. Certificates of others are not considered."""
    pub = soul_pub(soul)
    wrapped = parse(stored) if isinstance(stored, str) else None
    if pub is None or not isinstance(wrapped, dict) or ":" not in wrapped:
        return False
    return _verified(_signed_form(soul, key, wrapped[":"], state), wrapped.get("~"), pub)


def soul_pub(soul: str) -> str | None:
    """The public key that owns a soul: what follows its first ``~``, up to the second other character."""
    parts = soul.split("~")
    if len(parts) < 2 or not parts[1]:
        return None
    halves = _NOT_IN_PUB.split(parts[1])[:2]
    return ".".join(halves) if len(halves) == 2 else None


def encrypt(value: Any, key: str | Mapping[str, str], *, random: Random) -> str:
    """``SEA{"ct","iv","s"}``: AES-256-GCM with a 15-byte nonce under a salted key; ``key`` may be a pair."""
    salt, iv = random.bytes(_SALT_BYTES), random.bytes(_IV_BYTES)
    text = value if isinstance(value, str) else stringify(value)
    sealed = AESGCM(_aes_key(key, salt)).encrypt(iv, _utf8(text), None)
    return PREFIX + stringify({"ct": _base64(sealed), "iv": _base64(iv), "s": _base64(salt)})


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
    shared = _private(pair["epriv"]).exchange(ec.ECDH(), _public(epub))
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
    text = _utf8(data if isinstance(data, str) else stringify(data))
    if name == "SHA-256":
        result = hashlib.sha256(text).digest()
    else:
        salted = _utf8(salt if isinstance(salt, str) else stringify(salt))
        result = hashlib.pbkdf2_hmac("sha256", text, salted, iterations, length // 8)
    return result.hex() if encode == "hex" else _base64(result)


def parse(value: Any) -> Any:
    """Gun's forgiving parse: JSON text, with or without ``SEA`` in front, else the value itself."""
    if not isinstance(value, str):
        return value
    text = value[len(PREFIX) :] if value.startswith(PREFIX + "{") else value
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _signed_form(soul: str, key: str, value: Any, state: float) -> dict[str, Any]:
    return {"#": soul, ".": key, ":": value, ">": state}


def _hashed(message: Any) -> bytes:
    """Gun signs the digest as a message, so the text is hashed twice."""
    return hashlib.sha256(_utf8(message if isinstance(message, str) else stringify(message))).digest()


def _signature(message: Any, priv: str) -> str:
    r, s = decode_dss_signature(_private(priv).sign(_hashed(message), _SIGNING))
    return _base64(r.to_bytes(32) + s.to_bytes(32))


def _verified(message: Any, signature: Any, pub: str) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
        if len(raw) != 64:
            return False
        der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
        _public(pub).verify(der, _hashed(message), _VERIFYING)
    except (TypeError, ValueError, RecursionError, InvalidSignature):
        return False
    return True


@lru_cache(maxsize=1024)
def _public(pub: str) -> ec.EllipticCurvePublicKey:
    """Raises ValueError for text that is no point of the curve."""
    x, _, y = pub.partition(".")
    return ec.EllipticCurvePublicNumbers(_number(x), _number(y), _CURVE).public_key()


def _private(priv: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(_number(priv), _CURVE)


def _number(text: str) -> int:
    try:
        return int.from_bytes(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def _aes_key(key: str | Mapping[str, str], salt: bytes) -> bytes:
    phrase = key if isinstance(key, str) else key["epriv"]
    return hashlib.sha256(_utf8(phrase + salt.decode("latin-1"))).digest()


def _utf8(text: str) -> bytes:
    """As TextEncoder: lone surrogates become U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32)).decode("ascii").rstrip("=")
