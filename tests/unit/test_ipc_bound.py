"""Where the bridge listens, and who may: private directories, paths, keys."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from sidecar.errors import LocalError, UnavailableError
from sidecar.ipc import bound
from sidecar.ipc.bound import CurveKeys, bind_at, bind_ipc


def keys(clients: int = 1) -> CurveKeys:
    public, secret = (key.decode() for key in zmq.curve_keypair())
    return CurveKeys(public, secret, tuple(zmq.curve_keypair()[0].decode() for _ in range(clients)))


def test_I05_the_socket_is_in_a_private_directory_that_goes_with_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = bind_ipc(str(tmp_path))
    finally:
        os.umask(old)
    path = Path(made.endpoint.removeprefix("ipc://"))
    assert path.is_socket()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.parent == tmp_path
    assert len(str(path)) < bound.MAX_PATH
    made.close()
    made.close()
    assert list(tmp_path.iterdir()) == []


def test_each_socket_has_a_directory_of_its_own(tmp_path: Path) -> None:
    first, second = bind_ipc(str(tmp_path)), bind_ipc(str(tmp_path))
    assert first.endpoint != second.endpoint
    first.close()
    assert Path(second.endpoint.removeprefix("ipc://")).exists()
    second.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_I05_another_user_cannot_reach_the_socket() -> None:
    made = bind_ipc("/tmp")
    attempt = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        "try: socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
        "except PermissionError: sys.exit(7)"
    )
    path = made.endpoint.removeprefix("ipc://")
    assert subprocess.run([sys.executable, "-c", attempt, path], check=False, timeout=30).returncode == 7
    made.close()


def test_a_place_that_is_too_deep_or_closed_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    with pytest.raises(UnavailableError, match="too long"):
        bind_ipc(str(deep))
    with pytest.raises(UnavailableError, match="No such file"):
        bind_ipc(str(tmp_path / "missing"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    monkeypatch.setenv("TMPDIR", "relative")
    made = bind_ipc()
    assert made.endpoint.startswith("ipc:///tmp/aleph-")
    made.close()


def test_I05_tcp_without_keys_has_to_be_asked_for() -> None:
    with pytest.raises(LocalError, match="CURVE"):
        bind_at("tcp://127.0.0.1:*")
    made = bind_at("tcp://127.0.0.1:*", plain_tcp=True)
    assert made.endpoint.startswith("tcp://127.0.0.1:")
    assert "*" not in made.endpoint
    made.close()


@pytest.mark.parametrize("endpoint", ["ipc:///tmp/x", "ipc://x", "inproc://x", "udp://127.0.0.1:1", ""])
def test_other_endpoints_are_refused(endpoint: str) -> None:
    with pytest.raises(LocalError, match="endpoint"):
        bind_at(endpoint, plain_tcp=True)


def test_I05_tcp_with_keys_has_its_authenticator_from_the_start() -> None:
    made = bind_at("tcp://127.0.0.1:*", keys(2))
    assert made.zap is not None
    assert {len(key) for key in made.allowed} == {32}
    assert len(made.allowed) == 2
    made.close()


@pytest.mark.parametrize("wrong", ["", "short", "x" * 41, "é" * 40, "~" * 40])
def test_I05_damaged_keys_are_refused(wrong: str) -> None:
    good = keys()
    for broken in (
        good._replace(server_public_key=wrong),
        good._replace(server_secret_key=wrong),
        good._replace(client_public_keys=(wrong,)),
    ):
        with pytest.raises(LocalError, match="curve"):
            bind_at("tcp://127.0.0.1:*", broken)


def test_I05_an_empty_list_of_clients_is_refused() -> None:
    with pytest.raises(LocalError, match="no client key"):
        bind_at("tcp://127.0.0.1:*", keys()._replace(client_public_keys=()))


def test_a_port_in_use_says_so() -> None:
    first = bind_at("tcp://127.0.0.1:*", plain_tcp=True)
    with pytest.raises(UnavailableError, match="in use"):
        bind_at(first.endpoint, plain_tcp=True)
    first.close()


def test_without_ipc_or_curve_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq, "has", lambda _: False)
    with pytest.raises(UnavailableError, match="tcp with CURVE"):
        bind_ipc()
    with pytest.raises(UnavailableError, match="no CURVE"):
        bind_at("tcp://127.0.0.1:*", keys())


def test_binding_loads_nothing_slow() -> None:
    check = (
        "import sys, sidecar.ipc.bound\n"
        "slow = {'asyncio', 'msgspec', 'msgpack', 'socket', 'ssl', 'zmq.asyncio', 'zmq.auth', 'tempfile'}\n"
        "sys.exit(', '.join(sorted(slow & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
