"""The life of ``aleph-sidecar ipc`` and ``relay`` as processes: their start, their end, what they leave."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import psutil
import pytest
import zmq

from sidecar import __version__
from sidecar.errors import UnavailableError
from sidecar.ids import fingerprint
from sidecar.ipc.zmq_client import CallFailed, ZmqClient
from sidecar.schema import PROTOCOL, SCHEMA_SHA256
from tests.peers import ROOT
from tests.sidecars import COMMAND, READY_S, Process, Sidecar, relay, sidecar, spawn

GONE_S = 2.0
"""DESIGN section 4: nothing of ours is left this long after the parent."""
SLACK = 5
"""A deadline in a test may be missed by a machine that does other things."""


async def started(line: bytes) -> Process:
    """A sidecar given ``line``, before anything is known about it."""
    process: Process = await spawn("ipc")
    assert process.process.stdin is not None
    process.process.stdin.write(line)
    return process


async def refusal(line: bytes) -> tuple[int, str]:
    """Exit code and problem of a sidecar that will not start; its stdout stays empty."""
    process = await started(line)
    assert process.process.stdout is not None
    assert await asyncio.wait_for(process.process.stdout.read(), READY_S) == b""
    code = await process.exit_code()
    return code, process.log.entries[-1]["problem"]


def socket_directory(node: Process) -> str:
    return os.path.dirname(str(node.ready["endpoint"]).removeprefix("ipc://"))


def exists(path: str) -> bool:
    return os.path.exists(path)


async def all_gone(processes: list[psutil.Process], *, timeout_s: float = GONE_S * SLACK) -> bool:
    loop = asyncio.get_running_loop()
    _, alive = await loop.run_in_executor(None, lambda: psutil.wait_procs(processes, timeout=timeout_s))
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


# --- starting -------------------------------------------------------------------------------------------


async def test_the_ready_line_says_where_and_stdout_is_silent_after_it(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as node:
        assert node.ready == {
            "v": 1, "ready": True, "endpoint": node.ready["endpoint"], "pid": node.pid, "protocol": PROTOCOL,
            "schema": SCHEMA_SHA256, "web": None,
        }  # fmt: skip
        await node.call("system:health")
        assert await node.end() == 0
        assert node.process.stdout is not None
        assert await node.process.stdout.read() == b""


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"not json\n", "handshake"),
        (b'{"v":7}\n', "v"),
        (b'{"v":1,"config":{"network":{"peers":[3]}}}\n', "network.peers[0]"),
        (b'{"v":1,"config":{"social":{"friends":[{"id":"x"}]}}}\n', "social.friends[0].id"),
        (b'{"v":1,"transport":"tcp"}\n', "curve"),
    ],
)
async def test_a_bad_handshake_is_exit_code_2_and_names_the_field(line: bytes, field: str) -> None:
    code, problem = await refusal(line)
    assert code == 2
    assert field in problem


async def test_no_handshake_at_all_is_exit_code_2() -> None:
    process = await started(b"")
    assert process.process.stdin is not None
    process.process.stdin.close()
    assert await process.exit_code() == 2


async def test_I08_a_second_instance_is_exit_code_3_and_the_first_goes_on(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as first:
        code, problem = await refusal(json.dumps({"v": 1, "dataDir": str(tmp_path)}).encode() + b"\n")
        assert code == 3
        assert f"process {first.pid}" in problem
        assert (await first.call("system:health"))["relays"] == []


async def test_I08_after_kill_9_the_next_start_finds_no_lock_and_removes_the_old_socket(
    tmp_path: Path,
) -> None:
    async with sidecar(tmp_path) as first:
        socket_file = first.ready["endpoint"].removeprefix("ipc://")
        await first.kill()
        assert exists(socket_file)
    async with sidecar(tmp_path) as second:
        assert not exists(os.path.dirname(socket_file))
        assert await second.end() == 0


async def test_an_identity_file_that_cannot_be_used_is_exit_code_3_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "identity.json"
    line = json.dumps({"v": 1, "dataDir": str(tmp_path / "data"), "identityFile": str(file)}).encode() + b"\n"
    for content in ("", "[]", '{"pub": 3}', "x" * 100_000):
        file.write_text(content)
        code, problem = await refusal(line)
        assert code == 3
        assert str(file) in problem
        assert file.read_text() == content
    file.unlink()
    file.mkdir()
    code, problem = await refusal(line)
    assert code == 3


async def test_a_data_directory_that_cannot_be_made_is_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, problem = await refusal(
        json.dumps({"v": 1, "dataDir": str(tmp_path / "file" / "x")}).encode() + b"\n"
    )
    assert code == 3
    assert "data directory" in problem


async def test_the_identity_is_made_once_and_is_private(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as first:
        me = first.me
        assert await first.end() == 0
    assert stat.S_IMODE((tmp_path / "identity.json").stat().st_mode) == 0o600
    async with sidecar(tmp_path) as second:
        assert second.me == me


async def test_no_relay_reachable_is_said_in_health_and_tried_again(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/gun"
    async with sidecar(tmp_path / "a", peers=[url]) as node:
        health = await node.call("system:health")
        assert health["status"] == "degraded"
        assert "graph.unreachable" in [problem["code"] for problem in health["problems"]]
        assert health["relays"] == [{"url": url, "connected": False}]
        async with relay(tmp_path / "relay", "--gun-port", str(port)):
            healed = await node.healthy()
            assert healed["relays"][0]["connected"] is True


# --- who may connect ------------------------------------------------------------------------------------


async def test_I05_the_socket_is_in_a_directory_of_ours_alone(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as node:
        directory = socket_directory(node)
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        assert await node.end() == 0
        assert not exists(directory)


async def test_I05_with_a_clients_list_a_token_is_what_opens_the_door(tmp_path: Path) -> None:
    clients = [
        {"token": "full", "permissions": ["media:screen", "network:webrtc"]},
        {"token": "poor", "permissions": []},
    ]
    async with sidecar(tmp_path, clients=clients, connect=False) as node:

        async def refused(client: ZmqClient, channel: str, params: object = None) -> str:
            with pytest.raises(CallFailed) as caught:
                await client.call(channel, params)
            return caught.value.code

        stranger, poor, full = (ZmqClient(node.ready["endpoint"]) for _ in range(3))
        assert await refused(stranger, "system:health") == "policy.permission-missing"
        assert await refused(stranger, "system:hello") == "policy.permission-missing"
        assert await refused(stranger, "system:hello", {"token": "guess"}) == "policy.permission-missing"
        await poor.call("system:hello", {"token": "poor"})
        assert await refused(poor, "media:get-screen-sources", {}) == "policy.permission-missing"
        await full.call("system:hello", {"token": "full"})
        await full.call("system:hello", {})
        assert (await full.call("system:health"))["relays"] == []
        assert await refused(stranger, "system:health") == "policy.permission-missing"
        for client in (stranger, poor, full):
            client.close()


async def test_I05_over_tcp_only_the_key_of_the_handshake_gets_in(tmp_path: Path) -> None:
    (public, secret), (other, other_secret) = (
        tuple(key.decode() for key in zmq.curve_keypair()) for _ in range(2)
    )
    async with sidecar(tmp_path, transport="tcp", curve={"clientKey": public}, connect=False) as node:
        assert node.ready["endpoint"].startswith("tcp://127.0.0.1:")
        server = node.ready["serverKey"]
        friend = ZmqClient(node.ready["endpoint"], curve=(server, public, secret))
        assert (await friend.call("system:hello", {}))["protocol"] == PROTOCOL
        stranger = ZmqClient(node.ready["endpoint"], curve=(server, other, other_secret))
        plain = ZmqClient(node.ready["endpoint"])
        for client in (stranger, plain):
            with pytest.raises((TimeoutError, UnavailableError)):
                await client.call("system:hello", {}, timeout_s=0.5)
        assert (await friend.call("system:health"))["relays"] == []
        for client in (friend, stranger, plain):
            client.close()


async def test_I06_a_newer_client_is_told_what_it_asked_wrong_and_told_the_versions(tmp_path: Path) -> None:
    async with sidecar(tmp_path, connect=False) as node:
        client = ZmqClient(node.ready["endpoint"])
        with pytest.raises(CallFailed) as caught:
            await client.call("system:hello", {"client": "next/2.0", "shinyNewMember": 1})
        assert caught.value.code == "invalid-params"
        assert "shinyNewMember" in caught.value.message
        with pytest.raises(CallFailed) as caught:
            await client.call("call:transfer", {})
        assert caught.value.code == "not-implemented"
        hello = await client.call("system:hello", {"client": "next/2.0"})
        assert (hello["protocol"], hello["schema"]) == (PROTOCOL, SCHEMA_SHA256)
        assert hello["calls"] == []
        client.close()


async def test_which_channels_are_not_implemented(tmp_path: Path) -> None:
    """The one list of what this version does not do yet."""
    from sidecar.schema import CHANNELS

    async with sidecar(tmp_path) as node:
        missing = set()
        for name in CHANNELS:
            if name in ("system:shutdown", "events"):
                continue
            try:
                await node.client.call(name, None)
            except CallFailed as error:
                if error.code == "not-implemented":
                    missing.add(name)
    assert missing == {
        "call:watch", "call:unwatch", "call:watch-frames", "call:set-volume",
        "rtc:get-ice-servers",
        "media:get-settings", "media:update-settings", "media:get-permissions",
        "system:web-url",
    }  # fmt: skip


# --- ending ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["child", "inline"])
@pytest.mark.parametrize("how", ["eof", "sigterm", "sigint", "request"])
async def test_I09_each_way_to_end_is_clean_and_leaves_nothing(tmp_path: Path, how: str, mode: str) -> None:
    async with sidecar(tmp_path, config={"media": {"process": mode}}) as node:
        await node.log.wait(lambda line: line["msg"] == "media ready")
        family = node.children()
        assert bool(family) == (mode == "child")
        if how == "request":
            assert await node.call("system:shutdown") == {"stopping": True}
            assert await node.exit_code() == 0
        elif how == "eof":
            assert await node.end() == 0
        else:
            node.process.send_signal(signal.SIGTERM if how == "sigterm" else signal.SIGINT)
            assert await node.exit_code() == 0
        assert await all_gone(family)
        assert not exists(socket_directory(node))
        assert not [line for line in node.log.entries if line.get("level") == "error"]


async def test_I09_sigterm_right_after_the_ready_line_ends_it(tmp_path: Path) -> None:
    async with sidecar(tmp_path, connect=False) as node:
        node.process.send_signal(signal.SIGTERM)
        assert await node.exit_code() in (0, -signal.SIGTERM)


async def test_I09_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    """The media child is stopped, so that the polite end cannot finish before the second signal."""
    async with sidecar(tmp_path) as node:
        await node.log.wait(lambda line: line["msg"] == "media ready")
        (media,) = node.children()
        media.suspend()
        node.process.send_signal(signal.SIGTERM)
        await node.log.wait(lambda line: line["msg"] == "shutdown begins")
        node.process.send_signal(signal.SIGTERM)
        assert await node.exit_code() == 0
        assert await all_gone([media])
        assert "shutdown forced" not in [line["msg"] for line in node.log.entries]


async def test_I09_a_stuck_child_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as node:
        await node.log.wait(lambda line: line["msg"] == "media ready")
        (media,) = node.children()
        media.suspend()
        await node.end()
        assert await all_gone([media])


PARENT = """
import json, os, subprocess, sys
pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
child = subprocess.Popen([*json.loads(sys.argv[1]), "ipc"], **pipes)
child.stdin.write(json.dumps({"v": 1, "dataDir": sys.argv[2], "parentPid": os.getpid()}).encode() + b"\\n")
child.stdin.flush()
print(child.stdout.readline().decode(), end="", flush=True)
input()
"""


@pytest.mark.parametrize("inherited", [False, True], ids=["pipe-closes", "pipe-stays-open"])
async def test_I09_kill_9_of_the_parent_leaves_no_process_of_ours(tmp_path: Path, inherited: bool) -> None:
    """Also when a brother still holds our stdin open: then the parent's pid is what tells."""
    code = PARENT
    if inherited:
        brother = "subprocess.Popen(['sleep', '60'], pass_fds=(child.stdin.fileno(),), stdout=-3, stderr=-3)"
        code = code.replace("print(", brother + "; print(")
    pipe = asyncio.subprocess.PIPE
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, json.dumps(COMMAND), str(tmp_path), stdin=pipe, stdout=pipe, cwd=ROOT
    )
    assert parent.stdout is not None
    ready = json.loads(await asyncio.wait_for(parent.stdout.readline(), READY_S))
    client = ZmqClient(ready["endpoint"])
    await client.call("media:get-devices")
    client.close()
    family = psutil.Process(parent.pid).children(recursive=True)
    ours = [process for process in family if process.name() != "sleep"]
    assert len(ours) == 2
    parent.kill()
    await parent.wait()
    try:
        assert await all_gone(ours)
    finally:
        for process in family:
            if process.is_running():
                process.kill()


async def test_I07_closed_outputs_do_not_make_it_loop_or_die(tmp_path: Path) -> None:
    """The parent closes its ends of stdout and stderr; work goes on, stdin still ends it."""
    process: Sidecar = await spawn("ipc", kind=Sidecar)
    assert process.process.stdin is not None
    process.process.stdin.write(json.dumps({"v": 1, "dataDir": str(tmp_path)}).encode() + b"\n")
    await process.first_line()
    await process.connect()
    for number in (1, 2):
        transport = process.process._transport.get_pipe_transport(number)  # type: ignore[attr-defined]
        transport.close()
    for _ in range(20):
        with pytest.raises(CallFailed):
            await process.call("call:get", callId="call_none")
    usage = psutil.Process(process.pid).cpu_times()
    await process.call("system:health")
    after = psutil.Process(process.pid).cpu_times()
    assert after.user + after.system - usage.user - usage.system < 0.5
    process.process.stdin.close()
    await asyncio.wait_for(process.process.wait(), GONE_S * SLACK)
    assert process.process.returncode == 0
    await process.kill()


async def test_I07_a_parent_that_never_reads_the_log_does_not_block_it(tmp_path: Path) -> None:
    read, write = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "ipc",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=write,
            cwd=ROOT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        line = {"v": 1, "dataDir": str(tmp_path), "config": {"logging": {"level": "debug"}}}
        process.stdin.write(json.dumps(line).encode() + b"\n")
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), READY_S))
        client = ZmqClient(ready["endpoint"])
        for _ in range(1500):
            await client.call("system:hello", {"client": "x" * 100})
        client.close()
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), READY_S) == 0
    finally:
        os.close(read)
        os.close(write)


# --- the relay ------------------------------------------------------------------------------------------


async def test_the_relay_says_what_it_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    async with relay(tmp_path) as process:
        url, pub = process.ready["gun"], process.ready["publicKey"]
        assert process.ready == {
            "v": 1, "ready": True, "pid": process.pid, "gun": url, "stun": None, "turn": None, "turns": None,
            "card": url.removesuffix("/gun") + "/.well-known/aleph-relay", "endpoint": None,
            "userId": fingerprint(pub), "publicKey": pub, "admin": None,
        }  # fmt: skip
        assert process.ready["gun"].startswith("http://127.0.0.1:")
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0


async def test_I08_a_relay_whose_port_is_in_use_is_exit_code_3(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process: Process = await spawn(
            "relay", "--host", "127.0.0.1", "--gun-port", port, "--data", str(tmp_path), "--no-turn"
        )
        assert await process.exit_code() == 3
        assert "in use" in process.log.entries[-1]["problem"]


async def test_I08_two_relays_do_not_share_a_directory(tmp_path: Path) -> None:
    async with relay(tmp_path):
        second: Process = await spawn("relay", "--gun-port", "0", "--data", str(tmp_path), "--no-turn")
        assert await second.exit_code() == 3


async def test_I09_a_relay_ends_with_the_process_it_was_told_of(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE
    )
    async with relay(tmp_path, "--parent-pid", str(parent.pid)) as process:
        parent.kill()
        await parent.wait()
        assert await process.exit_code() == 0


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["relay"], "--data"),
        (["relay", "--data", "x", "--gun-port", "70000"], "port"),
        (["node"], "invalid choice"),
        ([], "VERB"),
    ],
)
async def test_bad_usage_is_exit_code_2(args: list[str], problem: str) -> None:
    process: Process = await spawn(*args)
    assert await process.exit_code() == 2
    assert problem in "\n".join(process.raw_log)


async def test_a_relay_configuration_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"network": {"relay": {"port": "x"}}}')
    process: Process = await spawn("relay", "--data", str(tmp_path), "--config", str(file))
    assert await process.exit_code() == 2
    assert "network.relay.port" in process.log.entries[-1]["problem"]
    process = await spawn("relay", "--data", str(tmp_path), "--config", str(tmp_path / "missing"))
    assert await process.exit_code() == 3
    process = await spawn("relay", "--data", str(tmp_path), "--no-gun")
    assert await process.exit_code() == 2


async def test_the_version_is_told() -> None:
    process: Process = await spawn("--version")
    assert process.process.stdout is not None
    assert (await process.process.stdout.read()).decode().strip() == f"aleph-sidecar {__version__}"
    assert await process.exit_code() == 0
