"""Base64 as upstream writes it, and as Node reads it."""

from __future__ import annotations

import base64
import binascii
import re

_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
_URL_SAFE = str.maketrans("-_", "+/")


def b64(data: bytes) -> str:
    """Standard alphabet, padded."""
    return base64.b64encode(data).decode("ascii")


def strict_b64(text: object, length: int | None = None) -> bytes | None:
    """The bytes, or None unless ``text`` is their one canonical spelling (and they are ``length`` long)."""
    if not isinstance(text, str):
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    if b64(data) != text or (length is not None and len(data) != length):
        return None
    return data


def node_b64(text: str) -> bytes:
    """As ``Buffer.from(text, 'base64')``: either alphabet, others skipped, ends at the first ``=``."""
    plain = _NOT_BASE64.sub("", text.split("=", 1)[0].translate(_URL_SAFE))
    plain = plain[: len(plain) - 1] if len(plain) % 4 == 1 else plain
    return base64.b64decode(plain + "=" * (-len(plain) % 4))
