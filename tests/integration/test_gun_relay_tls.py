"""wss: the relay's certificate, and the clients and peers that check it (FAULTS R09)."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sidecar.app import exit_codes
from sidecar.app.system_clock import SystemClock
from sidecar.config import ConfigError
from sidecar.errors import LocalError, UnavailableError
from sidecar.graph import transport
from sidecar.relay import cards
from sidecar.relay.certificate import Certificate
from tests.certificates import Authority, Files
from tests.graph_nodes import SOUL, graph_client, leaf
from tests.sidecars import Process, relay, spawn

DEADLINE_S = 20.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def config_file(folder: Path, name: str = "config.json", **relay_options: Any) -> str:
    path = folder / name
    ca_file = relay_options.pop("caFile", None)
    path.write_text(json.dumps({"network": {"caFile": ca_file, "relay": relay_options}}))
    return str(path)


def tls_config(folder: Path, files: Files) -> str:
    return config_file(folder, certFile=files.cert, keyFile=files.key)


async def read_card(url: str, tls: ssl.SSLContext, path: str = cards.PATH) -> cards.RelayCard:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
    assert head.startswith(b"HTTP/1.1 200")
    body = await asyncio.wait_for(reader.readline(), DEADLINE_S)
    writer.close()
    return cards.read(body.decode(), int(transport.parse_date(head.decode().split("Date: ")[1][:29]) or 0))


async def test_a_client_that_trusts_the_authority_is_served_and_others_do_not_connect(
    tmp_path: Path, authority: Authority
) -> None:
    files = authority.issue("relay")
    async with relay(tmp_path / "data", "--config", tls_config(tmp_path, files)) as process:
        url = process.ready["gun"]
        assert url.startswith("https://127.0.0.1:")
        tls = transport.trust(authority.ca_file)
        async with graph_client(url, tls=tls) as client:
            key, value = leaf("over TLS")
            await client.put_leaf(SOUL, key, value)
            assert await client.read_leaves(SOUL, timeout_s=5) == {key: value}
        with pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            await transport.open_socket(url, max_frame=1_000)
        card = await read_card(url, tls)
        assert card.certificate_pin == files.pin
        assert card.gun == url
        assert card.pub == process.ready["publicKey"]


async def test_a_relay_peers_with_another_over_tls(tmp_path: Path, authority: Authority) -> None:
    files = authority.issue("relay")
    async with relay(tmp_path / "a", "--config", tls_config(tmp_path, files)) as upstream:
        config = config_file(tmp_path, "b.json", caFile=authority.ca_file, peers=[upstream.ready["gun"]])
        async with relay(tmp_path / "b", "--config", config) as downstream:
            await downstream.log.wait(lambda line: line.get("new") == "up")


async def test_R09_a_renewed_certificate_is_taken_on_sighup_and_no_connection_is_lost(
    tmp_path: Path, authority: Authority
) -> None:
    files, renewed = authority.issue("relay"), authority.issue("renewed")
    async with relay(tmp_path / "data", "--config", tls_config(tmp_path, files)) as process:
        url, tls = process.ready["gun"], transport.trust(authority.ca_file)
        socket = await transport.open_socket(url, max_frame=1_000_000, tls=tls)
        shutil.copy(renewed.cert, files.cert)
        process.process.send_signal(signal.SIGHUP)
        await process.log.wait(lambda line: line.get("msg") == "certificate not taken")
        assert (await read_card(url, tls)).certificate_pin == files.pin
        shutil.copy(renewed.key, files.key)
        process.process.send_signal(signal.SIGHUP)
        await process.log.wait(lambda line: line.get("msg") == "certificate taken")
        assert (await read_card(url, tls)).certificate_pin == renewed.pin
        await asyncio.wait_for(socket.ping(), DEADLINE_S)
        await socket.close()


async def test_R09_a_certificate_that_cannot_be_used_fails_the_start(
    tmp_path: Path, authority: Authority
) -> None:
    files = authority.issue("relay", days=-1)
    config = tls_config(tmp_path, files)
    process: Process = await spawn("relay", "--data", str(tmp_path / "data"), "--config", config)
    assert await process.exit_code() == exit_codes.USAGE
    assert "network.relay.certFile: expired" in process.raw_log[-1]


def test_R09_what_is_wrong_with_a_certificate_is_named(tmp_path: Path, authority: Authority) -> None:
    files, other, expired = authority.issue("a"), authority.issue("b"), authority.issue("c", days=-1)
    text, missing = tmp_path / "text.pem", str(tmp_path / "missing")
    text.write_text("no certificate")
    now_ms = SystemClock().wall_ms
    for cert, key, error, field in (
        (str(text), files.key, ConfigError, "certFile"),
        (expired.cert, expired.key, ConfigError, "certFile"),
        (missing, files.key, UnavailableError, "certFile"),
        (files.cert, missing, UnavailableError, "keyFile"),
        (files.cert, other.key, ConfigError, "keyFile"),
        (files.cert, str(text), ConfigError, "keyFile"),
    ):
        with pytest.raises(error) as caught:
            Certificate(cert, key, now_ms)
        assert caught.value.details == {"field": f"network.relay.{field}"}
        assert field in caught.value.message


def test_authorities_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    with pytest.raises(LocalError, match=r"network\.caFile"):
        transport.trust(str(text))
    with pytest.raises(UnavailableError, match=r"network\.caFile"):
        transport.trust(str(tmp_path / "missing"))
