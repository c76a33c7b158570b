"""What a relay says about itself: ready line, card, health, metrics on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from sidecar.app import exit_codes
from sidecar.errors import UnavailableError
from sidecar.ids import fingerprint
from sidecar.relay import cards
from sidecar.relay.admin import AdminListener
from tests.graph_nodes import SOUL, graph_client, leaf
from tests.sidecars import relay, spawn

DEADLINE_S = 20.0


async def http_get(url: str, host: str | None = None) -> tuple[int, dict[str, str], str]:
    """Status, headers and body; ``host`` replaces the Host header, an empty one leaves it out."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    line = f"Host: {parts.netloc if host is None else host}\r\n" if host != "" else ""
    writer.write(f"GET {parts.path} HTTP/1.1\r\n{line}\r\n".encode())
    raw = (await asyncio.wait_for(reader.read(), DEADLINE_S)).decode()
    writer.close()
    head, _, body = raw.partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status.split()[1]), headers, body


def config_file(folder: Path, **relay_options: Any) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps({"network": {"relay": relay_options}}))
    return str(path)


def samples(text: str) -> dict[str, float]:
    """Each sample by its name and its labels' values."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[":".join((sample.name, *sample.labels.values()))] = sample.value
    return found


async def test_the_ready_line_says_who_serves_what(tmp_path: Path) -> None:
    async with relay(tmp_path) as process:
        ready = process.ready
        assert ready["pid"] == process.pid
        base = ready["gun"].removesuffix("/gun")
        assert ready["card"] == base + "/.well-known/aleph-relay"
        assert ready["userId"] == fingerprint(ready["publicKey"])
        off = ("stun", "turn", "turns", "endpoint", "admin")
        assert [ready[name] for name in off] == [None] * len(off)


async def test_the_relay_has_an_identity_that_is_its_own_and_lasts(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        async with relay(tmp_path) as process:
            keys.append(process.ready["publicKey"])
    assert keys[0] == keys[1]
    assert stat.S_IMODE(os.stat(tmp_path / "identity.json").st_mode) == 0o600


async def test_any_page_may_read_the_signed_card(tmp_path: Path) -> None:
    async with relay(tmp_path) as process:
        status, headers, body = await http_get(process.ready["card"])
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert headers["access-control-allow-origin"] == "*"
    card = cards.read(body, json.loads(body)["createdAt"])
    assert card.pub == process.ready["publicKey"]
    assert card.gun == process.ready["gun"]
    assert (card.turn, card.turns, card.certificate_pin) == (None, None, None)


async def test_a_relay_on_every_interface_does_not_guess_its_url(tmp_path: Path) -> None:
    async with relay(tmp_path, "--host", "0.0.0.0") as process:
        card = process.ready["card"].replace("0.0.0.0", "127.0.0.1")
        _, _, body = await http_get(card)
    assert json.loads(body)["payload"]["gun"] is None


async def test_metrics_tell_sums_and_no_names(tmp_path: Path) -> None:
    async with relay(tmp_path / "data", "--config", config_file(tmp_path, adminPort=0)) as process:
        url = process.ready["admin"] + "/metrics"
        async with graph_client(process.ready["gun"]) as client:
            client.watch_leaves(SOUL, lambda *_: None)
            key, value = leaf("x" * 500)
            await client.put_leaf(SOUL, key, value)
            status, headers, text = await http_get(url)
        assert status == 200
        assert headers["content-type"].startswith("text/plain; version=")
        found = samples(text)
        assert found["aleph_relay_connections"] == 1
        assert found["aleph_relay_messages_total:put"] == 1
        assert found["aleph_relay_messages_total:get"] >= 1
        assert found["aleph_relay_messages_total:control"] >= 1
        assert found["aleph_relay_subscriptions"] == 1
        assert found["aleph_relay_frames_sent_total"] >= 2
        assert found["aleph_relay_writes_queued"] == 0
        assert found["aleph_relay_put_commit_seconds_count"] >= 1
        assert found["aleph_relay_store_bytes"] > 500
        assert SOUL not in text
        assert "127.0.0.1" not in text


async def test_metrics_count_what_was_refused(tmp_path: Path) -> None:
    async with relay(tmp_path / "data", "--config", config_file(tmp_path, adminPort=0)) as process:
        async with connect(process.ready["gun"].replace("http", "ws"), proxy=None) as socket:
            await socket.send("{bad")
            await socket.send('{"#":"g","get":{"#":"s"}}')
            while json.loads(await asyncio.wait_for(socket.recv(), DEADLINE_S)).get("@") != "g":
                pass
        _, _, text = await http_get(process.ready["admin"] + "/metrics")
        assert samples(text)["aleph_relay_dropped_total:bad-json"] == 1


async def test_the_admin_listener_answers_its_own_name_only() -> None:
    listener = AdminListener(lambda: "metrics", "text/plain")
    url = await listener.start(0)
    port = urlsplit(url).port
    try:
        assert (await http_get(f"{url}/metrics"))[::2] == (200, "metrics")
        assert (await http_get(f"{url}/metrics", f"localhost:{port}"))[0] == 200
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port}.x", ""):
            assert (await http_get(f"{url}/metrics", host))[0] in (400, 403)
        assert (await http_get(f"{url}/"))[0] == 404
        with pytest.raises(InvalidStatus):
            await connect(url.replace("http", "ws") + "/metrics", proxy=None)
        with pytest.raises(UnavailableError, match="cannot listen"):
            await AdminListener(lambda: "", "text/plain").start(port or 0)
    finally:
        await listener.stop()


async def test_an_admin_port_in_use_ends_the_start(tmp_path: Path) -> None:
    listener = AdminListener(lambda: "", "text/plain")
    port = urlsplit(await listener.start(0)).port
    config = config_file(tmp_path, adminPort=port, port=0, host="127.0.0.1")
    process = await spawn("relay", "--data", str(tmp_path / "data"), "--config", config)
    assert await process.exit_code() == exit_codes.ENVIRONMENT
    await listener.stop()
