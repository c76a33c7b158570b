"""Log lines: shape, levels, and what never gets into one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from sidecar import log

SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\na=ice-ufrag:abcd\r\na=candidate:1 1 udp 1 10.0.0.7 5000 typ host\r\n"
)
USER = "0123456789abcdef"
PUBLIC_KEY = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="


@pytest.fixture
def lines() -> Iterator[list[bytes]]:
    written: list[bytes] = []
    before = log._settings
    log.configure(written.append, lambda: 1234, "info")
    yield written
    log._settings = before


def only(lines: list[bytes]) -> dict[str, object]:
    assert len(lines) == 1
    assert lines[0].endswith(b"\n")
    assert lines[0].count(b"\n") == 1
    record = json.loads(lines[0])
    assert isinstance(record, dict)
    return record


def test_a_line_is_one_json_object_with_its_fields(lines: list[bytes]) -> None:
    log.get("calls").info("state", call_id="call_x", old="ringing", new="active", gen=2, muted=False)
    assert only(lines) == {
        "ts": 1234, "level": "info", "logger": "calls", "msg": "state",
        "call_id": "call_x", "old": "ringing", "new": "active", "gen": 2, "muted": False,
    }  # fmt: skip


def test_a_field_never_replaces_the_head(lines: list[bytes]) -> None:
    log.get("calls").info("state", msg="x", level="off", ts=1)
    assert only(lines) == {"ts": 1234, "level": "info", "logger": "calls", "msg": "state"}


@pytest.mark.parametrize(
    ("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1), ("off", 0)]
)
def test_the_level_is_a_threshold(lines: list[bytes], level: str, count: int) -> None:
    log.configure(lines.append, lambda: 0, level)
    logger = log.get("x")
    for method in (logger.debug, logger.info, logger.warning, logger.error):
        method("text")
    assert len(lines) == count


def test_bound_fields_are_on_every_line(lines: list[bytes]) -> None:
    log.get("x").bind(call_id="call_x").bind(gen=1).info("text", gen=2)
    assert only(lines)["call_id"] == "call_x"
    assert only(lines)["gen"] == 2


@pytest.mark.parametrize("name", ["sdp", "candidate", "userId", "user_id", "publicKey", "token", "remoteSdp"])
def test_P03_fields_that_name_a_secret_are_left_out_and_named(lines: list[bytes], name: str) -> None:
    log.get("x").info("text", **{name: "harmless"}, nested={"inner": {name: "harmless"}})
    record = only(lines)
    assert record["redacted"] == [name]
    assert record["nested"] == {"inner": {"redacted": [name]}}
    assert b"harmless" not in lines[0]


@pytest.mark.parametrize("secret", [SDP, SDP[5:], USER, PUBLIC_KEY, f"friend {USER} of"])
def test_P03_text_that_looks_like_a_secret_is_blanked_anywhere(lines: list[bytes], secret: str) -> None:
    log.get("x").info("text", why=secret, chain=[{"deep": ValueError(secret)}])
    for piece in ("10.0.0.7 5000", "abcd", USER, PUBLIC_KEY):
        if piece in secret:
            assert piece.encode() not in lines[0]
    assert b"[redacted]" in lines[0]


def test_our_own_ids_stay_readable(lines: list[bytes]) -> None:
    log.get("x").error("handler failed", error_id=USER)
    assert only(lines)["error_id"] == USER


def test_long_text_is_cut_and_a_long_line_keeps_its_head(lines: list[bytes]) -> None:
    log.get("x").info("one", why="y" * 10_000)
    assert len(lines[0]) < log.MAX_LINE
    log.get("x").info("many", **{f"field{n}": "y" * 1000 for n in range(9)})
    assert len(lines[1]) < log.MAX_LINE
    assert json.loads(lines[1])["msg"] == "many"
    assert "field0" in json.loads(lines[1])["truncated"]


def test_any_value_is_valid_json(lines: list[bytes]) -> None:
    log.get("x").info("text", nan=float("nan"), bytes=b"\x00", text="\ud800\n", group={"b"}, none=None)
    record = only(lines)
    assert record["nan"] == "nan"
    assert record["none"] is None
