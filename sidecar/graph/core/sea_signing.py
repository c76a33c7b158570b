"""SEA's signatures and keys: what the other halves of SEA stand on (gun.md section 8; vectors: sea.json).

Text that does not verify gives None, as gun gives undefined: it comes from anybody.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from sidecar.graph.core.jsjson import stringify

PREFIX = "SEA"
CURVE = ec.SECP256R1()
_SIGNING = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_VERIFYING = ec.ECDSA(hashes.SHA256())


def sign(value: Any, pair: Mapping[str, str]) -> str:
    """``SEA{"m":value,"s":signature}``; text that is JSON is signed as what it says, as gun does.

    What this pair has signed already comes back as it is, again as in gun.
    """
    message = parse(value)
    if isinstance(message, dict) and "m" in message and verified(message["m"], message.get("s"), pair["pub"]):
        return PREFIX + stringify(message)
    return PREFIX + stringify({"m": message, "s": signature(message, pair["priv"])})


def verify(text: Any, pub: str) -> Any | None:
    """The signed value, itself parsed if it is JSON text; None if this key did not sign it."""
    signed = parse(text)
    if not isinstance(signed, dict) or "m" not in signed:
        return None
    return parse(signed["m"]) if verified(signed["m"], signed.get("s"), pub) else None


def parse(value: Any) -> Any:
    """Gun's forgiving parse: JSON text, with or without ``SEA`` in front, else the value itself.

    The ``SEA`` of ``SEA{`` goes in any case, as in gun.
    """
    if not isinstance(value, str):
        return value
    text = value[len(PREFIX) :] if value.startswith(PREFIX + "{") else value
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def signature(message: Any, priv: str) -> str:
    """The 64 bytes r and s in base64, the same for the same message (RFC 6979)."""
    r, s = decode_dss_signature(private_key(priv).sign(_hashed(message), _SIGNING))
    return to_base64(r.to_bytes(32) + s.to_bytes(32))


def verified(message: Any, signed: Any, pub: str) -> bool:
    """Whether ``signed`` is a signature of the message by this key; anything else is just no."""
    try:
        raw = base64.b64decode(signed, validate=True)
        if len(raw) != 64:
            return False
        der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
        public_key(pub).verify(der, _hashed(message), _VERIFYING)
    except (TypeError, ValueError, RecursionError, InvalidSignature):
        return False
    return True


def _hashed(message: Any) -> bytes:
    """Gun signs the digest as a message, so the text is hashed twice."""
    return hashlib.sha256(utf8(message if isinstance(message, str) else stringify(message))).digest()


@lru_cache(maxsize=1024)
def public_key(pub: str) -> ec.EllipticCurvePublicKey:
    """Raises ValueError for text that is no point of the curve."""
    x, _, y = pub.partition(".")
    return ec.EllipticCurvePublicNumbers(_number(x), _number(y), CURVE).public_key()


def private_key(priv: str) -> ec.EllipticCurvePrivateKey:
    """Raises ValueError for text that is no number."""
    return ec.derive_private_key(_number(priv), CURVE)


def _number(text: str) -> int:
    try:
        return int.from_bytes(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def utf8(text: str) -> bytes:
    """As TextEncoder: lone surrogates become U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:  # two halves that Python holds apart are one character in JavaScript
        return _utf8_of_halves(text)


def _utf8_of_halves(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def to_base64(data: bytes) -> str:
    """Standard base64 with padding, the spelling of everything in SEA but keys."""
    return base64.b64encode(data).decode("ascii")
