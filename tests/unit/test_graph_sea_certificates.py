"""Certificates: who may write into whose user space, row by row (gun.md section 8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.graph.core import rules, sea
from sidecar.graph.core.sea_certificates import EXPIRED, NOT_COVERED
from tests.graph_machines import NOW_MS, Seeded

OWNER, WRITER, OTHER = (sea.make_pair(Seeded(number)) for number in (1, 2, 3))
SPACE = f"~{OWNER['pub']}"
NOTHING: dict[tuple[str, str], tuple[Any, float]] = {}


def verdict(
    certificate: str | None,
    soul: str = f"{SPACE}/inbox",
    key: str = "m1",
    *,
    state: float = NOW_MS,
    writer: dict[str, str] = WRITER,
    kept: dict[tuple[str, str], tuple[Any, float]] = NOTHING,
) -> str | None:
    stored = sea.sign_value(soul, key, "hi", state, writer, certificate=certificate)
    return rules.refusal(soul, key, stored, state, lambda *cell: kept.get(cell))


def signed_terms(terms: Any, by: dict[str, str] = OWNER) -> str:
    return sea.sign(terms, by)


@pytest.mark.parametrize(
    ("certificant", "allowed"),
    [
        (WRITER["pub"], True),
        ("*", True),
        ([WRITER["pub"]], True),
        ([OTHER["pub"], WRITER["pub"]], True),
        (["*"], True),
        (OTHER["pub"], False),
        ([OTHER["pub"]], False),
        ([], False),
        ("", False),
        (None, False),
        (5, False),
        ({"pub": WRITER["pub"]}, False),
        (WRITER["pub"] + OTHER["pub"], False),
    ],
    ids=repr,
)
def test_whom_a_certificate_names(certificant: Any, allowed: bool) -> None:
    certificate = signed_terms({"c": certificant, "w": {"*": "inbox"}})
    assert verdict(certificate) == (None if allowed else NOT_COVERED)


@pytest.mark.parametrize(
    ("policy", "path", "key", "allowed"),
    [
        ("inbox", "", "inbox", True),
        ("inbox", "inbox", "m1", False),
        ("inbox/m1", "inbox", "m1", True),
        ({"*": "inbox"}, "inbox", "m1", True),
        ({"*": "inbox"}, "inboxes/x", "m1", True),
        ({"*": "inbox"}, "outbox", "m1", False),
        ({"*": "inbox"}, "", "inbox", True),
        ({"=": "inbox/m1"}, "inbox", "m1", True),
        ({">": "a", "<": "c"}, "b", "k", True),
        ({">": "a", "<": "c"}, "d", "k", False),
        ({"#": "inbox"}, "inbox", "m1", True),
        ({"#": "inbox"}, "inbox/x", "m1", False),
        ({"#": "inbox/m1"}, "inbox", "m1", True),
        ({"#": {"*": "in"}}, "inbox/x", "m1", True),
        ({".": "m1"}, "any/where", "m1", True),
        ({".": {"*": "m"}}, "any", "n", False),
        ({"#": {"*": "inbox"}, ".": "m1"}, "inbox", "m1", True),
        ({"#": {"*": "inbox"}, ".": "m1"}, "", "inbox", True),
        ({"#": "inbox", ".": "m1"}, "inbox", "m1", True),
        ({"#": "inbox", ".": "m1"}, "inbox", "m2", False),
        ({"#": {}, ".": "m1"}, "inbox", "m1", False),
        ({"#": {"*": "inbox"}, ".": "m1"}, "outbox", "m1", False),
        ([{"*": "a"}, {"*": "inbox"}], "inbox", "m1", True),
        ([{"*": "a"}, "b"], "inbox", "m1", False),
        ([], "inbox", "m1", False),
        ({}, "inbox", "m1", False),
        ({"*": ""}, "inbox", "m1", False),
        (None, "inbox", "m1", False),
        (7, "inbox", "m1", False),
        ([None, 7, [], {"#": 5}, {"#": [], ".": {}}], "inbox", "m1", False),
    ],
    ids=repr,
)
def test_where_a_certificate_lets_write(policy: Any, path: str, key: str, allowed: bool) -> None:
    certificate = signed_terms({"c": "*", "w": policy})
    soul = f"{SPACE}/{path}" if path else SPACE
    assert verdict(certificate, soul, key) == (None if allowed else NOT_COVERED)


def test_a_policy_may_force_the_name_of_the_writer_into_path_or_key() -> None:
    certificate = sea.certify("*", {"*": "inbox", "+": "*"}, OWNER)
    pub = WRITER["pub"]
    assert verdict(certificate, f"{SPACE}/inbox", f"{pub}-1") is None
    assert verdict(certificate, f"{SPACE}/inbox/{pub}", "m1") is None
    assert verdict(certificate, SPACE, "inbox") is None  # the link that leads to the path names nobody
    refused = f'Path "inbox" or key "m1" must contain string "{pub}".'
    assert verdict(certificate, f"{SPACE}/inbox", "m1") == refused


@pytest.mark.parametrize(
    ("expiry", "verdict_then"),
    [
        (NOW_MS, None),
        (NOW_MS + 0.5, None),
        (None, None),
        (NOW_MS - 1, EXPIRED),
        (0, EXPIRED),
        ("soon", EXPIRED),
        ([], EXPIRED),
    ],
)
def test_an_expiry_is_compared_with_the_state(expiry: Any, verdict_then: str | None) -> None:
    certificate = signed_terms({"c": "*", "e": expiry, "w": {"*": "inbox"}})
    assert verdict(certificate) == verdict_then


def test_a_cell_dated_back_before_the_expiry_passes_as_in_gun() -> None:
    """It cannot be told from an old cell that arrives late; HAM keeps it from shadowing a newer one."""
    certificate = sea.certify(WRITER["pub"], {"*": "inbox"}, OWNER, expires_ms=NOW_MS)
    assert verdict(certificate, state=NOW_MS + 1) == EXPIRED
    assert verdict(certificate, state=NOW_MS - 1) is None


@pytest.mark.parametrize("value", [True, 1])
@pytest.mark.parametrize(
    ("block", "soul"),
    [
        ("blocked", f"{SPACE}/blocked"),
        (f"{SPACE}/elsewhere", f"{SPACE}/elsewhere"),
        (f"~{OTHER['pub']}/list", f"~{OTHER['pub']}/list"),
        ({"#": f"{SPACE}/lists"}, f"{SPACE}/lists"),
    ],
    ids=repr,
)
def test_a_block_list_ends_the_leave(block: Any, soul: str, value: Any) -> None:
    certificate = signed_terms({"c": "*", "w": {"*": "inbox"}, "wb": block})
    entry = json.dumps({":": value, "~": "checked when it was kept"})
    assert verdict(certificate) is None
    blocked = f"Certificant {WRITER['pub']} blocked."
    assert verdict(certificate, kept={(soul, WRITER["pub"]): (entry, 1.0)}) == blocked
    assert verdict(certificate, kept={(soul, OTHER["pub"]): (entry, 1.0)}) is None
    for lifted in (json.dumps({":": False, "~": ""}), None, "junk", 2):
        assert verdict(certificate, kept={(soul, WRITER["pub"]): (lifted, 2.0)}) is None


def test_a_block_list_is_found_through_its_link() -> None:
    certificate = sea.certify("*", {"*": "inbox"}, OWNER, block="blocked")
    kept: dict[tuple[str, str], tuple[Any, float]] = {
        (SPACE, "blocked"): (json.dumps({":": {"#": f"{SPACE}/lists/7"}, "~": ""}), 1.0),
        (f"{SPACE}/lists/7", WRITER["pub"]): (json.dumps({":": 1, "~": ""}), 1.0),
    }
    assert verdict(certificate, kept=kept) == f"Certificant {WRITER['pub']} blocked."


def test_lists_about_reading_bind_nobody() -> None:
    terms = {"c": "*", "r": "nothing", "w": {"*": "inbox"}, "rb": f"{SPACE}/list"}
    kept: dict[tuple[str, str], tuple[Any, float]] = {(f"{SPACE}/list", WRITER["pub"]): (True, 1.0)}
    assert verdict(signed_terms(terms), kept=kept) is None


def test_only_the_owner_certifies() -> None:
    assert verdict(sea.certify(WRITER["pub"], {"*": "inbox"}, WRITER)) == NOT_COVERED
    assert verdict(sea.certify(WRITER["pub"], {"*": "inbox"}, OTHER)) == NOT_COVERED


def test_a_writer_without_a_certificate_is_nobody_unlike_in_gun() -> None:
    """gun.js verifies with the key in ``*`` and asks no further when ``+`` is missing."""
    soul = f"{SPACE}/inbox"
    honest = json.loads(sea.sign_value(soul, "m1", "hi", NOW_MS, WRITER, certificate="SEA{}"))
    for shown in (None, "cert", [], 5, True):
        stored = sea.stringify(honest | {"+": shown})
        assert rules.refusal(soul, "m1", stored, NOW_MS) == sea.UNVERIFIED
    del honest["+"]
    assert rules.refusal(soul, "m1", sea.stringify(honest), NOW_MS) == sea.UNVERIFIED


@pytest.mark.parametrize(
    "shown", [{}, {"m": 1}, {"s": ""}, {"m": {"c": "*", "w": {"*": "i"}}, "s": 5}], ids=repr
)
def test_what_is_no_certificate_covers_nothing(shown: Any) -> None:
    soul = f"{SPACE}/inbox"
    cell = json.loads(sea.sign_value(soul, "m1", "hi", NOW_MS, WRITER, certificate="SEA{}"))
    stored = sea.stringify(cell | {"+": shown})
    assert rules.refusal(soul, "m1", stored, NOW_MS) == NOT_COVERED


@pytest.mark.parametrize("writer", [5, None, [], {}, "", "x.y", OTHER["pub"], "A" * 9_000])
def test_another_name_in_the_cell_takes_the_signature_away(writer: Any) -> None:
    soul = f"{SPACE}/inbox"
    certificate = sea.certify("*", {"*": "inbox"}, OWNER)
    cell = json.loads(sea.sign_value(soul, "m1", "hi", NOW_MS, WRITER, certificate=certificate))
    stored = sea.stringify(cell | {"*": writer})
    assert rules.refusal(soul, "m1", stored, NOW_MS) == sea.UNVERIFIED


def test_the_owner_needs_no_certificate_and_no_certificate_moves_the_account() -> None:
    soul = f"{SPACE}/inbox"
    cell = json.loads(sea.sign_value(soul, "m1", "hi", NOW_MS, OWNER, certificate="SEA{}"))
    assert rules.refusal(soul, "m1", sea.stringify(cell), NOW_MS) is None
    certificate = sea.certify("*", [{"*": "pub"}, "pub"], OWNER)
    assert verdict(certificate, SPACE, "pub") == rules.WRONG_ACCOUNT
