"""Sealing text to one X25519 key, at one of four sizes, so that a watcher learns little from lengths (D3).

The format is libsodium's SealedBox, made from an ephemeral key that the caller passes: a simulation with
seeded randomness writes the same bytes twice. Inside is the text as a zlib stream (a session description
shrinks to a third, docs/adr/0006) and then zero bytes up to the size.
"""

from __future__ import annotations

import zlib

from sidecar.errors import Code, LocalError
from sidecar.trust import sodium
from sidecar.trust.encoding import b64, strict_b64

SIZES = (1024, 4096, 8192, 16384)
"""Bytes inside a box after padding; the last is also the limit of the text before it is deflated."""

MAX_BOX_CHARS = 4 * ((SIZES[-1] + sodium.SEAL_OVERHEAD + 2) // 3)
"""Characters of the base64 of the largest box."""

_BOX_BYTES = frozenset(size + sodium.SEAL_OVERHEAD for size in SIZES)


def seal(text: str, recipient: bytes, ephemeral_private: bytes) -> str:
    """The base64 of the deflated, padded and sealed text. Raises LocalError ``too-large`` above 16 KiB."""
    plain = text.encode("utf-8")
    deflated = zlib.compress(plain, zlib.Z_BEST_COMPRESSION)
    size = next((size for size in SIZES if len(deflated) <= size), None)
    if size is None or len(plain) > SIZES[-1]:
        raise LocalError(
            f"the signal has {len(plain)} bytes, more than {SIZES[-1]}",
            code=Code.TOO_LARGE,
            details={"bytes": len(plain), "limit": SIZES[-1]},
        )
    return b64(sodium.seal(deflated.ljust(size, b"\0"), recipient, ephemeral_private))


def box_bytes(box: object) -> bytes | None:
    """The box if it is the canonical base64 of one of the four sizes; checked before decryption."""
    if not isinstance(box, str) or len(box) > MAX_BOX_CHARS:
        return None
    data = strict_b64(box)
    return data if data is not None and len(data) in _BOX_BYTES else None


def open_box(data: bytes, private: bytes, public: bytes) -> str | None:
    """The text, or None if it was sealed to another key, altered, is no deflated text or one above 16 KiB."""
    plain = sodium.open_sealed(data, private, public)
    if plain is None:
        return None
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(plain, SIZES[-1])
        return text.decode("utf-8") if inflate.eof else None
    except (zlib.error, UnicodeDecodeError):
        return None
