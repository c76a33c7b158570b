"""Where the bridge listens: private directories, stale ones, CURVE keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zmq

from sidecar.errors import UnavailableError
from sidecar.ipc import endpoint
from sidecar.ipc.endpoint import bind


def test_I05_the_socket_is_in_a_private_directory_that_goes_with_it(tmp_path: Path) -> None:
    bound = bind(str(tmp_path))
    path = Path(bound.address.removeprefix("ipc://"))
    assert path.is_socket()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.parent == tmp_path
    bound.close()
    assert not path.parent.exists()
    bound.close()


def test_what_a_killed_predecessor_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "run-0123"
    left.mkdir()
    (left / endpoint.SOCKET_NAME).touch()
    (tmp_path / "run-other").mkdir()
    (tmp_path / "run-other" / "file").touch()
    bind(str(tmp_path)).close()
    assert not left.exists()
    assert (tmp_path / "run-other" / "file").exists(), "only what is ours"


def test_a_long_data_directory_gets_its_socket_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    bound = bind(str(deep))
    assert bound.address.startswith("ipc:///tmp/run-")
    assert len(bound.address) < endpoint.MAX_PATH
    bound.close()


def test_no_place_at_all_is_an_environment_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(UnavailableError, match="no place"):
        endpoint.fresh_directory("/nowhere")


def test_I05_tcp_has_a_server_key_of_its_own_and_an_authenticator_from_the_start(tmp_path: Path) -> None:
    public, _ = zmq.curve_keypair()
    first = bind(str(tmp_path), transport="tcp", client_key=public.decode())
    second = bind(str(tmp_path), transport="tcp", client_key=public.decode())
    assert first.address.startswith("tcp://127.0.0.1:")
    assert first.zap is not None
    assert first.client_key is not None
    assert len(first.client_key) == 32
    assert first.server_key != second.server_key
    first.close()
    second.close()


def test_I05_tcp_without_a_client_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="CURVE"):
        bind(str(tmp_path), transport="tcp")


def test_a_platform_without_ipc_falls_back_to_tcp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq, "has", lambda _: False)
    with pytest.raises(UnavailableError, match="no ipc"):
        bind(str(tmp_path), transport="ipc")
    with pytest.raises(UnavailableError, match="CURVE"):
        bind(str(tmp_path))
