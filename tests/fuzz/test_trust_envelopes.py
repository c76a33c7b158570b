"""Ten thousand bad envelopes: only the remote-blame error comes out of trust, nothing forged passes (S18).

``--long`` runs ten times as many. A text that ever got through is kept under ``fixtures/trust`` and tried
first.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.errors import LocalError, RemoteError
from sidecar.signaling import payload, sealing
from sidecar.signaling.limits import Limits
from sidecar.signaling.sealing import Lock
from sidecar.trust import cards, envelope
from sidecar.trust.canonical import content_hash
from sidecar.trust.rates import Rate
from tests.fuzz.trust_envelopes import KEY, SEED, Bad, bad
from tests.signaling_kit import ALICE, BOB, NOW_MS, Receiver, SeededRandom, pairwise_place, shared

ENVELOPES = 10_000
CRASHERS = sorted((Path(__file__).parent / "fixtures" / "trust").glob("*.json"))
LOCK, PLACE = Lock(KEY.kid, KEY.public, shared(ALICE, BOB)), pairwise_place(BOB, ALICE)
LONG_S = 1_200
"""What the full counts may take on a machine that does other things too."""
with_seed = pytest.mark.parametrize("seed", [SEED])


@pytest.fixture
def count(long_run: bool) -> int:
    return ENVELOPES * (10 if long_run else 1)


def unlimited() -> Receiver:
    """No rate limits, and every leaf is judged on its own."""
    no_limit = Rate(1e9, 1e9)
    return Receiver(limits=Limits(**dict.fromkeys(Limits().rates(), no_limit), seen_leaves=1))


def sealed(one: Bad, number: int) -> tuple[str, str]:
    """Key and value of the leaf that carries a text to Bob, as if from Alice."""
    leaf = sealing.seal_text(one.text, LOCK, "calls/p/x#<?172800", SeededRandom(number))
    return leaf.key, leaf.value


@contextlib.contextmanager
def blamed(number: int, one: Bad) -> Iterator[None]:
    """Names the envelope that broke something, so that it can be kept."""
    try:
        yield
    except Exception as error:
        pytest.fail(f"bad({number}, {SEED}) = {one.text[:300]!r}: {error!r}")


def judged(one: Bad) -> str:
    """What both verdicts are, however the text was read; raises whatever should not be raised."""
    try:
        signed = sealing.read_envelope(one.text)
    except RemoteError:
        try:
            signed = json.loads(one.text)  # as a more forgiving reader would
        except (ValueError, RecursionError):
            return "no JSON"
    strict, lenient = envelope.verify(signed), envelope.verify(signed, strict=False)
    for verdict in (strict, lenient):
        assert type(verdict) is envelope.Verification
        assert verdict.valid is (verdict.reason is None)
    if strict.valid or lenient.valid:
        assert content_hash(signed["payload"]) in one.hashes, "a forged payload has passed"
    if strict.valid:
        assert lenient.valid, "stricter than strict"
    return strict.reason or "valid"


def read(one: Bad) -> str:
    """How far the readers of payloads and key cards get."""
    with contextlib.suppress(RemoteError):
        cards.read(one.text, ALICE.fingerprint, NOW_MS)
        return "card"
    try:
        signal, _ = payload.read(sealing.read_envelope(one.text).get("payload"))
    except RemoteError as error:
        return error.reason
    return signal.kind.value


@pytest.mark.parametrize("crasher", CRASHERS, ids=lambda path: path.stem)
def test_S18_what_once_got_through(crasher: Path) -> None:
    text = crasher.read_text("utf-8")
    one = Bad(text, frozenset({json.loads(text)["contentHash"]}))
    judged(one)
    read(one)
    receiver, (key, value) = unlimited(), sealed(one, 0)
    assert receiver.take(PLACE, key, value) is None


@pytest.mark.timeout(LONG_S)
@with_seed
def test_S18_bad_envelopes_only_blame_the_sender(seed: int, count: int) -> None:
    verdicts: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    for number in range(count):
        one = bad(number, seed)
        with blamed(number, one):
            verdicts[judged(one)] += 1
            reached[read(one)] += 1
    few = count / 1_000  # every check must have had its share
    assert {reason for reason, times in verdicts.items() if times > few} >= {
        "no JSON", "malformed", "hash", "base64", "key", "fingerprint", "signature", "time", "resonance",
        "valid",
    }  # fmt: skip
    assert {reason for reason, times in reached.items() if times > few} >= {
        "envelope", "version", "kind", "payload", "invite", "accept", "end", "receipt", "card",
    }  # fmt: skip


@pytest.mark.timeout(LONG_S)
@with_seed
def test_S18_bad_envelopes_sealed_to_us_act_only_where_their_author_signed_them(
    seed: int, count: int
) -> None:
    receiver, arrived = unlimited(), 0
    for number in range(count):
        one = bad(number, seed)
        try:
            key, value = sealed(one, number)
        except (LocalError, UnicodeEncodeError):  # too large, or no text that UTF-8 can hold
            continue
        with blamed(number, one):
            incoming = receiver.take(PLACE, key, value)
            if incoming is not None:
                arrived += 1
                assert incoming.user_id == ALICE.fingerprint
                assert json.loads(one.text)["contentHash"] in one.hashes
    assert len(receiver.drops) > count / 10
    assert arrived <= 4_096  # the replay window of one sender
    assert len(set(receiver.drops)) >= 8
