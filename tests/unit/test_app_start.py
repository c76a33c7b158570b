"""What is loaded before the ready line, and what is found out there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.app import start
from sidecar.app.exit_codes import BUG, ENVIRONMENT, USAGE, of
from sidecar.app.handshake import parse
from sidecar.app.lock import AlreadyRunning
from sidecar.config import ConfigError
from sidecar.errors import InternalError, LocalError, UnavailableError

SLOW = ("asyncio", "msgspec", "msgpack", "ssl", "logging", "dataclasses", "inspect", "nacl", "cryptography",
        "websockets", "sqlite3", "aiortc", "aioice", "av", "mss", "numpy", "argparse", "ctypes")  # fmt: skip


def test_nothing_slow_is_loaded_before_the_ready_line() -> None:
    code = "import sys, sidecar.cli.ipc, sidecar.schema; sidecar.schema.PROTOCOL; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in SLOW if name in loaded] == []
    assert "zmq" in loaded


def test_core_never_loads_the_codecs() -> None:
    code = "import sys, sidecar.app.compose, sidecar.app.relay_node; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in ("aiortc", "aioice", "av", "mss", "numpy") if name in loaded] == []


def test_a_place_is_prepared_and_given_back(tmp_path: Path) -> None:
    shake = parse(json.dumps({"v": 1, "dataDir": str(tmp_path / "data")}).encode())
    place = start.prepare(shake)
    assert place.identity is None
    assert place.bound.endpoint.startswith(f"ipc://{tmp_path}/data/aleph-")
    with pytest.raises(AlreadyRunning):
        start.prepare(shake)
    place.bound.close()
    place.lock.release()
    again = start.prepare(shake)
    again.bound.close()
    again.lock.release()


def test_a_failure_gives_the_lock_back(tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_text("{}")
    shake = parse(json.dumps({"v": 1, "dataDir": str(tmp_path)}).encode())
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"identity\.json"):
            start.prepare(shake)


def test_contacts_that_cannot_be_are_named_before_anything_is_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    line = {"v": 1, "dataDir": str(data), "config": {"social": {"friends": 3}}}
    with pytest.raises(LocalError, match=r"social\.friends"):
        start.prepare(parse(json.dumps(line).encode()))
    assert not data.exists()


def test_a_long_path_gets_its_socket_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    shake = parse(json.dumps({"v": 1, "dataDir": str(tmp_path / ("d" * 120))}).encode())
    place = start.prepare(shake)
    assert place.bound.endpoint.startswith("ipc:///tmp/aleph-")
    place.remove_files()
    place.bound.close()
    place.lock.release()


def test_sockets_of_killed_predecessors_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "aleph-0123").mkdir()
    (tmp_path / "aleph-0123" / "sidecar").touch()
    (tmp_path / "aleph-album").mkdir()
    (tmp_path / "aleph-album" / "photo").touch()
    start.remove_stale_sockets(str(tmp_path))
    assert not (tmp_path / "aleph-0123").exists()
    assert (tmp_path / "aleph-album" / "photo").exists()


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_DATA_HOME", "/x/aleph-sidecar"),
        ("win32", "LOCALAPPDATA", "/x/aleph-sidecar"),
        ("linux", None, "/home/u/.local/share/aleph-sidecar"),
        ("darwin", None, "/home/u/Library/Application Support/aleph-sidecar"),
        ("win32", None, "/home/u/AppData/Local/aleph-sidecar"),
    ],
)
def test_the_default_directory_is_where_the_platform_keeps_such_things(
    platform: str, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", "/home/u")
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, "/x")
    assert start.default_data_dir() == expected


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x", "y"), USAGE),
        (LocalError("x"), USAGE),
        (UnavailableError("x"), ENVIRONMENT),
        (InternalError("x"), BUG),
    ],
)
def test_exit_codes_follow_the_blame(error: LocalError, code: int) -> None:
    assert of(error) == code
