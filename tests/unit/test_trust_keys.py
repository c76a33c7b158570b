"""Keys: conversion, agreement, sealing, the names only two users can compute, weekly box keys."""

from __future__ import annotations

import base64
import random
import zlib

import nacl.bindings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.public import PrivateKey, SealedBox
from nacl.signing import SigningKey

from sidecar.errors import Code, LocalError
from sidecar.trust import boxkeys, encoding, pairwise, seal, sodium
from tests.signaling_kit import ALICE, BOB, MALLORY, NOW_MS, shared

SMALL_ORDER = [bytes(32), (1).to_bytes(32, "little")]


def test_ed25519_becomes_x25519_as_libsodium_has_it() -> None:
    key = SigningKey(ALICE.seed)
    assert sodium.to_x25519_public(ALICE.public_key) == key.verify_key.to_curve25519_public_key().encode()
    assert sodium.to_x25519_private(ALICE.seed) == key.to_curve25519_private_key().encode()


@pytest.mark.parametrize("bad", [b"", b"short", b"\xff" * 32, *SMALL_ORDER])
def test_unusable_public_keys_are_none(bad: bytes) -> None:
    assert sodium.to_x25519_public(bad) is None


@pytest.mark.parametrize("bad", [b"", *SMALL_ORDER])
def test_agreement_with_a_small_order_key_is_refused(bad: bytes) -> None:
    assert sodium.x25519(sodium.to_x25519_private(ALICE.seed), bad) is None


def test_signatures() -> None:
    signature = sodium.sign(b"text", ALICE.seed)
    assert sodium.verify(b"text", signature, ALICE.public_key)
    assert not sodium.verify(b"text!", signature, ALICE.public_key)
    assert not sodium.verify(b"text", signature, BOB.public_key)
    assert not sodium.verify(b"text", signature[:63], ALICE.public_key)
    assert not sodium.verify(b"text", signature, b"")


def test_both_ends_agree_and_nobody_else_does() -> None:
    assert shared(ALICE, BOB) == shared(BOB, ALICE)
    assert shared(ALICE, BOB) != shared(ALICE, MALLORY)
    assert pairwise.shared_secret(ALICE.seed, bytes(32)) is None


def test_inbox_names_differ_by_pair_day_and_direction() -> None:
    secret = shared(ALICE, BOB)
    name = pairwise.inbox_name(secret, "2026-11-22", BOB.fingerprint)
    assert len(name) == 26
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz234567")
    others = {
        pairwise.inbox_name(secret, "2026-11-23", BOB.fingerprint),
        pairwise.inbox_name(secret, "2026-11-22", ALICE.fingerprint),
        pairwise.inbox_name(shared(ALICE, MALLORY), "2026-11-22", BOB.fingerprint),
    }
    assert len(others | {name}) == 4


def test_the_key_hint_changes_with_every_leaf() -> None:
    secret = shared(ALICE, BOB)
    hints = {pairwise.leaf_kid(secret, "ab" * 8, leaf) for leaf in ("00" * 16, "01" * 16)}
    assert len(hints) == 2
    assert all(len(hint) == 16 for hint in hints)


def test_box_is_libsodiums_sealed_box() -> None:
    recipient = PrivateKey.generate()
    box = seal.seal('{"a":1}', recipient.public_key.encode(), b"\x07" * 32)
    data = encoding.strict_b64(box)
    assert data is not None
    plain = SealedBox(recipient).decrypt(data)
    assert len(plain) == 1024
    inflate = zlib.decompressobj()
    assert inflate.decompress(plain) == b'{"a":1}'
    assert inflate.unused_data.strip(b"\0") == b""
    theirs = SealedBox(recipient.public_key).encrypt(zlib.compress(b'{"b":2}').ljust(1024, b"\0"))
    assert seal.open_box(theirs, recipient.encode(), recipient.public_key.encode()) == '{"b":2}'


def test_sealing_is_reproducible_from_its_ephemeral_key() -> None:
    public = nacl.bindings.crypto_scalarmult_base(b"\x01" * 32)
    assert seal.seal("x", public, b"\x02" * 32) == seal.seal("x", public, b"\x02" * 32)
    assert seal.seal("x", public, b"\x02" * 32) != seal.seal("x", public, b"\x03" * 32)


@pytest.mark.parametrize(
    ("length", "size"), [(1, 1024), (1300, 1024), (1500, 4096), (6000, 8192), (12000, 16384), (16384, 16384)]
)
def test_boxes_have_one_of_four_sizes(length: int, size: int) -> None:
    """The text is base64 of noise: six bits a character are left when it is deflated."""
    key = boxkeys.of_identity(BOB.seed)
    text = base64.b64encode(random.Random(length).randbytes(length))[:length].decode()
    box = seal.seal(text, key.public, b"\x05" * 32)
    data = seal.box_bytes(box)
    assert data is not None
    assert len(data) == size + sodium.SEAL_OVERHEAD
    assert len(box) <= seal.MAX_BOX_CHARS
    assert seal.open_box(data, key.private, key.public) == text


def test_more_than_16_kib_is_too_large_for_the_sender() -> None:
    with pytest.raises(LocalError) as caught:
        seal.seal("é" * 8193, boxkeys.of_identity(BOB.seed).public, bytes(32))
    assert caught.value.code is Code.TOO_LARGE
    assert caught.value.details == {"bytes": 16386, "limit": 16384}


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1072, max_size=1072))
def test_junk_of_the_right_size_does_not_open(junk: bytes) -> None:
    key = boxkeys.of_identity(BOB.seed)
    assert seal.open_box(junk, key.private, key.public) is None


def test_altered_and_misdirected_boxes_do_not_open() -> None:
    bob, mallory = boxkeys.of_identity(BOB.seed), boxkeys.of_identity(MALLORY.seed)
    data = seal.box_bytes(seal.seal("x", bob.public, b"\x05" * 32))
    assert data is not None
    assert seal.open_box(data, mallory.private, mallory.public) is None
    for position in (0, 40, 500, len(data) - 1):
        altered = bytearray(data)
        altered[position] ^= 1
        assert seal.open_box(bytes(altered), bob.private, bob.public) is None


@pytest.mark.parametrize(
    "plain",
    [
        zlib.compress(b"\xff"),
        b"not deflated",
        zlib.compress(b"x" * 16385),
        zlib.compress(b"x" * 100_000_000),
        zlib.compress(b"cut short, cut short")[:-3],
    ],
    ids=["not utf-8", "not deflated", "too long", "bomb", "cut"],
)
def test_what_is_not_a_deflated_text_of_16_kib_is_none(plain: bytes) -> None:
    key = boxkeys.of_identity(BOB.seed)
    box = sodium.seal(plain[:16384].ljust(16384, b"\0"), key.public, bytes(32))
    assert seal.open_box(box, key.private, key.public) is None


@pytest.mark.parametrize("box", [None, 5, "", "AAAA", "A" * 1432, "A" * 30_000, "é" * 1432])
def test_other_sizes_and_spellings_are_not_decrypted(box: object) -> None:
    assert seal.box_bytes(box) is None


@pytest.mark.parametrize("text", ["YQ", "YQ==\n", "Y Q==", "YR==", "-_+/", None, "é", "YQ==YQ=="])
def test_only_the_one_canonical_base64_is_strict(text: object) -> None:
    assert encoding.strict_b64(text) is None


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("YQ==YQ==", "61"),
        ("YWJj ZGVm", "616263646566"),
        ("YWJj=ZGVm", "616263"),
        ("YW*Jj", "616263"),
        ("YWJ", "6162"),
        ("Y", ""),
        ("YWJjZ", "616263"),
        ("-_+/", "fbffbf"),
        ("é YWJj", "616263"),
    ],
)
def test_node_reads_base64_like_this(text: str, octets: str) -> None:
    assert encoding.node_b64(text).hex() == octets  # told by Node 20


def test_box_keys_last_a_week_and_are_forgotten_48_hours_later() -> None:
    first = boxkeys.rotate((), NOW_MS, b"\x01" * 32)
    assert len(first) == 1
    assert first[0].not_after_ms == NOW_MS + boxkeys.LIFETIME_MS
    assert not boxkeys.due(first, NOW_MS)
    ends = first[0].not_after_ms
    assert boxkeys.rotate(first, ends - 1, b"\x02" * 32) == first
    assert boxkeys.due(first, ends)
    second = boxkeys.rotate(first, ends, b"\x02" * 32)
    assert second[1:] == first
    assert boxkeys.usable(second, ends) == second[:1]
    assert boxkeys.rotate(second, ends + boxkeys.GRACE_MS - 1, b"\x03" * 32) == second
    assert boxkeys.due(second, ends + boxkeys.GRACE_MS)
    assert boxkeys.rotate(second, ends + boxkeys.GRACE_MS, b"\x03" * 32) == second[:1]


def test_a_long_sleep_leaves_only_a_new_key() -> None:
    old = boxkeys.rotate((), NOW_MS, b"\x01" * 32)
    woken = boxkeys.rotate(old, NOW_MS + 60 * 24 * boxkeys.HOUR_MS, b"\x02" * 32)
    assert [key.private for key in woken] == [b"\x02" * 32]


def test_the_identity_is_a_box_key_too() -> None:
    key = boxkeys.of_identity(BOB.seed)
    assert key.public == sodium.to_x25519_public(BOB.public_key)
    assert key.kid == pairwise.box_kid(key.public)
    assert boxkeys.usable((key,), NOW_MS) == (key,)
