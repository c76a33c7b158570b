"""The first line of stdin and the first of stdout."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import pytest

from sidecar.app import handshake
from sidecar.app.handshake import ClientEntry, parse, read_line, ready_line
from sidecar.config import ConfigError


def line(**members: Any) -> bytes:
    return json.dumps({"v": 1, **members}).encode()


@pytest.fixture
def pipe() -> Any:
    read, write = os.pipe()
    open_ends = {read, write}

    def close(fd: int) -> None:
        open_ends.discard(fd)
        os.close(fd)

    yield read, write, close
    for fd in open_ends:
        os.close(fd)


def test_everything_but_the_version_is_optional() -> None:
    shake = parse(b'{"v":1}')
    assert shake == handshake.Handshake(config=shake.config)
    assert shake.config.network.peers == ()
    assert shake.clients is None


def test_members_arrive() -> None:
    shake = parse(
        line(
            dataDir="/d", identityFile="/i", peers=["http://a/gun"], transport="tcp",
            curve={"clientKey": "k" * 40}, parentPid=77, web={"origins": []},
            clients=[{"token": "t", "permissions": ["media:camera"]}],
            config={"network": {"peers": ["http://b/gun"]}},
        )
    )  # fmt: skip
    assert (shake.data_dir, shake.identity_file, shake.transport) == ("/d", "/i", "tcp")
    assert (shake.client_key, shake.parent_pid) == ("k" * 40, 77)
    assert shake.clients == (ClientEntry("t", frozenset({"media:camera"})),)
    assert not shake.web
    assert shake.config.network.peers == ("http://a/gun",), "peers of the handshake replace those of config"


def test_peers_of_the_configuration_stand_when_the_handshake_names_none() -> None:
    assert parse(line(config={"network": {"peers": ["http://b/gun"]}})).config.network.peers == (
        "http://b/gun",
    )


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b"", "handshake"),
        (b"{", "handshake"),
        (b"\xff\xfe", "handshake"),
        (b"[" * 100_000, "handshake"),
        (b"[]", "config"),
        (b"{}", "v"),
        (b'{"v":2}', "v"),
        (b'{"v":true}', "v"),
        (line(dataDir=3), "dataDir"),
        (line(dataDir=""), "dataDir"),
        (line(peers="http://a"), "peers"),
        (line(peers=["nope"]), "peers[0]"),
        (line(transport="udp"), "transport"),
        (line(transport="tcp"), "curve"),
        (line(transport="tcp", curve={"clientKey": "short"}), "curve.clientKey"),
        (line(curve=[]), "curve"),
        (line(parentPid="77"), "parentPid"),
        (line(parentPid=0), "parentPid"),
        (line(web=[]), "web"),
        (line(web={"origins": "x"}), "web.origins"),
        (line(clients={}), "clients"),
        (line(clients=[{"permissions": []}]), "clients[0].token"),
        (line(clients=[{"token": "t", "permissions": [1]}]), "clients[0].permissions[0]"),
        (line(clients=[{"token": "t"}] * 65), "clients"),
        (line(config={"media": {"process": "x"}}), "media.process"),
    ],
)
def test_what_cannot_be_used_is_named(text: bytes, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.details == {"field": field}


def test_a_client_entry_without_permissions_has_none() -> None:
    assert parse(line(clients=[{"token": "t"}])).clients == (ClientEntry("t", frozenset()),)


def test_only_the_first_line_is_taken(pipe: Any) -> None:
    read, write, _ = pipe
    os.write(write, b'{"v":1}\nlater')
    assert read_line(read) == b'{"v":1}'


def test_a_line_may_come_in_pieces(pipe: Any) -> None:
    read, write, _ = pipe
    os.write(write, b'{"v"')
    rest = threading.Thread(target=os.write, args=(write, b":1}\n"))
    rest.start()
    assert read_line(read) == b'{"v":1}'
    rest.join()


def test_an_end_before_the_newline_is_no_handshake(pipe: Any) -> None:
    read, write, close = pipe
    os.write(write, b'{"v":1}')
    close(write)
    with pytest.raises(ConfigError, match="ended"):
        read_line(read)


def test_a_silent_parent_is_not_waited_for_long(pipe: Any) -> None:
    with pytest.raises(ConfigError, match="in time"):
        read_line(pipe[0], timeout_s=0.01)


def test_the_line_is_bounded(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "MAX_LINE", 100)
    os.write(pipe[1], b"x" * 101)
    with pytest.raises(ConfigError, match="longer"):
        read_line(pipe[0])


def test_the_ready_line_has_exactly_the_agreed_keys() -> None:
    ready = json.loads(ready_line("ipc:///x", 7, 1, "ab"))
    assert ready == {
        "v": 1, "ready": True, "endpoint": "ipc:///x", "pid": 7, "protocol": 1, "schema": "ab", "web": None,
    }  # fmt: skip
    assert json.loads(ready_line("tcp://x", 7, 1, "ab", "key"))["serverKey"] == "key"
    assert ready_line("ipc:///x", 7, 1, "ab").count(b"\n") == 1
