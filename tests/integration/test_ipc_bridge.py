"""The bridge over a real socket: calls, streams, errors, clients that come and go."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest
import zmq

from sidecar.ipc.bound import CurveKeys, bind_at, bind_ipc
from sidecar.ipc.wire.limits import Limits
from sidecar.ipc.zmq_client import CallFailed, LostRemote, ZmqClient
from tests.integration.ipc_lab import RawClient, Tick, lab

DEADLINE_S = 10.0


async def failure(client: ZmqClient, channel: str, params: object = None) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await client.call(channel, params, timeout_s=DEADLINE_S)
    return caught.value


async def test_calls_answered_in_place_and_by_tasks() -> None:
    async with lab() as bridge:
        client = bridge.client()
        assert await client.call("echo", {"text": "now"}) == "now"
        assert await client.call("later", {"text": "then"}) == "then"
        assert await client.call("_zerorpc_ping") == ["pong", "aleph-sidecar"]
        client.close()


async def test_hundreds_of_calls_at_once() -> None:
    async with lab() as bridge:
        client = bridge.client()
        texts = [str(n) for n in range(400)]
        assert await asyncio.gather(*(client.call("later", {"text": text}) for text in texts)) == texts
        client.close()


async def test_what_was_sent_before_the_server_started_is_answered() -> None:
    bound = bind_ipc()
    client = ZmqClient(bound.endpoint)
    waiting = asyncio.ensure_future(client.call("echo", {"text": "early"}))
    await asyncio.sleep(0)
    async with lab(bound):
        assert await waiting == "early"
        client.close()


async def test_twenty_megabytes_come_back() -> None:
    async with lab() as bridge:
        client = bridge.client()
        assert await client.call("blob", {"size": 20_000_000}) == bytes(20_000_000)
        client.close()


async def test_streams_end_by_themselves_by_error_and_by_the_reader() -> None:
    async with lab() as bridge:
        client = bridge.client()
        assert [n async for n in client.stream("count", {"size": 5000})] == list(range(5000))
        assert [n async for n in client.stream("count", {"size": 0})] == []
        broken = client.stream("break", {"size": 300})
        assert [await anext(broken) for _ in range(300)] == list(range(300))
        with pytest.raises(CallFailed, match="internal"):
            await anext(broken)
        async with aclosing(client.stream("count", {"size": 10**9})) as items:
            async for n in items:
                if n == 500:
                    break
        for _ in range(3):
            await asyncio.wait_for(bridge.ended.get(), DEADLINE_S)
        assert bridge.server.active == 0
        client.close()


async def test_a_cancelled_call_is_cancelled_at_the_server() -> None:
    async with lab() as bridge:
        client = bridge.client()
        waiting = asyncio.ensure_future(client.call("hang"))
        await asyncio.wait_for(bridge.started.get(), DEADLINE_S)
        waiting.cancel()
        await asyncio.wait_for(bridge.ended.get(), DEADLINE_S)
        assert bridge.server.counters["channel-cancelled"] == 1
        client.close()


@pytest.mark.parametrize("kind", ["value", "timeout", "cancelled"])
async def test_I11_whatever_a_handler_raises_is_a_code_and_an_id(kind: str) -> None:
    async with lab() as bridge:
        client = bridge.client()
        error = await failure(client, "fail", {"text": kind})
        assert error.code == "internal"
        assert json.loads(error.details) == {
            "code": "internal",
            "message": "internal error e1",
            "details": {"id": "e1"},
        }
        logged = [line for line in bridge.lines if line.get("error_id") == "e1"]
        assert len(logged) == 1
        assert "Traceback" in logged[0]["traceback"]
        assert await client.call("echo", {"text": "alive"}) == "alive"
        client.close()


async def test_errors_of_ours_carry_code_message_and_details() -> None:
    async with lab() as bridge:
        client = bridge.client()
        error = await failure(client, "refuse")
        assert (error.code, error.message) == ("invalid-params", "not now")
        assert json.loads(error.details)["details"] == {"why": "test"}
        assert (await failure(client, "unserved")).code == "not-implemented"
        assert (await failure(client, "nix")).code == "not-implemented"
        assert json.loads((await failure(client, "echo", {"text": 1})).details)["details"] == {
            "field": "text"
        }
        client.close()


async def test_I01_a_request_over_1_MiB_gets_a_code_and_over_4_MiB_ends_the_connection() -> None:
    async with lab() as bridge:
        raw = RawClient(bridge.endpoint)
        raw.request("echo", [{"text": "x" * (1024 * 1024)}])
        assert await raw.code() == "too-large"
        raw.request("echo", [{"text": "x"}])
        assert (await raw.receive())[1:] == ("OK", ["x"])
        raw.request("echo", [{"text": "x" * (4 * 1024 * 1024)}])
        assert (await asyncio.wait_for(bridge.gone.get(), DEADLINE_S)).id == "c1"
        raw.request("echo", [{"text": "again"}])
        assert (await raw.receive())[1:] == ("OK", ["again"])
        raw.close()


async def test_I01_garbage_leaves_the_connection_and_others_alone() -> None:
    async with lab() as bridge:
        raw, other = RawClient(bridge.endpoint), bridge.client()
        for junk in (b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91" * 100_000, b"\x93\xa1x\xa1x\x90"):
            raw.send(junk)
        raw.socket.send_multipart([b""])
        raw.socket.send_multipart([b"a", b"b", b"c", b"d"])
        raw.socket.send_multipart([b"a", b"b"])
        raw.request("echo", [{"text": "still"}])
        assert (await raw.receive())[1:] == ("OK", ["still"])
        assert bridge.server.counters["malformed-message"] >= 5
        assert bridge.server.counters["malformed-envelope"] == 2
        assert await other.call("echo", {"text": "too"}) == "too"
        raw.close()
        other.close()


async def test_I01_a_message_without_the_empty_frame_is_served() -> None:
    async with lab() as bridge:
        raw = RawClient(bridge.endpoint)
        raw.socket.send(b"\x93\x82\xaamessage_id\xc4\x01a\xa1v\x03\xa4echo\x91\x81\xa4text\xa1y")
        assert await raw.receive() == (b"a", "OK", ["y"])
        raw.close()


async def test_clients_beyond_the_limit_are_refused_with_a_code() -> None:
    async with lab(limits=Limits(clients=1)) as bridge:
        first, second = bridge.client(), bridge.client()
        assert await first.call("echo", {"text": "a"}) == "a"
        assert (await failure(second, "echo", {"text": "b"})).code == "resource"
        first.close()
        await asyncio.wait_for(bridge.gone.get(), DEADLINE_S)
        assert await second.call("echo", {"text": "b"}) == "b"
        second.close()


async def test_a_killed_client_is_noticed_at_once_and_its_work_cancelled() -> None:
    async with lab() as bridge:
        script = (
            "import sys, zmq, msgpack\n"
            "s = zmq.Context().socket(zmq.DEALER); s.connect(sys.argv[1])\n"
            "s.send_multipart([b'', msgpack.packb([{'message_id': 'm', 'v': 3}, 'hang', [None]])])\n"
            "s.recv_multipart()"
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, bridge.endpoint)
        other = bridge.client()
        assert await other.call("echo", {"text": "a"}) == "a"
        await asyncio.wait_for(bridge.started.get(), 30)
        process.kill()
        killed = time.monotonic()
        await asyncio.wait_for(bridge.ended.get(), DEADLINE_S)
        await asyncio.wait_for(bridge.gone.get(), DEADLINE_S)
        assert time.monotonic() - killed < 1.0
        await process.wait()
        assert len(bridge.server.clients) == 1
        assert await other.call("echo", {"text": "b"}) == "b"
        other.close()


async def test_clients_that_left_before_they_were_read_are_not_kept() -> None:
    bound = bind_ipc()
    early = [RawClient(bound.endpoint) for _ in range(10)]
    for number, raw in enumerate(early):
        raw.send((b"junk", b"\x93\x81\xaamessage_id\xa1m\xa4hang\x91\xc0")[number % 2])
    for raw in early:
        raw.socket.close(10_000)
        raw.context.term()
    async with lab(bound) as bridge:
        client = bridge.client()
        assert await client.call("echo", {"text": "a"}) == "a"
        while len(bridge.server.clients) > 1:
            await asyncio.wait_for(bridge.gone.get(), DEADLINE_S)
        assert len(bridge.server.clients) == 1
        assert bridge.server.active == 0
        client.close()


async def test_clients_that_come_and_go_leave_nothing() -> None:
    async with lab() as bridge:
        process = psutil.Process()
        counts = []
        for turn in range(60):
            client = bridge.client()
            assert await client.call("later", {"text": "a"}) == "a"
            assert [n async for n in client.stream("count", {"size": 3})] == [0, 1, 2]
            client.close()
            assert (await asyncio.wait_for(bridge.gone.get(), DEADLINE_S)).id == f"c{turn + 1}"
            counts.append((process.num_fds(), process.num_threads(), len(asyncio.all_tasks())))
        # libzmq ends a context's threads and descriptors a moment later: the least of several turns counts
        for place, name in enumerate(("descriptors", "threads", "tasks")):
            early, late = (min(turn[place] for turn in part) for part in (counts[10:25], counts[-15:]))
            assert late <= early, name
        assert bridge.server.clients == []


async def test_I04_a_silent_client_loses_its_stream_and_leaves_no_task() -> None:
    async with lab(heartbeat_s=0.2) as bridge:
        raw = RawClient(bridge.endpoint)
        raw.request("hang", [None], "h")
        raw.request("events", [None], "s")
        await asyncio.wait_for(bridge.started.get(), DEADLINE_S)
        await asyncio.wait_for(bridge.ended.get(), DEADLINE_S)
        assert bridge.server.counters["channel-lost"] == 2
        raw.event("_zpc_hb", [0], "h")
        raw.request("echo", [{"text": "back"}])
        while (got := await raw.receive())[1] != "OK":
            assert got[1] in ("_zpc_hb", "STREAM")
        assert got == ("m", "OK", ["back"])
        assert bridge.server.active == 0
        assert bridge.hub.readers == 0
        raw.close()


async def test_I04_a_server_that_is_gone_is_lost_to_its_client() -> None:
    async with lab() as bridge:
        client = bridge.client(heartbeat_s=0.1)
        waiting = asyncio.ensure_future(client.call("hang"))
        await asyncio.wait_for(bridge.started.get(), DEADLINE_S)
        client._socket.close()
        with pytest.raises(LostRemote):
            await asyncio.wait_for(waiting, DEADLINE_S)
        client.close()


async def test_I03_a_client_that_comes_back_continues_where_it_was() -> None:
    async with lab() as bridge:
        first = bridge.client()
        async with aclosing(first.stream("events", {"types": ["tick"]})) as items:
            waiting = asyncio.ensure_future(anext(items))
            await asyncio.wait_for(bridge.started.get(), DEADLINE_S)
            bridge.hub.emit("tick", Tick(1))
            assert await waiting == {"seq": 1, "event": "tick", "data": {"n": 1}}
        first.close()
        await asyncio.wait_for(bridge.gone.get(), DEADLINE_S)
        bridge.hub.emit("other", Tick(2))
        bridge.hub.emit("tick", Tick(3))
        second = bridge.client()
        async with aclosing(second.stream("events", {"types": ["tick"], "since": 1})) as items:
            assert (await anext(items))["seq"] == 3
        second.close()


def socket_directory(endpoint: str) -> Path:
    return Path(endpoint.removeprefix("ipc://")).parent


async def test_stopping_tells_who_waits_and_leaves_nothing() -> None:
    async with lab() as bridge:
        client = bridge.client()
        waiting = asyncio.ensure_future(client.call("hang"))
        await asyncio.wait_for(bridge.started.get(), DEADLINE_S)
        directory = socket_directory(bridge.endpoint)
        assert directory.exists()
        await bridge.server.stop()
        with pytest.raises(CallFailed) as caught:
            await asyncio.wait_for(waiting, DEADLINE_S)
        assert caught.value.code == "resource"
        assert not directory.exists()
        client.close()


def curve_pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


async def test_I05_a_foreign_curve_key_is_refused_and_the_right_one_served() -> None:
    server, ours, foreign = curve_pair(), curve_pair(), curve_pair()
    bound = bind_at("tcp://127.0.0.1:*", CurveKeys(*server, (ours[0],)))
    async with lab(bound) as bridge:
        stranger = bridge.client(curve=(server[0], *foreign))
        knocking = asyncio.ensure_future(stranger.call("echo", {"text": "x"}, timeout_s=None))
        friend = bridge.client(curve=(server[0], *ours))
        assert await friend.call("echo", {"text": "in"}) == "in"
        await bridge.logged("foreign client refused")
        assert not knocking.done()
        assert len(bridge.server.clients) == 1
        knocking.cancel()
        await asyncio.gather(knocking, return_exceptions=True)
        stranger.close()
        friend.close()


async def test_I05_without_curve_nobody_gets_in_where_it_is_asked_for() -> None:
    server, ours = curve_pair(), curve_pair()
    bound = bind_at("tcp://127.0.0.1:*", CurveKeys(*server, (ours[0],)))
    async with lab(bound) as bridge:
        plain = bridge.client()
        knocking = asyncio.ensure_future(plain.call("echo", {"text": "x"}, timeout_s=None))
        friend = bridge.client(curve=(server[0], *ours))
        for _ in range(3):
            assert await friend.call("later", {"text": "in"}) == "in"
        assert not knocking.done()
        knocking.cancel()
        await asyncio.gather(knocking, return_exceptions=True)
        plain.close()
        friend.close()


async def test_I05_a_connection_without_a_token_gets_nothing_but_hello() -> None:
    async with lab(admitted=False) as bridge:
        client = bridge.client()
        assert (await failure(client, "echo", {"text": "x"})).code == "policy.permission-missing"
        with pytest.raises(CallFailed, match=r"policy\.permission-missing"):
            await anext(client.stream("events"))
        bridge.server.clients[0].admitted = True
        assert await client.call("echo", {"text": "x"}) == "x"
        client.close()
