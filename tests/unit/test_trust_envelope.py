"""Envelopes we make, and everything a forger may try on them."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.trust import envelope
from sidecar.trust.identity import library_fingerprint, to_json
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
    signed = made()
    author = signed["author"]
    author["pub"] = base64.b64encode(ALICE.public_key).decode()
    assert envelope.verify(signed) == (False, "fingerprint")
    author["fingerprint"] = library_fingerprint(ALICE.public_key, author["resonance"])
    assert envelope.verify(signed) == (True, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=15,
)
PATHS = [
    "contentHash", "payload", "artifactType", "author", "createdAt", "version", "signature", "resonanceProof",
    "endorsements", "requestedCapabilities", "parentEnvelopeHash", "seaSignature", "author.pub",
    "author.fingerprint", "author.resonance", "resonanceProof.primes", "resonanceProof.hash",
    "resonanceProof.timestamp", "payload.kind", "payload.list", "payload.new",
]  # fmt: skip
ABSENT = ("parentEnvelopeHash", "seaSignature", "payload.new")
FREE = {
    "artifactType",
    "version",
    "seaSignature",
    "endorsements",
    "requestedCapabilities",
    "parentEnvelopeHash",
}


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(PATHS), JSON | st.just(...))
def test_any_member_may_be_anything(path: str, value: Any) -> None:
    signed = made() if value is ... and path in ABSENT else changed(path, value)
    strict, lenient = envelope.verify(signed), envelope.verify(signed, strict=False)
    assert {type(strict), type(lenient)} == {envelope.Verification}
    assert strict.valid is (strict.reason is None)
    assert lenient.valid or not strict.valid
    if strict.valid and path not in FREE:
        assert signed == made()


@settings(max_examples=300, deadline=None)
@given(JSON | st.binary() | st.dates() | st.builds(object) | st.tuples(st.just({})) | st.sets(st.integers()))
def test_no_value_raises(value: Any) -> None:
    for strict in (True, False):
        assert not envelope.verify(value, strict=strict).valid
        assert not envelope.verify({**made(), "payload": value}, strict=strict).valid


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_whatever_can_be_signed_verifies_after_a_journey_as_text(value: Any) -> None:
    signed = envelope.sign(value, ALICE, artifact_type="service", created_at_ms=NOW_MS)
    arrived = json.loads(envelope.to_text(signed))
    assert envelope.verify(arrived, strict=False) == (True, None)
    assert envelope.verify(arrived).valid or "__proto__" in repr(value)
