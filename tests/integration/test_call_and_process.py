"""What becomes of a call when a process goes: the front end, the sidecar, the one at the other end."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from sidecar.ipc.zmq_client import CallFailed, ZmqClient
from tests.integration.test_one_call import MODES, established, stats_until
from tests.sidecars import DEADLINE_S, Process, Sidecar, identity, pair, relay, sidecar

QUICK = {"suspectSeconds": 0.5, "reconnectingSeconds": 1, "lostSeconds": 2}
"""Liveness of a call that need not survive a busy minute."""


@pytest.fixture
async def gun(tmp_path: Path) -> AsyncIterator[Process]:
    async with relay(tmp_path / "relay") as process:
        yield process


def record_of(data_dir: Path, call_id: str) -> dict[str, Any]:
    """The ended call as the history keeps it."""
    with sqlite3.connect(f"file:{data_dir}/calls.db?mode=ro", uri=True) as database:
        rows = database.execute("SELECT record FROM calls WHERE call_id = ?", (call_id,)).fetchall()
    database.close()
    ((record,),) = rows
    return dict(json.loads(record))


# --- the front end goes ---------------------------------------------------------------------------------


@MODES
async def test_C17_the_end_of_stdin_ends_the_call_and_both_ends_know_why(
    tmp_path: Path, gun: Process, mode: str
) -> None:
    async with pair(tmp_path, [gun.ready["gun"]], {"media": {"process": mode}}) as (alice, bob):
        call_id = await established(alice, bob)
        assert await alice.end() == 0
        ended = await bob.event("aleph:callStateChange", callId=call_id, state="ended")
        assert ended["reason"] == "app-gone"
        assert await bob.end() == 0
    for name, reason in (("alice", "app-gone"), ("bob", "app-gone")):
        assert record_of(tmp_path / name, call_id)["endReason"] == reason


async def test_C17_the_end_of_the_parent_ends_a_recorded_call_and_leaves_no_process(
    tmp_path: Path, gun: Process
) -> None:
    """The pipe stays open, as when a brother of the sidecar holds it: the parent's pid is what tells."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE
    )
    async with pair(tmp_path, [gun.ready["gun"]], parentPid=parent.pid) as (alice, bob):
        call_id = await established(alice, bob)
        recording = await alice.call("call:record-start", callId=call_id, mode="tracks")
        await stats_until(alice, call_id, lambda peer: peer.get("video", {}).get("framesDecoded", 0) > 10)
        family = alice.children()
        parent.kill()
        await parent.wait()
        assert await alice.exit_code() == 0
        assert (await bob.event("aleph:callStateChange", callId=call_id, state="ended"))[
            "reason"
        ] == "app-gone"
        _, alive = await asyncio.to_thread(psutil.wait_procs, family, 10)
        assert alive == []
    assert record_of(tmp_path / "alice", call_id)["endReason"] == "app-gone"
    assert recording["path"].startswith(str(tmp_path / "alice" / "recordings"))


async def test_C17_a_client_that_is_killed_in_a_call_ends_nothing(tmp_path: Path, gun: Process) -> None:
    """Only the end of stdin or of the parent does; another client finds the call as it was."""
    code = (
        "import sys, zerorpc; c = zerorpc.Client(sys.argv[1]);"
        "c('system:hello', {}); s = c('call:initiate', {'userId': sys.argv[2], 'type': 'audio'});"
        "print(s['id'], flush=True); list(c('events', {}))"
    )
    async with pair(tmp_path, [gun.ready["gun"]]) as (alice, bob):
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            alice.ready["endpoint"],
            bob.me["userId"],
            stdout=asyncio.subprocess.PIPE,
        )
        assert client.stdout is not None
        call_id = (await asyncio.wait_for(client.stdout.readline(), DEADLINE_S)).decode().strip()
        await bob.event("aleph:callOffer", callId=call_id)
        await bob.call("call:accept", callId=call_id)
        await alice.event("aleph:callStateChange", callId=call_id, state="active")
        client.kill()
        await client.communicate()
        await alice.log.wait(lambda line: line.get("msg") == "client gone")
        second = ZmqClient(alice.ready["endpoint"])
        hello = await second.call("system:hello", {})
        assert [call["id"] for call in hello["calls"]] == [call_id]
        assert hello["calls"][0]["state"] == "active"
        await stats_until(alice, call_id, lambda peer: peer.get("audio", {}).get("received", 0) > 20)
        assert await second.call("call:end", {"callId": call_id}) == {"ended": True}
        second.close()
        assert (await bob.event("aleph:callStateChange", callId=call_id, state="ended"))[
            "reason"
        ] == "remote-hangup"


# --- the sidecar goes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["inviting", "ringing", "active"])
async def test_I09_sigterm_in_each_state_tells_the_other_end(
    tmp_path: Path, gun: Process, state: str
) -> None:
    async with pair(tmp_path, [gun.ready["gun"]]) as (alice, bob):
        if state == "active":
            call_id = await established(alice, bob)
            leaving, staying = alice, bob
        else:
            call_id = (await alice.call("call:initiate", userId=bob.me["userId"], type="audio"))["id"]
            await bob.event("aleph:callOffer", callId=call_id)
            leaving, staying = (alice, bob) if state == "inviting" else (bob, alice)
        leaving.process.send_signal(signal.SIGTERM)
        assert await leaving.exit_code() == 0
        ended = await staying.event("aleph:callStateChange", callId=call_id, state="ended")
        assert ended["reason"] in ("shutdown", "cancelled", "remote-hangup")
    assert record_of(tmp_path / ("bob" if state == "ringing" else "alice"), call_id)["callId"] == call_id


@MODES
async def test_a_sidecar_killed_with_9_ends_the_call_at_the_other_with_a_reason(
    tmp_path: Path, gun: Process, mode: str
) -> None:
    config = {"calls": QUICK, "media": {"process": mode}}
    async with pair(tmp_path, [gun.ready["gun"]], config) as (alice, bob):
        call_id = await established(alice, bob)
        children = alice.children()
        alice.process.kill()
        ended = await bob.event("aleph:callStateChange", callId=call_id, state="ended")
        assert ended["reason"] == "connection-lost"
        _, alive = await asyncio.to_thread(psutil.wait_procs, children, 10)
        assert alive == [], "the media child ended with its core"


async def test_a_media_child_killed_with_9_is_replaced_and_the_next_call_works(
    tmp_path: Path, gun: Process
) -> None:
    async with pair(tmp_path, [gun.ready["gun"]], {"calls": QUICK}) as (alice, bob):
        call_id = await established(alice, bob)
        (media,) = alice.children()
        media.kill()
        await alice.log.wait(lambda line: line.get("msg") == "media process died")
        await alice.healthy()
        for node in (alice, bob):
            ended = await node.event("aleph:callStateChange", callId=call_id, state="ended")
            assert ended["reason"] in ("media-failed", "connection-lost", "remote-hangup")
        again = await established(alice, bob)
        assert again != call_id
        await stats_until(bob, again, lambda peer: peer.get("video", {}).get("framesDecoded", 0) > 5)


# --- nothing is left over for another call --------------------------------------------------------------


async def test_I10_short_of_descriptors_new_calls_are_refused_and_the_old_one_goes_on(
    tmp_path: Path, gun: Process
) -> None:
    async with pair(tmp_path, [gun.ready["gun"]]) as (alice, bob):
        call_id = await established(alice, bob)
        used = max(psutil.Process(pid).num_fds() for pid in [alice.pid, *(c.pid for c in alice.children())])
        for pid in (alice.pid, *(child.pid for child in alice.children())):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 10, used + 10))
        with pytest.raises(CallFailed) as caught:
            await alice.call("call:initiate", userId=bob.me["userId"], type="audio")
        assert caught.value.code == "resource"
        assert json.loads(caught.value.details)["details"]["resource"] == "descriptors"
        before = await stats_until(alice, call_id, lambda peer: True)
        await stats_until(
            alice,
            call_id,
            lambda peer: peer["video"]["framesDecoded"] > before["video"]["framesDecoded"] + 10,
        )
        assert await alice.call("call:end", callId=call_id) == {"ended": True}


async def test_I10_short_of_memory_new_calls_are_refused_and_the_old_one_goes_on(
    tmp_path: Path, gun: Process
) -> None:
    async with pair(tmp_path, [gun.ready["gun"]]) as (alice, bob):
        call_id = await established(alice, bob)
        mapped = psutil.Process(alice.pid).memory_info().vms + 32 * 1024 * 1024
        resource.prlimit(alice.pid, resource.RLIMIT_AS, (mapped, mapped))
        with pytest.raises(CallFailed) as caught:
            await alice.call("call:initiate", userId=bob.me["userId"], type="audio")
        assert caught.value.code == "resource"
        assert json.loads(caught.value.details)["details"]["resource"] == "memory"
        assert (await alice.call("call:get", callId=call_id))["state"] == "active"
        assert await alice.call("call:end", callId=call_id) == {"ended": True}


async def test_I10_with_64_descriptors_a_call_still_works(tmp_path: Path, gun: Process) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    me = await identity(tmp_path / "bob")
    social = {"friends": [{"id": me["userId"], "displayName": "Bob", "publicKey": me["publicKey"]}]}
    config = {"social": social, "media": {"iceInterfaces": ["127.0.0.0/8"]}}
    options = {"preexec_fn": limit}
    async with sidecar(
        tmp_path / "alice", peers=[gun.ready["gun"]], config=config, process_options=options
    ) as alice:
        await alice.healthy()
        session = await alice.call("call:initiate", userId=me["userId"], type="audio")
        assert session["state"] in ("initiating", "ringing")
        assert await alice.call("call:end", callId=session["id"]) == {"ended": True}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that is easily filled; needs root."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no permission to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(file: Path) -> None:
    """Takes every byte that is left."""
    with suppress(OSError), file.open("wb") as out:
        while True:
            out.write(b"\0" * 65536)
            out.flush()


async def test_I10_a_full_disk_refuses_new_calls_and_breaks_nothing(
    tmp_path: Path, gun: Process, small_disk: Path
) -> None:
    me = await identity(tmp_path / "bob")
    social = {"friends": [{"id": me["userId"], "displayName": "Bob", "publicKey": me["publicKey"]}]}
    filler = small_disk / "filler"
    async with sidecar(small_disk / "alice", peers=[gun.ready["gun"]], config={"social": social}) as alice:
        session = await alice.call("call:initiate", userId=me["userId"], type="audio")
        fill(filler)
        with pytest.raises(CallFailed) as caught:
            await alice.call("call:initiate", userId=me["userId"], type="audio")
        assert caught.value.code == "resource"
        assert (await alice.call("call:get", callId=session["id"]))["state"] in ("initiating", "ringing")
        assert await alice.call("call:end", callId=session["id"]) == {"ended": True}
        filler.unlink()
        again = await alice.call("call:initiate", userId=me["userId"], type="audio")
        fill(filler)
        assert await alice.call("call:end", callId=again["id"]) == {"ended": True}
        assert await alice.end() == 0


# --- what the logs say ----------------------------------------------------------------------------------


@MODES
async def test_P03_the_logs_of_a_call_hold_no_sdp_candidate_key_or_user_id(
    tmp_path: Path, gun: Process, mode: str
) -> None:
    config = {"media": {"process": mode}, "logging": {"level": "info"}}
    async with pair(tmp_path, [gun.ready["gun"]], config) as (alice, bob):
        call_id = await established(alice, bob)
        await stats_until(bob, call_id, lambda peer: peer.get("video", {}).get("framesDecoded", 0) > 5)
        await alice.call("call:end", callId=call_id)
        await bob.event("aleph:callStateChange", callId=call_id, state="ended")
        await alice.end()
        await bob.end()
        secrets = secrets_of(tmp_path, alice, bob)
        for node in (alice, bob, gun):
            text = "\n".join(node.raw_log)
            assert not [secret for secret in secrets if secret in text]
            for pattern in (
                "a=candidate",
                "candidate:",
                "ice-ufrag",
                "ice-pwd",
                "v=0",
                "fingerprint:",
                "BEGIN ",
            ):
                assert pattern not in text
        assert [line for line in alice.log.entries if line.get("msg") == "signal sent"], (
            "the log is not empty"
        )


def secrets_of(folder: Path, *nodes: Sidecar) -> list[str]:
    """Every name and key of the users, in the forms they might be written in."""
    secrets: list[str] = []
    for node, name in zip(nodes, ("alice", "bob"), strict=True):
        secrets += [node.me["userId"], node.me["publicKey"], node.me["device"]]
        document = json.loads((folder / name / "identity.json").read_text())
        secrets += [document["priv"], *document["sea"].values()]
    return secrets


async def test_P03_debug_may_say_more_but_no_keys(tmp_path: Path, gun: Process) -> None:
    async with pair(tmp_path, [gun.ready["gun"]], {"logging": {"level": "debug"}}) as (alice, bob):
        call_id = await established(alice, bob, "audio")
        await alice.call("call:end", callId=call_id)
        await bob.event("aleph:callStateChange", callId=call_id, state="ended")
        secrets = secrets_of(tmp_path, alice, bob)
        for node in (alice, bob):
            assert not [secret for secret in secrets if secret in "\n".join(node.raw_log)]
