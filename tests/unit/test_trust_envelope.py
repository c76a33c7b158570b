"""Envelopes we make, and everything a forger may try on them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sidecar.trust import envelope
from sidecar.trust.identity import to_json
from tests.signaling_kit import ALICE, BOB, NOW_MS

PAYLOAD = {"kind": "invite", "to": BOB.pub, "n": 1, "list": [1, {"b": None, "a": "ü"}]}


def made() -> dict[str, Any]:
    return envelope.sign(PAYLOAD, ALICE, artifact_type="service", created_at_ms=NOW_MS)


def test_signs_with_an_identity_or_its_file() -> None:
    assert made() == envelope.sign(PAYLOAD, to_json(ALICE), artifact_type="service", created_at_ms=NOW_MS)
    assert envelope.verify(made()) == (True, None)
    assert envelope.verify(made(), strict=False) == (True, None)


def test_optional_members() -> None:
    signed = envelope.sign(
        PAYLOAD,
        ALICE,
        artifact_type="service",
        created_at_ms=NOW_MS,
        version="2.0.0",
        requested_capabilities=("network:http",),
        parent_envelope_hash="ab" * 32,
    )
    assert signed["version"] == "2.0.0"
    assert signed["requestedCapabilities"] == ["network:http"]
    assert list(signed)[-1] == "parentEnvelopeHash"
    assert envelope.verify(signed).valid


def changed(path: str, value: Any) -> dict[str, Any]:
    """``made()`` with one member replaced, or removed where value is ..."""
    signed = copy.deepcopy(made())
    *parents, last = path.split(".")
    target = signed
    for name in parents:
        target = target[name]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return signed


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("payload.n", 2, "hash"),
        ("payload.extra", None, "hash"),
        ("payload.__proto__", 1, "malformed"),
        ("payload", ..., "malformed"),
        ("contentHash", "00" * 32, "hash"),
        ("contentHash", 5, "malformed"),
        ("signature", "", "base64"),
        ("signature", "A" * 88, "base64"),
        ("signature", ..., "malformed"),
        ("author", None, "malformed"),
        ("author.pub", BOB.pub, "fingerprint"),
        ("author.pub", "AAAA", "key"),
        ("author.pub", ALICE.pub + "\n", "key"),
        ("author.fingerprint", BOB.fingerprint, "fingerprint"),
        ("author.resonance", "1,2", "malformed"),
        ("author.resonance", [1] * 100, "malformed"),
        ("author.resonance", [0.5], "resonance"),
        ("author.resonance", [True], "malformed"),
        ("author.resonance", [float("nan")], "malformed"),
        ("createdAt", NOW_MS + 1, "time"),
        ("createdAt", 1.5, "malformed"),
        ("createdAt", True, "malformed"),
        ("resonanceProof", ..., "malformed"),
        ("resonanceProof.primes", [2], "resonance"),
        ("resonanceProof.hash", "00", "resonance"),
        ("resonanceProof.timestamp", 1, "time"),
        ("endorsements", {}, "malformed"),
        ("requestedCapabilities", [1], "malformed"),
        ("parentEnvelopeHash", 1, "malformed"),
    ],
)
def test_strict_verification_names_what_is_wrong(path: str, value: Any, reason: str) -> None:
    assert envelope.verify(changed(path, value)) == (False, reason)


def test_a_key_swap_that_keeps_the_fingerprint_consistent_fails_on_the_signature() -> None:
    signed = changed("author.pub", BOB.pub)
    signed["author"]["fingerprint"] = BOB.fingerprint
    assert envelope.verify(signed) == (False, "signature")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "garbage", [None, 1, "text", [], {}, {"payload": 1}, {"payload": 1, "author": [], "resonanceProof": 1}]
)
def test_garbage_is_invalid_and_never_raises(garbage: Any, strict: bool) -> None:
    assert not envelope.verify(garbage, strict=strict).valid


def test_numbers_that_no_double_holds() -> None:
    signed = changed("author.resonance", [10**400])
    assert envelope.verify(signed) == (False, "malformed")


def test_the_librarys_spelling_of_a_key_is_taken_with_its_own_fingerprint() -> None:
    import base64

    from sidecar.trust.identity import library_fingerprint

    signed = made()
    author = signed["author"]
    author["pub"] = base64.b64encode(ALICE.public_key).decode()
    assert envelope.verify(signed) == (False, "fingerprint")
    author["fingerprint"] = library_fingerprint(ALICE.public_key, author["resonance"])
    assert envelope.verify(signed) == (True, None)
