"""Byte-exact test data made with the real gun.js (tests/vectors/gun)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import RemoteError
from sidecar.graph.core import ham, jsjson, leaves, lex, nodes, rules, sea, wire

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "gun"
PRIMITIVES: dict[str, list[dict[str, Any]]] = json.loads((VECTORS / "primitives.json").read_text())
SEA: dict[str, Any] = json.loads((VECTORS / "sea.json").read_text())
USER_SPACE: dict[str, Any] = json.loads((VECTORS / "sea_user_space.json").read_text())
PROBES = {
    mode: json.loads((VECTORS / f"probes_axe_{mode}.json").read_text(encoding="utf-8"))
    for mode in ("off", "on")
}
ALEPHNET = VECTORS.parent / "alephnet"
ALEPHNET_SEA: dict[str, Any] = json.loads((ALEPHNET / "sea.json").read_text())
PAIRS: list[dict[str, str]] = SEA["pairs"]


@pytest.mark.parametrize("vector", PRIMITIVES["hash"], ids=lambda vector: vector["s"])
def test_hash(vector: dict[str, Any]) -> None:
    assert jsjson.java_hash(vector["s"]) == vector["hash"]


@pytest.mark.parametrize("vector", PRIMITIVES["match"], ids=lambda v: f"{v['t']}-{v['lex']}")
def test_match(vector: dict[str, Any]) -> None:
    assert lex.match(vector["t"], vector["lex"]) is vector["match"]


@pytest.mark.parametrize("vector", PRIMITIVES["valid"], ids=lambda v: json.dumps(v["v"]))
def test_valid_value(vector: dict[str, Any]) -> None:
    """gun.js also takes a link to the empty soul; there is no such soul."""
    value = vector["v"]
    if vector["valid"] is True and value != "__undefined__":
        assert nodes.read_value(value) == value
    elif isinstance(vector["valid"], str) and vector["valid"]:
        assert nodes.is_link(nodes.read_value(value)) == vector["valid"]
    elif value != "__undefined__":
        with pytest.raises(RemoteError):
            nodes.read_value(value)


@pytest.mark.parametrize("vector", PRIMITIVES["json_stringify"], ids=lambda v: v["json"])
def test_stringify(vector: dict[str, Any]) -> None:
    text = vector["v_js"]
    is_number = text[0].isdigit()
    assert jsjson.stringify(json.loads(text) if is_number else text) == vector["json"]


@pytest.mark.parametrize("vector", PRIMITIVES["soul_pub"], ids=lambda v: v["soul"])
def test_soul_pub(vector: dict[str, Any]) -> None:
    assert sea.soul_pub(vector["soul"]) == vector["pub"]


@pytest.mark.parametrize("vector", SEA["sign"], ids=lambda v: json.dumps(v["input"]))
def test_sign(vector: dict[str, Any]) -> None:
    """ECDSA of gun is randomised, ours deterministic: texts agree up to the signature, each verifies both."""
    signer = next(pair for pair in PAIRS if sea.verify(vector["out"], pair["pub"]) == vector["verified"])
    ours = sea.sign(vector["input"], signer)
    assert ours.rpartition(',"s":')[0] == vector["out"].rpartition(',"s":')[0]
    assert ours == sea.sign(vector["input"], signer)
    assert sea.verify(ours, signer["pub"]) == vector["verified"]


def test_verify_refuses_another_text_and_another_key() -> None:
    assert sea.verify(SEA["verify_bad"]["in"], SEA["verify_bad"]["pub"]) is None
    assert sea.verify(sea.sign("x", PAIRS[0]), PAIRS[1]["pub"]) is None


@pytest.mark.parametrize("vector", ALEPHNET_SEA["signed"], ids=lambda v: json.dumps(v["input"]))
def test_what_alephnet_signs(vector: dict[str, Any]) -> None:
    pair = ALEPHNET_SEA["pair"]
    assert sea.verify(vector["signed"], pair["pub"]) == vector["verifyResult"]
    ours = sea.sign(vector["input"], pair)
    assert ours.rpartition(',"s":')[0] == vector["signed"].rpartition(',"s":')[0]


def test_what_alephnet_encrypts() -> None:
    one, two = ALEPHNET_SEA["pair"], ALEPHNET_SEA["pair2"]
    shared = sea.secret(two["epub"], one)
    assert shared == sea.secret(one["epub"], two) == ALEPHNET_SEA["secret"]
    assert sea.decrypt(ALEPHNET_SEA["encrypted"], shared) is not None
    assert sea.decrypt(ALEPHNET_SEA["encryptedSelf"], one) is not None
    assert sea.decrypt(ALEPHNET_SEA["encryptedSelf"], two) is None


@pytest.mark.parametrize("name", ["gun_user_put", "gun_bridge_put"])
def test_puts_of_alephnet_pass_the_rules(name: str) -> None:
    cells = 0
    for raw in json.loads((ALEPHNET / f"{name}.json").read_text())["puts"]:
        for soul, node in nodes.read_graph(raw["put"]).items():
            for key, (value, state) in node.items():
                assert rules.refusal(soul, key, value, state) is None
                cells += 1
    assert cells > 5


@pytest.mark.parametrize("vector", SEA["encrypt"], ids=lambda v: json.dumps(v["data"]))
def test_decrypt(vector: dict[str, Any]) -> None:
    key = vector.get("key_epriv") or vector["key_string"]
    assert sea.decrypt(vector["out"], key) == vector["decrypted"]
    assert sea.decrypt(vector["out"], "another key") is None


def test_encrypt_with_the_randomness_of_the_vector() -> None:
    vector, given = SEA["encrypt"][0], SEA["encrypt_key_derivation"]

    class Given:
        def __init__(self) -> None:
            self._draws = [bytes.fromhex(given["salt_hex"]), bytes.fromhex(given["iv_hex"])]

        def bytes(self, n: int) -> bytes:
            draw = self._draws.pop(0)
            assert len(draw) == n
            return draw

    assert sea.encrypt(vector["data"], vector["key_epriv"], random=Given()) == vector["out"]


@pytest.mark.parametrize("vector", SEA["secret"])
def test_secret(vector: dict[str, Any]) -> None:
    assert sea.secret(PAIRS[vector["their"]]["epub"], PAIRS[vector["my"]]) == vector["out"]


@pytest.mark.parametrize("vector", SEA["work"], ids=lambda v: json.dumps(v["opt"]))
def test_work(vector: dict[str, Any]) -> None:
    assert sea.work(vector["data"], vector["salt"], **vector["opt"]) == vector["out"]


@pytest.mark.parametrize("vector", USER_SPACE["signed"], ids=lambda v: f"{v['key']}-{v['input']}")
def test_user_space_value(vector: dict[str, Any]) -> None:
    soul, key, stored, state = (vector[name] for name in ("soul", "key", "stored", "state"))
    assert sea.verify_value(soul, key, stored, state)
    assert not sea.verify_value(soul, key + "x", stored, state)
    assert not sea.verify_value(soul, key, stored, state + 1)
    ours = sea.sign_value(soul, key, json.loads(stored)[":"], state, USER_SPACE["auth_pair"])
    assert sea.verify_value(soul, key, ours, state)
    assert ours.rpartition(',"~":')[0] == stored.rpartition(',"~":')[0]


@pytest.mark.parametrize("vector", SEA["certify"], ids=lambda v: json.dumps(v["policy"]))
def test_certify(vector: dict[str, Any]) -> None:
    """Equal to gun's up to the signature, which is deterministic in ours."""
    certificant, options = vector["certificants"], vector["opt"]
    authority = PAIRS[vector["authority"]]
    ours = sea.certify(
        certificant["pub"] if isinstance(certificant, dict) else certificant,
        vector["policy"],
        authority,
        expires_ms=options.get("expiry"),
        block=options.get("block"),
    )
    assert ours.rpartition(',"s":')[0] == vector["out"].rpartition(',"s":')[0]
    assert sea.verify(ours, authority["pub"]) == sea.verify(vector["out"], authority["pub"]) is not None


def test_a_put_under_a_certificate_as_gun_wrote_it() -> None:
    vector = USER_SPACE["cert"]
    writer = USER_SPACE["auth_pair"]
    cells = 0
    for raw in vector["puts"]:
        for soul, node in nodes.read_graph(raw["put"]).items():
            for key, (value, state) in node.items():
                assert sea.soul_pub(soul) == vector["authority"]
                plain = json.loads(str(value))[":"]
                ours = sea.sign_value(soul, key, plain, state, writer, certificate=vector["cert"])
                assert [*json.loads(ours)] == [*json.loads(str(value))]
                for stored in (value, ours):
                    assert rules.refusal(soul, key, stored, state) is None
                    assert sea.verify_value(soul, key, stored, state)
                    assert not sea.verify_value(soul, key, stored, state + 1)
                assert not sea.verify_value(soul, key, sea.sign_value(soul, key, plain, state, writer), state)
                cells += 1
    assert cells == 2


@pytest.mark.parametrize("number", [0, 2])
def test_a_certificate_for_several_counts_unlike_in_gun(number: int) -> None:
    soul, pair = f"~{USER_SPACE['cert']['authority']}/inbox", PAIRS[number]
    stored = sea.sign_value(soul, "m1", "hi", 1.0, pair, certificate=USER_SPACE["cert_multi"]["cert"])
    assert rules.refusal(soul, "m1", stored, 1.0) is None


@pytest.mark.parametrize("name", ["create_puts", "deep", "enc_put"])
def test_user_space_puts_pass_the_rules(name: str) -> None:
    for raw in USER_SPACE[name]:
        for soul, node in nodes.read_graph(raw["put"]).items():
            for key, (value, state) in node.items():
                assert rules.refusal(soul, key, value, state) is None


@pytest.mark.parametrize("mode", ["off", "on"])
def test_ham_ties(mode: str) -> None:
    for vector in PROBES[mode]["ham_tie"]:
        state, first, second = vector["state"], vector["first"], vector["second"]
        verdict = ham.resolve(state, state, state, second, first)
        winner = second if verdict == "accept" else first
        assert (winner, type(winner)) == (vector["winner"], type(vector["winner"])), vector


@pytest.mark.parametrize("mode", ["off", "on"])
def test_captured_frames_are_read(mode: str) -> None:
    """Every frame a real relay or client sent; the hashes of whole answers are recomputed."""
    hashes = 0
    for line in (VECTORS / f"frames_axe_{mode}.jsonl").read_text(encoding="utf-8").splitlines():
        frame = json.loads(line)
        if frame["dir"] == "close":
            continue
        for raw in wire.read_frame(frame["raw"]):
            if '"big"' in json.dumps(raw):  # that soul kills a gun.js relay (gun.md section 6e)
                with pytest.raises(RemoteError):
                    wire.read_message(raw)
                continue
            message = wire.read_message(raw)
            assert message.id == raw["#"]
            assert message.at == raw.get("@")
            if message.put and "@" in raw and "##" in raw:
                assert nodes.content_hash(message.put) == raw["##"]
                hashes += 1
    assert hashes > 5


RELAY_VERDICTS = {
    "user_unsigned": sea.UNVERIFIED,
    "user_pub_ok": None,
    "user_pub_bad": rules.WRONG_ACCOUNT,
    "user_sub_unsigned": sea.UNVERIFIED,
    "alias_ok": None,
    "alias_list_ok": None,
    "hash_ok": None,
    "hash_bad": rules.NOT_ITS_HASH,
    "hash_suffix_ok": None,
    "hash_hex_ok": None,
}


@pytest.mark.parametrize(("name", "verdict"), RELAY_VERDICTS.items())
def test_the_rules_say_what_a_gun_js_relay_said(name: str, verdict: str | None) -> None:
    probe = PROBES["off"]["sea_unsigned"][name]
    told = [line["m"]["err"] for line in probe["A"] if "err" in line["m"]]
    assert told == ([verdict] if verdict else [])
    for line in probe["B"]:
        for soul, node in nodes.read_graph(line["m"]["put"]).items():
            for key, (value, state) in node.items():
                assert rules.refusal(soul, key, value, state) is None


def test_the_alias_that_gun_js_swallows_is_refused() -> None:
    (line,) = PROBES["off"]["sea_unsigned"]["alias_bad"]["B"]
    ((soul, node),) = nodes.read_graph(line["m"]["put"]).items()
    ((key, (value, state)),) = node.items()
    assert rules.refusal(soul, key, value, state) == rules.WRONG_ALIAS


def test_the_frames_of_a_leaf() -> None:
    soul = "calls/s/04d28d912d8b982c9caf8bf36d983b94#<?90"
    key = "629569acf61031bd462d331ab1501eb6#KzD1u1y3aiv3mvkjlrAfeKWLhdxbIK/2pWAIDVILrbM="
    value = '{"v":1,"kid":"k1","box":"AAAA"}'
    assert leaves.is_leaf(key, value)
    assert leaves.make_key(bytes.fromhex(key[:32]), value) == key
    assert leaves.lifetime_s(soul) == 90
