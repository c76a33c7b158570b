"""The zerorpc message: what is one, what is not, and that ids keep their type."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from msgspec import Raw

from sidecar.ipc.wire import messages
from sidecar.ipc.wire.messages import Malformed, MessageIds, parse, salvage_id, serialise


def pack(value: Any) -> bytes:
    return msgpack.packb(value, use_bin_type=True)


@pytest.mark.parametrize("message_id", [b"0123456789abcdef", "0123456789abcdef"])
def test_an_answer_repeats_the_id_with_the_type_it_came_with(message_id: bytes | str) -> None:
    request = parse(pack([{"message_id": message_id, "v": 3}, "call:get", [None]]))
    answer = serialise("m1", messages.OK, (1,), request.message_id)
    header, name, args = msgpack.unpackb(answer)
    assert header == {"message_id": "m1", "v": 3, "response_to": message_id}
    assert type(header["response_to"]) is type(message_id)
    assert (name, args) == ("OK", [1])


def test_a_request_has_no_response_to() -> None:
    header, _, _ = msgpack.unpackb(serialise("m1", "call:get", (None,)))
    assert header == {"message_id": "m1", "v": 3}


def test_a_nil_response_to_is_none() -> None:
    assert parse(pack([{"message_id": "m", "response_to": None}, "x", []])).response_to == b""


def test_args_are_not_decoded() -> None:
    args = parse(pack([{"message_id": "m"}, "x", [{"deep": [1, 2]}]])).args
    assert bytes(args) == pack([{"deep": [1, 2]}])


def test_raw_members_are_copied_as_they_are() -> None:
    payload = serialise("m", messages.STREAM, Raw(pack({"a": 1})), pack("c"))
    assert msgpack.unpackb(payload)[2] == {"a": 1}


def test_header_members_we_do_not_know_are_ignored() -> None:
    assert parse(pack([{"message_id": "m", "v": 3, "trace": {"a": [1]}}, "x", []])).name == "x"


BAD = {
    "empty": b"",
    "not an array": pack({"message_id": "m"}),
    "too short": pack([{"message_id": "m"}, "x"]),
    "header is a list": pack([["message_id"], "x", []]),
    "name is a number": pack([{"message_id": "m"}, 1, []]),
    "name is not utf-8": pack([{"message_id": "m"}, "x", []]).replace(b"\xa1x", b"\xa1\xff"),
    "header key is a number": pack([{1: "m"}, "x", []]),
    "truncated": pack([{"message_id": "m"}, "x", ["abcdef"]])[:-2],
    "trailing": pack([{"message_id": "m"}, "x", []]) + b"\x00",
    "claims four thousand million members": b"\xdd\xff\xff\xff\xff",
    "args claim four thousand million members": pack([{"message_id": "m"}, "x"])[:0]
    + b"\x93\x81\xaamessage_id\xa1m\xa1x\xdd\xff\xff\xff\xff",
    "a million levels deep": b"\x93\x81\xaamessage_id\xa1m\xa1x" + b"\x91" * 1_000_000,
    "reserved byte": b"\xc1",
}


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD.keys())
def test_I01_damage_is_one_error(payload: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parse(payload)
    assert caught.value.reason == "malformed-message"


@pytest.mark.parametrize("member", ["message_id", "response_to"])
def test_I01_an_id_has_a_bound(member: str) -> None:
    def read(size: int) -> bytes:
        return getattr(parse(pack([{member: "i" * size}, "x", []])), member)

    assert read(messages.MAX_ID - 2)
    with pytest.raises(Malformed, match="oversized-id"):
        read(messages.MAX_ID)


@pytest.mark.parametrize(
    "encoded", [b"\x07", b"\x91\xa1m", b"\xc7\x01\x05m", b"\xa1\xff", b"\xd9\x01\xff", b"\xcb" + bytes(8)]
)
def test_I01_an_id_is_text_or_bytes(encoded: bytes) -> None:
    message = parse(b"\x93\x81\xaamessage_id" + encoded + b"\xa1x\x90")
    with pytest.raises(Malformed, match="bad-id"):
        assert message.message_id


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (pack([{"message_id": "m"}, 5, []]), pack("m")),
        (pack([{"message_id": b"m"}, "x"]), pack(b"m")),
        (pack([{"message_id": "m"}, "x", ["abc"]])[:-2], pack("m")),
        (b"\x93\x81\xaamessage_id\xa1m\xa1x" + b"\x91" * 100_000, pack("m")),
        (pack([{"message_id": "m", "response_to": "c"}, 5, []]), b""),
        (pack([{"message_id": ["m"]}, 5, []]), b""),
        (pack([{"message_id": "m" * 65}, 5, []]), b""),
        (pack([{"message_id": ""}, 5, []]), b""),
        (pack([["message_id"], 5, []]), b""),
        (pack("message"), b""),
        (b"", b""),
        (b"\xc1\xff", b""),
        (b"\xdd\xff\xff\xff\xff", b""),
    ],
)
def test_I01_a_damaged_request_is_answered_while_its_header_can_be_read(payload: bytes, found: bytes) -> None:
    assert salvage_id(payload) == found


def test_ids_are_unique_under_a_prefix() -> None:
    ids = MessageIds("ab")
    drawn = [ids() for _ in range(300)]
    assert len(set(drawn)) == 300
    assert all(one.startswith("ab") for one in drawn)
