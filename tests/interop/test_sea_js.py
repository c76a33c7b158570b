"""Our SEA and the real sea.js: each understands what the other made, and both judge alike."""

from __future__ import annotations

import asyncio
import json
import random
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sidecar.app.system_clock import SystemRandom
from sidecar.graph.core import jsjson, lex, rules, sea
from tests.graph_machines import Seeded
from tests.interop.gun_peers import NodeProgram

SEED = 20261122
STATE = 1_795_335_464_210
OWNER, WRITER, OTHER = (sea.make_pair(Seeded(number)) for number in (1, 2, 3))
SPACE = f"~{OWNER['pub']}"
VALUES: list[Any] = [
    "", "text", "üñí ☃ 😀", "123", "null", '{"a":1}', "SEA{", 0, 1.5, -1e-7, 1e21, 123456789012345680000,
    True, False, None, {"b": 1, "a": [1, {"c": "é"}], "2": "x", "10": "y"}, [], {}, "\u2028\u2029\x7f",
    '"quoted"', "line\nbreak",
]  # fmt: skip


class SeaJs:
    def __init__(self, program: NodeProgram) -> None:
        self._program = program
        self._calls = 0

    async def __call__(self, op: str, *args: Any) -> Any:
        """``undefined`` comes as None."""
        self._calls += 1
        self._program.write({"call": self._calls, "op": op, "args": args})
        async with asyncio.timeout(30):
            while (line := await self._program.line()).get("call") != self._calls:
                pass
        return None if line["result"] == {"undefined": True} else line["result"]


@pytest.fixture
async def js() -> AsyncIterator[SeaJs]:
    program = await NodeProgram.spawn("sea_peer.js")
    try:
        yield SeaJs(program)
    finally:
        await program.stop()


async def test_signatures_go_both_ways(js: SeaJs) -> None:
    theirs = await js("pair")
    for value in VALUES:
        for pair in (OWNER, theirs):
            ours = sea.sign(value, pair)
            made = await js("sign", value, pair)
            assert ours.rpartition(',"s":')[0] == made.rpartition(',"s":')[0]
            assert await js("verify", ours, pair["pub"]) == sea.verify(made, pair["pub"]) == sea.parse(value)
            assert await js("verify", ours, OTHER["pub"]) is None
            assert sea.verify(made, OTHER["pub"]) is None
    signed = sea.sign("x", OWNER)
    assert await js("sign", signed, OWNER) == sea.sign(signed, OWNER) == signed


async def test_boxes_and_secrets_go_both_ways(js: SeaJs) -> None:
    theirs = await js("pair")
    shared = sea.secret(theirs["epub"], OWNER)
    assert shared == await js("secret", OWNER["epub"], theirs) == sea.secret(OWNER["epub"], theirs)
    for key in (OWNER, theirs, shared, "a passphrase ü"):
        for value in VALUES:
            assert await js("decrypt", sea.encrypt(value, key, random=SystemRandom()), key) == sea.parse(
                value
            )
            assert sea.decrypt(await js("encrypt", value, key), key) == sea.parse(value)
    assert sea.decrypt(await js("encrypt", "x", OWNER), OTHER) is None


async def test_work_is_the_same(js: SeaJs) -> None:
    for value in ("", "password", "ü", {"a": 1.0}, 5, None):
        for options in (
            {"name": "SHA-256"},
            {"name": "SHA-256", "encode": "hex"},
            {"iterations": 10},
            {"length": 256},
        ):
            salt = None if "name" in options else "salt ü"
            assert await js("work", value, salt, options) == sea.work(value, salt, **options)


async def test_text_numbers_and_hashes_are_the_same(js: SeaJs) -> None:
    """Numbers of random bits, and random text with halves of surrogate pairs."""
    rng = random.Random(SEED)
    numbers = [struct.unpack("<d", rng.randbytes(8))[0] for _ in range(3_000)]
    numbers += [rng.uniform(-1, 1) * 10 ** rng.randint(-30, 30) for _ in range(3_000)]
    numbers += [rng.randrange(-(2**70), 2**70) >> rng.randrange(70) for _ in range(1_000)]
    numbers = [number for number in numbers if number == number and abs(number) != float("inf")]
    texts = [
        "".join(chr(rng.choice((rng.randrange(128), rng.randrange(0x10000)))) for _ in range(9))
        for _ in range(999)
    ]
    objects = [
        {str(rng.randrange(-5, 30)): number, "é": [text]}
        for number, text in zip(numbers, texts, strict=False)
    ]
    values = [*numbers, *texts, *objects]
    theirs = await js("stringify", [json.dumps(value) for value in values])
    assert [jsjson.stringify(value) for value in values] == theirs
    assert [jsjson.java_hash(text) for text in texts] == await js("hash", texts)


async def test_queries_match_the_same(js: SeaJs) -> None:
    rng = random.Random(SEED)
    names = ["", "a", "ab", "abc", "b", "ba", "é", "\uffff", "😀", "a/b"]
    bounds: list[Any] = [*names, *names, None, False]
    rows: list[tuple[str, Any]] = [(name, other) for name in names for other in names if other]
    for _ in range(3_000):
        signs = rng.sample(["=", "*", ">", "<", "-"], rng.randint(0, 3))
        rows.append(
            (rng.choice(names), {sign: rng.choice(bounds[: 20 if sign in "><" else 22]) for sign in signs})
        )
    theirs = await js("match", rows)
    ours = [lex.match(text, query) for text, query in rows]
    assert [row for row, one, other in zip(rows, ours, theirs, strict=True) if one is not other] == []


POLICIES: list[tuple[Any, str, str]] = [
    (policy, path, key)
    for policy in (
        "inbox", "inbox/m1", {"*": "inbox"}, {"=": "inbox/m1"}, {">": "a", "<": "j"}, {"#": "inbox"},
        {".": "m1"}, {"#": {"*": "inbox"}}, {".": {"*": "m"}}, {"#": {"*": "inbox"}, ".": "m1"},
        {"#": "inbox", ".": "m1"}, [{"*": "x"}, {"*": "inbox"}], {"*": "inbox", "+": "*"},
        {"#": {"*": "inbox"}, "+": "*"}, {"#": {}, ".": "m1"}, {"#": "", ".": "m1"}, {"*": {}, ">": "a"},
    )
    for path, key in (
        ("", "inbox"), ("inbox", "m1"), ("inbox", "m2"), ("inbox/x", "m2"), ("outbox", "m1"),
        ("inbox", WRITER["pub"]),
    )
]  # fmt: skip


async def verdicts(
    js: SeaJs, certificate: str, path: str, key: str, writer: dict[str, str] = WRITER
) -> tuple[Any, Any]:
    """(sea.js's, ours) about a write under the certificate."""
    soul = f"{SPACE}/{path}" if path else SPACE
    stored = sea.sign_value(soul, key, "hi", STATE, writer, certificate=certificate)
    ours = rules.refusal(soul, key, stored, STATE)
    return await js("judge", soul, key, stored, STATE), ours


async def test_policies_let_write_where_sea_js_does(js: SeaJs) -> None:
    differing = []
    for policy, path, key in POLICIES:
        certificate = await js("certify", WRITER["pub"], policy, OWNER, {})
        assert (
            certificate.rpartition(',"s":')[0]
            == sea.certify(WRITER["pub"], policy, OWNER).rpartition(',"s":')[0]
        )
        theirs, ours = await verdicts(js, certificate, path, key)
        if theirs != ours:
            differing.append((policy, path, key, theirs, ours))
    assert differing == []


async def test_certificates_are_judged_as_by_sea_js(js: SeaJs) -> None:
    policy, pub = {"*": "inbox"}, WRITER["pub"]
    fail, silent = "Certificate verification fail.", "no answer"
    cases: list[tuple[str, Any, Any]] = [
        (sea.certify(pub, policy, OWNER), None, None),
        (sea.certify("*", policy, OWNER), None, None),
        (sea.certify(pub, policy, OWNER, expires_ms=STATE), None, None),
        (
            sea.certify(pub, policy, OWNER, expires_ms=STATE - 1),
            "Certificate expired.",
            "Certificate expired.",
        ),
        (await js("certify", [pub, OTHER["pub"]], policy, OWNER, {}), silent, None),
        (await js("certify", "*", policy, OWNER, {"expiry": STATE + 1}), None, None),
        (sea.certify(OTHER["pub"], policy, OWNER), silent, fail),
        (sea.certify(pub, policy, OTHER), silent, fail),
    ]
    for certificate, theirs, ours in cases:
        assert await verdicts(js, certificate, "inbox", "m1") == (theirs, ours), certificate
    soul = f"{SPACE}/inbox"
    stored = json.loads(sea.sign_value(soul, "m1", "hi", STATE, WRITER, certificate="SEA{}"))
    del stored["+"]
    text = sea.stringify(stored)
    assert await js("judge", soul, "m1", text, STATE) is None  # anybody may write anywhere
    assert rules.refusal(soul, "m1", text, STATE) == "Unverified data."
