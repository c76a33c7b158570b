"""Frames and messages from anybody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.errors import RemoteError
from sidecar.graph.core import nodes, wire

NODE = {"_": {"#": "s", ">": {"k": 5}}, "k": "v"}


def read(raw: dict[str, Any], *, salvage: bool = False) -> wire.Message:
    return wire.read_message(raw, salvage=salvage)


def reason(raw: dict[str, Any]) -> str:
    with pytest.raises(RemoteError) as caught:
        read(raw)
    return caught.value.reason


def test_a_frame_is_an_object_a_batch_or_nothing() -> None:
    assert wire.read_frame('{"#":"a"}') == [{"#": "a"}]
    assert wire.read_frame('[{"#":"a"},"{\\"#\\":\\"b\\"}"]') == [{"#": "a"}, {"#": "b"}]
    assert wire.read_frame(wire.KEEP_ALIVE) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{bad",
        "[bad",
        "5",
        "hello",
        "null",
        "[5]",
        '["5"]',
        '["{bad"]',
        "[[]]",
        '{"a":NaN}',
        '{"a":1e999}',
        '{"a":' * 1000 + "1" + "}" * 1000,
        "[" * 100_000,
    ],
)
def test_a_bad_frame_is_the_senders_fault(text: str) -> None:
    with pytest.raises(RemoteError):
        wire.read_frame(text)


def test_bounds_of_a_frame() -> None:
    with pytest.raises(RemoteError, match="frame-too-large"):
        wire.read_frame("[" + " " * wire.MAX_FRAME + "]")
    with pytest.raises(RemoteError, match="batch-too-large"):
        wire.read_frame(json.dumps([{}] * (wire.MAX_BATCH + 1)))


def test_a_put_is_read_with_its_states() -> None:
    message = read(
        {"#": "a", "put": {"s": {**NODE, "l": {"#": "t"}, "_": {"#": "s", ">": {"k": 5.5, "l": 6.0}}}}}
    )
    assert message.put == {"s": {"k": ("v", 5.5), "l": ({"#": "t"}, 6)}}


def test_a_put_of_nothing_is_legal() -> None:
    assert read({"#": "a", "put": {"s": {"_": {"#": "s", ">": {}}}}}).put == {"s": {}}


@pytest.mark.parametrize("value", [[1], {"b": 1}, {"#": "s", "q": 1}, {"#": ""}, {"#": 1}, {}, 10**400])
def test_a_bad_value_refuses_the_message(value: Any) -> None:
    assert reason({"#": "a", "put": {"s": {**NODE, "k": value}}}) in ("bad-value", "bad-soul")


@pytest.mark.parametrize("state", ["5", None, True, -1, 8.64e15 + 2, [5], {}])
def test_S18_a_state_is_a_number_of_milliseconds(state: Any) -> None:
    assert reason({"#": "a", "put": {"s": {"_": {"#": "s", ">": {"k": state}}, "k": "v"}}}) == "bad-state"


@pytest.mark.parametrize("node", [None, 5, [], {}, {"_": 1}, {"_": {"#": "t", ">": {}}}, {"_": {"#": "s"}}])
def test_a_node_carries_its_soul_and_states(node: Any) -> None:
    assert reason({"#": "a", "put": {"s": node}}) == "bad-node"


@pytest.mark.parametrize(
    "soul", ["toString", "constructor", "__proto__", "hasOwnProperty", "big", "trim", "link"]
)
def test_S18_souls_that_crash_gun_js_are_refused_everywhere(soul: str) -> None:
    node = {"_": {"#": soul, ">": {"k": 5}}, "k": "v"}
    assert reason({"#": "a", "put": {soul: node}}) == "prototype-soul"
    assert reason({"#": "a", "put": {"s": {**NODE, "k": {"#": soul}}}}) == "prototype-soul"
    assert reason({"#": "a", "get": {"#": soul}}) == "prototype-soul"
    assert reason({"#": "a", "get": {"#": {"=": soul}}}) == "prototype-soul"


@pytest.mark.parametrize("key", ["", "__proto__", "k" * (nodes.MAX_NAME + 1)])
def test_keys_that_no_node_may_hold(key: str) -> None:
    assert reason({"#": "a", "put": {"s": {"_": {"#": "s", ">": {key: 5}}, key: "v"}}}) == "bad-key"


def test_names_at_their_bound_pass() -> None:
    name = "n" * nodes.MAX_NAME
    node = {"_": {"#": name, ">": {name: 5}}, name: "v"}
    assert read({"#": "a", "put": {name: node}}).put == {name: {name: ("v", 5)}}
    assert reason({"#": "a", "put": {name + "n": node}}) == "bad-soul"


def test_the_error_names_the_message() -> None:
    with pytest.raises(RemoteError) as caught:
        read({"#": "a", "put": {"s": None}})
    assert caught.value.details == {"id": "a"}


def test_gets_in_all_their_forms() -> None:
    assert read({"#": "a", "get": {"#": "s"}}).get == wire.Get("s")
    assert read({"#": "a", "get": {"#": "s", ".": "k"}}).get == wire.Get("s", "k")
    assert read({"#": "a", "get": {"#": {"=": "s"}}}).get == wire.Get("s", exact=True)
    query = {"*": "a", "<": "b"}
    assert read({"#": "a", "get": {"#": "s", ".": query, "%": 50.0}}).get == wire.Get("s", None, query, 50)


@pytest.mark.parametrize("soul", [{"*": ""}, {"*": "room/"}, {">": "a"}, {}, {"=": "s", "*": ""}])
def test_S19_queries_over_souls_are_refused(soul: dict[str, str]) -> None:
    assert reason({"#": "a", "get": {"#": soul}}) == "soul-query"


@pytest.mark.parametrize("get", [5, [], {}, {"#": ""}, {"#": "s", ".": 5}, {"#": "s", ".": {"*": [1]}}])
def test_gets_that_ask_for_nothing(get: Any) -> None:
    assert reason({"#": "a", "get": get}) in ("bad-get", "bad-soul", "bad-key")


def test_envelope_members_are_short() -> None:
    assert reason({"#": "x" * (wire.MAX_ID + 1)}) == "bad-envelope"
    assert reason({"#": "a", "@": ["b"]}) == "bad-envelope"
    assert reason({"#": "a", "ok": {"x": "y" * wire.MAX_NOTE}}) == "note-too-large"
    assert read({"#": 5, "@": 0.5}) == wire.Message(id="5", at="0.5")
    assert read({}).id == ""


def test_errors_are_text() -> None:
    assert read({"@": "a", "err": "Unverified data."}).err == "Unverified data."
    assert read({"@": "a", "err": {"x": 1}}).err == "error"
    assert read({"@": "a", "err": False}).err is None


def test_a_reader_salvages_what_is_usable() -> None:
    good = {"_": {"#": "s", ">": {"k": "not a number", "l": 7}}, "k": "v", "l": "w", "m": None, "n": [1]}
    message = read({"@": "a", "put": {"s": good, "t": 5, "": {}}}, salvage=True)
    assert message.put == {"s": {"k": ("v", 0), "l": ("w", 7), "m": (None, 0)}, "": {}}
    assert read({"@": "a", "put": "junk"}, salvage=True).put == {}


def test_what_is_written_is_read_back() -> None:
    graph: nodes.Graph = {"s": {"k": ("v", 5), "n": (None, 5.5), "l": ({"#": "t"}, 6)}}
    (raw,) = wire.read_frame(wire.write_put("a", graph, at="b", more=True))
    assert read(raw) == wire.Message(id="a", at="b", put=graph, more=True)
    (raw,) = wire.read_frame(wire.write_get("a", "s", "k", exact=True, digest=-5))
    assert read(raw).get == wire.Get("s", "k", exact=True)
    assert raw["##"] == -5
    assert wire.read_frame(wire.write_ack("a", "b")) == [{"#": "a", "@": "b", "ok": True}]
    assert wire.read_frame(wire.write_ack("a", "b", err="No.")) == [{"#": "a", "@": "b", "err": "No."}]
    assert wire.read_frame(wire.write_off("a", "s")) == [{"#": "a", "dam": "off", "get": {"#": "s"}}]
    (raw,) = wire.read_frame(wire.write_hello("a", "pid", at="b", aleph=True))
    assert read(raw) == wire.Message(id="a", at="b", dam="?", pid="pid", aleph=True)


def test_ids_are_letters_and_digits() -> None:
    assert wire.make_id(bytes(range(12))) == "0123456789AB"
    assert wire.make_id(bytes([255] * 12)).isalnum()


def test_half_a_surrogate_pair_costs_its_own_message_and_no_other() -> None:
    """JavaScript sends it for a text that was cut inside an emoji."""
    cut = r'{"#":"a","put":{"s":{"_":{"#":"s",">":{"k":1}},"k":"hi \ud83d"}}}'
    whole = r'{"#":"b","put":{"s":{"_":{"#":"s",">":{"k":1}},"k":"hi \ud83d\ude00"}}}'
    for frame in (f"[{cut},{whole}]", json.dumps([cut, whole])):
        first, second = wire.read_frame(frame)
        with pytest.raises(RemoteError) as refused:
            wire.read_message(first)
        assert (refused.value.reason, refused.value.details) == ("half-surrogate", {"id": "a"})
        assert wire.read_message(second).id == "b"


def test_what_is_no_message_in_a_batch_is_left_out() -> None:
    raws = wire.read_frame('[{"#":"a","get":{"#":"s"}},null,5,"{bad","{\\"#\\":\\"b\\"}"]')
    assert [raw["#"] for raw in raws] == ["a", "b"]
