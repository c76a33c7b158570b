"""Leaves, lifetimes, and who may write what."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.graph.core import leaves, rules, sea
from sidecar.graph.core.nodes import Value


class Counted:
    """Bytes that are different each time and the same in each run."""

    def __init__(self, seed: int = 0) -> None:
        self._draws = seed

    def bytes(self, n: int) -> bytes:
        self._draws += 1
        return hashlib.shake_256(self._draws.to_bytes(4)).digest(n)


ALICE, BOB = sea.make_pair(Counted(0)), sea.make_pair(Counted(100))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(min_size=16, max_size=16))
def test_a_leaf_is_its_own_hash(value: str, random16: bytes) -> None:
    key = leaves.make_key(random16, value)
    assert leaves.is_leaf(key, value)
    assert not leaves.is_leaf(key, value + "x")
    assert not leaves.is_leaf(key[:-1], value)


@pytest.mark.parametrize("value", [None, True, 5, {"#": "s"}])
def test_only_text_is_a_leaf(value: Value) -> None:
    assert not leaves.is_leaf("x#" + leaves.digest("5"), value)


def test_other_spellings_are_no_leaves_of_ours() -> None:
    key = leaves.make_key(bytes(16), "hello world?>")
    assert not leaves.is_leaf(key.rstrip("="), "hello world?>")
    assert not leaves.is_leaf(key.replace("+", "-").replace("/", "_") + "=", "hello world?>")


@pytest.mark.parametrize(
    ("soul", "lifetime"),
    [
        ("a#<?90", 90),
        ("a<?90#", 90),
        ("a#", None),
        ("a#<?0", None),
        ("a#<?1.5", 1.5),
        ("a#<?", None),
        ("<?9<?1", 9),
    ],
)
def test_lifetime(soul: str, lifetime: float | None) -> None:
    assert leaves.lifetime_s(soul) == lifetime
    assert leaves.expires_ms(soul, 1_000) == (None if lifetime is None else 1_000 + lifetime * 1_000)


def test_a_cell_ends_after_its_lifetime() -> None:
    assert not leaves.is_expired("a#<?90", 1_000, 91_000)
    assert leaves.is_expired("a#<?90", 1_000, 91_001)
    assert not leaves.is_expired("a#", 1_000, 9e15)


def refusal(soul: str, key: str, value: Value, state: float) -> str | None:
    """As a relay asks that has kept nothing yet."""
    return rules.refusal(soul, key, value, state, lambda soul, key: None)


def test_an_owner_rules_before_a_hash() -> None:
    assert leaves.is_leaf_soul("calls/x#<?90")
    assert not leaves.is_leaf_soul(f"~{ALICE['pub']}/x#")
    key, value = leaves.make_key(bytes(16), "x"), "x"
    assert refusal(f"~{ALICE['pub']}/x#", key, value, 5) == sea.UNVERIFIED


def test_user_space_takes_what_its_owner_signed_for_this_place_and_state() -> None:
    soul = f"~{ALICE['pub']}/calls"
    stored = sea.sign_value(soul, "k", {"#": "x"}, 5, ALICE)
    assert refusal(soul, "k", stored, 5) is None
    assert refusal(soul, "k", stored, 6) == sea.UNVERIFIED
    assert refusal(soul, "l", stored, 5) == sea.UNVERIFIED
    assert refusal(f"~{BOB['pub']}/calls", "k", stored, 5) == sea.UNVERIFIED
    assert refusal(soul, "k", sea.sign_value(soul, "k", "x", 5, BOB), 5) == sea.UNVERIFIED
    for junk in (None, 5, "{", "[]", '{":":1}', '{":":1,"~":"AAAA"}', '{":":1,"~":5}'):
        assert refusal(soul, "k", junk, 5) == sea.UNVERIFIED


def test_the_pub_of_an_account_is_its_soul() -> None:
    soul = f"~{ALICE['pub']}"
    assert refusal(soul, "pub", ALICE["pub"], 5) is None
    assert refusal(soul, "pub", BOB["pub"], 5) == rules.WRONG_ACCOUNT


def test_aliases_point_to_themselves() -> None:
    assert refusal("~@", "alice", {"#": "~@alice"}, 5) is None
    assert refusal("~@", "alice", {"#": "~@bob"}, 5) == rules.WRONG_ALIAS
    assert refusal("~@alice", "~x.y", {"#": "~x.y"}, 5) is None
    assert refusal("~@alice", "~x.y", "~x.y", 5) == rules.WRONG_ALIAS


def test_public_souls_take_anything() -> None:
    assert refusal("room/1", "k", None, 5) is None


def test_an_owner_that_is_no_key_owns_nothing() -> None:
    for pub in ("a.b", "=.=", "AAAA.AAAA", f"{ALICE['pub'].split('.')[0]}.x"):
        assert refusal(f"~{pub}", "k", sea.sign_value(f"~{pub}", "k", 1, 5, ALICE), 5) == sea.UNVERIFIED


def test_pairs_are_gun_pairs() -> None:
    assert len(ALICE["pub"]) == len(ALICE["epub"]) == 87
    assert len({*ALICE.values(), *BOB.values()}) == 8
    assert sea.secret(ALICE["epub"], BOB) == sea.secret(BOB["epub"], ALICE)
    sealed = sea.encrypt({"x": [1, None]}, ALICE, random=Counted())
    assert sea.decrypt(sealed, ALICE["epriv"]) == {"x": [1, None]}


@pytest.mark.parametrize(
    "text", [None, 5, "", "x", "SEA{", "SEA{}", '{"ct":1,"iv":2,"s":3}', '{"m":1,"s":"x"}', "[" * 9999]
)
def test_text_of_anybody_verifies_and_decrypts_as_nothing(text: object) -> None:
    assert sea.verify(text, ALICE["pub"]) is None
    assert sea.decrypt(text, "key") is None
