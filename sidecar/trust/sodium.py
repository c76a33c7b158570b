"""The one door to libsodium. Loaded at the first use, because 60 ms of it do not fit before the ready line.

Keys are raw 32-byte strings throughout: an Ed25519 ``seed`` and public key, X25519 private and public keys.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from types import ModuleType

KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEAL_OVERHEAD = 48
"""Bytes a sealed box is longer than its content: ephemeral public key and authenticator."""


@lru_cache(maxsize=1)
def _sodium() -> ModuleType:
    from nacl import bindings

    return bindings


def sign_public(seed: bytes) -> bytes:
    """The Ed25519 public key of a seed."""
    public, _ = _sodium().crypto_sign_seed_keypair(seed)
    return bytes(public)


def sign(message: bytes, seed: bytes) -> bytes:
    """A detached Ed25519 signature (RFC 8032)."""
    sodium = _sodium()
    _, secret = sodium.crypto_sign_seed_keypair(seed)
    return bytes(sodium.crypto_sign(message, secret)[:SIGNATURE_BYTES])


def verify(message: bytes, signature: bytes, public: bytes) -> bool:
    """Whether ``public`` signed; small-order keys and malleable signatures fail."""
    from nacl.exceptions import CryptoError

    if len(signature) != SIGNATURE_BYTES or len(public) != KEY_BYTES:
        return False
    try:
        _sodium().crypto_sign_open(signature + message, public)
    except CryptoError:
        return False
    return True


@lru_cache(maxsize=4096)
def to_x25519_public(ed25519_public: bytes) -> bytes | None:
    """The X25519 form of an Ed25519 public key (the birational map); None for a point that is not a key."""
    from nacl.exceptions import CryptoError

    try:
        return bytes(_sodium().crypto_sign_ed25519_pk_to_curve25519(ed25519_public))
    except (CryptoError, ValueError):
        return None


def to_x25519_private(seed: bytes) -> bytes:
    """The X25519 form of an Ed25519 seed: the clamped first half of its SHA-512."""
    scalar = bytearray(hashlib.sha512(seed).digest()[:KEY_BYTES])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    return bytes(scalar)


def x25519_public(private: bytes) -> bytes:
    """The public key of an X25519 private key; ValueError unless it has 32 bytes."""
    if len(private) != KEY_BYTES:
        raise ValueError("an X25519 private key has 32 bytes")
    return bytes(_sodium().crypto_scalarmult_base(private))


def x25519(private: bytes, public: bytes) -> bytes | None:
    """The shared secret, or None for a public key of small order or wrong length.

    The binding does not look at lengths: it would read past the end of short ones.
    """
    from nacl.exceptions import CryptoError

    if len(private) != KEY_BYTES or len(public) != KEY_BYTES:
        return None
    try:
        shared = bytes(_sodium().crypto_scalarmult(private, public))
    except (CryptoError, ValueError):
        return None
    return shared if any(shared) else None


def seal(content: bytes, recipient: bytes, ephemeral_private: bytes) -> bytes:
    """A sealed box (libsodium's ``crypto_box_seal`` format) made with a given ephemeral key.

    The key must be fresh random bytes for every box: two boxes with one ephemeral key share a nonce.
    """
    sodium = _sodium()
    ephemeral = x25519_public(ephemeral_private)
    nonce = hashlib.blake2b(ephemeral + recipient, digest_size=24).digest()
    shared = sodium.crypto_box_beforenm(recipient, ephemeral_private)
    return ephemeral + bytes(sodium.crypto_box_easy_afternm(content, nonce, shared))


def open_sealed(box: bytes, private: bytes, public: bytes) -> bytes | None:
    """The content of a sealed box, or None if it was not sealed to this key or was altered."""
    from nacl.exceptions import CryptoError

    try:
        return bytes(_sodium().crypto_box_seal_open(box, public, private))
    except (CryptoError, ValueError, TypeError):
        return None
