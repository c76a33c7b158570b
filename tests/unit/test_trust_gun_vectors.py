"""What AlephNet's bridge and SEA put on the wire: signatures, user space, and which envelopes survive it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.graph.core import nodes, rules, sea, wire
from sidecar.trust import envelope

VECTORS = Path(__file__).parent.parent / "vectors" / "alephnet"


def load(name: str) -> dict[str, Any]:
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


SEA = load("sea")
USER_PUTS = load("gun_user_put")["puts"]
BRIDGE_PUTS = load("gun_bridge_put")["puts"]
OFFER = "calls/call_1/signals/peerB/offer"


@pytest.mark.parametrize("vector", SEA["signed"], ids=lambda vector: str(vector["input"])[:12])
def test_sea_signatures(vector: dict[str, Any]) -> None:
    pair, other = SEA["pair"], SEA["pair2"]
    assert sea.verify(vector["signed"], pair["pub"]) == vector["verifyResult"]
    assert sea.verify(vector["signed"], other["pub"]) is None
    ours = sea.sign(vector["input"], pair)
    assert sea.verify(ours, pair["pub"]) == vector["verifyResult"]
    assert ours.partition('"s":')[0] == vector["signed"].partition('"s":')[0]


def test_sea_secret_and_encryption() -> None:
    pair, other = SEA["pair"], SEA["pair2"]
    assert sea.secret(other["epub"], pair) == sea.secret(pair["epub"], other) == SEA["secret"]
    assert sea.decrypt(SEA["encrypted"], SEA["secret"]) is not None
    assert sea.decrypt(SEA["encryptedSelf"], pair) is not None
    assert sea.decrypt(SEA["encryptedSelf"], other) is None


@pytest.mark.parametrize("put", USER_PUTS + BRIDGE_PUTS, ids=lambda put: put["#"])
def test_their_frames_are_read_and_written_alike(put: dict[str, Any]) -> None:
    (message,) = wire.read_frame(json.dumps(put))
    graph = wire.read_message(message).put
    assert graph is not None
    assert nodes.write_graph(graph) == put["put"]


def test_user_space_is_accepted_and_its_forgery_is_not() -> None:
    signed = USER_PUTS[1]["put"]
    assert all(soul.startswith("~") for soul in signed)
    for soul, node in signed.items():
        for key, state in node["_"][">"].items():
            assert rules.refusal(soul, key, node[key], state) is None
            assert rules.refusal(soul, key, node[key], state + 1) is not None
            assert rules.refusal(soul + "/x", key, node[key], state) is not None


def test_an_envelope_put_as_an_object_is_in_pieces() -> None:
    exploded = BRIDGE_PUTS[0]["put"]
    assert len([soul for soul in exploded if soul.startswith(OFFER)]) == 8
    read_back = {key: value for key, value in exploded[OFFER].items() if key != "_"}
    assert nodes.is_link(read_back["payload"])
    assert not envelope.verify(read_back).valid
    assert not envelope.verify(read_back, strict=False).valid


def test_an_envelope_put_as_one_string_survives() -> None:
    text = BRIDGE_PUTS[2]["put"]["calls/call_1/signals/peerB"]["answer"]
    assert envelope.verify(json.loads(text)) == (True, None)
    assert envelope.to_text(json.loads(text)) == text
