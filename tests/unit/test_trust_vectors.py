"""Byte for byte what AlephNet's own code made: canonical JSON, envelopes, identities (vectors/alephnet)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.trust import canonical, envelope, identity

VECTORS = Path(__file__).parent.parent / "vectors" / "alephnet"


def load(name: str) -> dict[str, Any]:
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


def name_of(vector: dict[str, Any]) -> str:
    return vector["name"]


CANONICAL = load("canonical")["vectors"]
ENVELOPES = load("envelopes")["vectors"]
NEGATIVE = load("envelopes")["negative"]
IDENTITIES = load("identity")["vectors"]


@pytest.mark.parametrize("vector", CANONICAL, ids=name_of)
def test_canonical_text_and_hash(vector: dict[str, Any]) -> None:
    value = json.loads(vector["inputJson"])
    if vector["name"].startswith("buffer"):  # the input was a Buffer, which JSON.stringify shows differently
        value = {"d": bytes(value["d"]["data"])}
    text = canonical.canonical_json(value)
    assert text == vector["canonical"]
    assert text.encode().hex() == vector["canonicalUtf8Hex"]
    assert canonical.content_hash(value) == vector["contentHash"]


@pytest.mark.parametrize("vector", ENVELOPES)
def test_envelope_is_reproduced_to_the_byte(vector: dict[str, Any]) -> None:
    want = vector["envelope"]
    made = envelope.sign(
        want["payload"],
        vector["identity"],
        artifact_type=want["artifactType"],
        created_at_ms=want["createdAt"],
        version=want["version"],
        requested_capabilities=want["requestedCapabilities"],
        parent_envelope_hash=want.get("parentEnvelopeHash"),
    )
    assert made == want
    assert envelope.to_text(made) == vector["envelopeJson"]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("vector", ENVELOPES)
def test_envelope_verifies(vector: dict[str, Any], strict: bool) -> None:
    assert envelope.verify(json.loads(vector["envelopeJson"]), strict=strict) == (True, None)
    if vector.get("endorsedJson"):
        assert envelope.verify(json.loads(vector["endorsedJson"]), strict=strict).valid


VERDICTS: dict[str, tuple[str | None, str | None]] = {
    "payload changed": ("hash", "hash"),
    "contentHash upper case": ("hash", "hash"),
    "signature base64url": ("base64", None),
    "signature with spaces": ("base64", None),
    "author.fingerprint forged": ("fingerprint", None),
    "createdAt changed": ("time", None),
    "version changed": (None, None),
    "requestedCapabilities widened": (None, None),
    "resonance timestamp changed only": ("time", "resonance"),
    "resonance recomputed by anybody": ("time", None),
    "bogus seaSignature, no bridge": (None, None),
    "endorsements missing": ("malformed", None),
    "author missing": ("malformed", "malformed"),
    "extra unknown top-level field": (None, None),
}
"""Why each of upstream's negative vectors is refused: strictly, and as upstream does."""


@pytest.mark.parametrize("vector", NEGATIVE, ids=name_of)
def test_both_verdicts_on_what_was_altered(vector: dict[str, Any]) -> None:
    strict, lenient = VERDICTS[vector["name"]]
    assert envelope.verify(vector["envelope"]) == (strict is None, strict)
    assert envelope.verify(vector["envelope"], strict=False) == (lenient is None, lenient)
    upstream = vector["verify"]
    assert (lenient is None) is upstream.get("valid", False)  # invalid where upstream throws


def test_no_negative_vector_is_left_out() -> None:
    assert VERDICTS.keys() == {vector["name"] for vector in NEGATIVE}


@pytest.mark.parametrize("vector", IDENTITIES, ids=lambda vector: vector["pubRawHex"][:8])
def test_identity(vector: dict[str, Any]) -> None:
    want = vector["identity"]
    made = identity.to_json(identity.generate(bytes.fromhex(vector["seedHex"])))
    assert made.pop("resonance") == pytest.approx(want["resonance"], abs=1e-12)
    assert made == {name: value for name, value in want.items() if name != "resonance"}
    parsed = identity.parse(want)
    identity.check_pair(parsed)
    assert parsed.public_key.hex() == vector["pubRawHex"]
    assert parsed.seed.hex() == vector["seedHex"]
    library = vector["libraryTriplet"]
    assert identity.library_fingerprint(parsed.public_key, library["resonance"]) == library["fingerprint"]
