"""Two engines in one process, real ICE, DTLS, SRTP, VP8 and Opus over loopback."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import pytest
from msgspec import convert

from sidecar.capture.patterns import same_color
from sidecar.media.messages import (
    ApplyAnswer,
    CallClosed,
    CloseCall,
    ClosePeer,
    GetStats,
    Line,
    ListDevices,
    Liveness,
    LocalDescription,
    OpenCall,
    OpenPeer,
    PeerConnected,
    PeerFailed,
    PeerLiveness,
    PeerRef,
    RemoteState,
    Role,
    SetMuted,
    SetSource,
)
from sidecar.schema import ParticipantStats
from tests.integration.media_nodes import Node, decoded, pair, until

PEER = PeerRef(call_id="call_1", user_id="bob", gen=0)


async def test_counter_colour_and_tone_arrive_both_ways() -> None:
    async with pair() as both:
        both.open(
            alice={Line.AUDIO: "tone:523", Line.CAMERA: "pattern:color=12c040,size=320x180"},
            bob={Line.AUDIO: "tone:880", Line.CAMERA: "pattern:color=c01280,size=320x180"},
        )
        await both.connected()
        for node, color, tone in ((both.bob, "12c040", 523), (both.alice, "c01280", 880)):
            first = await node.stats_when(lambda s: decoded(frames=5)(s) and "toneHz" in s["audio"])
            later = await node.stats_when(decoded(frames=first["video"]["framesDecoded"] + 10))
            assert same_color(later["video"]["patternCode"], color)
            assert later["video"]["patternCounter"] > first["video"]["patternCounter"]
            assert (later["video"]["width"], later["video"]["height"]) == (320, 180)
            assert later["audio"]["toneHz"] == pytest.approx(tone, abs=2)
            assert later["audio"]["received"] > 0
            assert (later["path"], later["protocol"], later["loss"]) == ("host", "udp", 0.0)
            await node.stats_when(lambda s: "rttMs" in s and "mos" in s)


async def test_mute_sends_silence_and_black_and_the_peer_is_told() -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        await both.bob.event(RemoteState, lambda state: state.audio and state.video and not state.screen)
        await both.bob.stats_when(lambda s: decoded()(s) and "toneHz" in s["audio"])
        for line in (Line.AUDIO, Line.CAMERA):
            both.alice.engine.post(SetMuted(call_id="call_1", line=line, muted=True))
        await both.bob.event(RemoteState, lambda state: not state.audio and not state.video)
        await both.bob.stats_when(
            lambda s: s["audio"]["level"] < 0.001 and "patternCounter" not in s["video"]
        )
        both.alice.engine.post(SetMuted(call_id="call_1", line=Line.CAMERA, muted=False))
        stats = await both.bob.stats_when(lambda s: "patternCounter" in s["video"])
        assert (stats["video"]["width"], stats["video"]["height"]) == (320, 180)


async def test_a_call_that_starts_muted_never_sends_the_source() -> None:
    async with pair() as both:
        both.open(muted=[Line.AUDIO])
        await both.connected()
        stats = await both.bob.stats_when(lambda s: decoded(frames=10)(s) and s["audio"]["received"] > 3)
        assert stats["audio"]["level"] < 0.001
        assert not any(e.audio for e in both.bob.events if isinstance(e, RemoteState))


async def test_sharing_replaces_what_the_screen_line_sends_without_renegotiation() -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        await both.bob.stats_when(decoded())
        source = {"call_id": "call_1", "line": Line.SCREEN}
        await both.alice.request(
            SetSource, **source, device_id="pattern:color=0000ff,size=640x360,fps=15", options={}
        )
        stats = await both.bob.stats_when(decoded("screen", 5))
        assert same_color(stats["screen"]["patternCode"], "0000ff")
        await both.bob.event(RemoteState, lambda state: state.screen)
        await both.alice.request(SetSource, **source, device_id=None, options={})
        await both.bob.event(RemoteState, lambda state: not state.screen and state.video)
        descriptions = [e for e in both.alice.events if isinstance(e, LocalDescription)]
        assert len(descriptions) == 1


async def test_M12_screen_share_toggled_quickly_ends_in_the_last_state() -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        for device in [f"pattern:size=320x180,color={n:02x}4080" for n in range(0, 200, 10)] + [None] * 2:
            both.alice.engine.post(
                SetSource(request_id=0, call_id="call_1", line=Line.SCREEN, device_id=device)
            )
        await both.alice.request(
            SetSource, call_id="call_1", line=Line.SCREEN, device_id="pattern:size=320x180,color=ff2000"
        )
        stats = await both.bob.stats_when(
            lambda s: (
                decoded("screen")(s) and "patternCode" in s["screen"] and s["screen"]["framesDecoded"] > 2
            )
        )
        stats = await both.bob.stats_when(
            lambda s: same_color(s["screen"].get("patternCode", "000000"), "ff2000")
        )
        assert stats["screen"]["width"] == 320


async def test_a_device_that_is_not_there_is_refused_and_the_old_source_stays() -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        await both.bob.stats_when(decoded())
        for line, device, code in (
            (Line.CAMERA, "camera:none", "media.no-device"),
            (Line.AUDIO, "pulse:none", "media.no-device"),
            (Line.SCREEN, "window:1:0", "media.no-source"),
            (Line.CAMERA, "pattern:size=9x9", "invalid-params"),
            (Line.CAMERA, "file:../../etc/passwd", "media.no-source"),
        ):
            reply = await both.alice.reply(SetSource, call_id="call_1", line=line, device_id=device)
            assert reply.error is not None
            assert reply.error["code"] == code
        seen = (await both.bob.stats())["video"]["framesDecoded"]
        await both.bob.stats_when(decoded(frames=seen + 10))


async def test_requests_about_an_unknown_call_are_coded_errors() -> None:
    async with pair() as both:
        reply = await both.alice.reply(GetStats, call_id="nope")
        assert reply.error is not None
        assert reply.error["code"] == "call.not-found"
        both.alice.engine.post(ApplyAnswer(peer=PEER, sdp="v=0"))
        both.alice.engine.post(ClosePeer(peer=PEER))
        both.alice.engine.post(OpenPeer(peer=PEER, role=Role.OFFERER))
        failed = await both.alice.event(PeerFailed)
        assert failed.reason == "internal-error"
        devices = await both.alice.request(ListDevices)
        assert {"pattern:", "tone:440", "null:"} <= {device["deviceId"] for device in devices}


async def test_M01_a_bad_description_fails_its_own_connection_only() -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        both.bob.engine.post(OpenCall(call_id="call_2", sources={}))
        bad = PeerRef(call_id="call_2", user_id="mallory", gen=0)
        both.bob.engine.post(OpenPeer(peer=bad, role=Role.ANSWERER, remote_sdp="v=0\r\nm=audio 1 x y"))
        failed = await both.bob.event(PeerFailed, lambda e: e.peer == bad)
        assert failed.reason == "media-failed"
        assert failed.detail.startswith("bad-sdp")
        seen = (await both.bob.stats()).get("video", {}).get("framesDecoded", 0)
        await both.bob.stats_when(decoded(frames=seen + 5))


async def test_M03_a_wrong_fingerprint_ends_as_security() -> None:
    async with pair() as both:
        carry = both.alice.on_event

        def swap(event: object) -> None:
            if isinstance(event, LocalDescription):
                digest = event.sdp.split("a=fingerprint:sha-256 ")[1][:95]
                forged = event.sdp.replace(digest, ":".join(["AB"] * 32))
                event = LocalDescription(peer=event.peer, type=event.type, sdp=forged)
            carry(event)  # type: ignore[arg-type]

        both.alice.on_event = swap
        both.open()
        failed = await both.bob.event(PeerFailed)
        assert failed.reason == "security"
        assert not any(isinstance(e, PeerConnected) for e in both.bob.events)


async def test_an_end_that_nobody_announced_is_suspected_at_once_and_lost_after_silence() -> None:
    async with pair(suspect_s=0.4, reconnecting_s=0.8, lost_s=1.5) as both:
        both.open()
        await both.connected()
        await both.alice.stats_when(decoded())
        both.bob.engine.post(ClosePeer(peer=PeerRef(call_id="call_1", user_id="alice", gen=0)))
        for liveness in (Liveness.SUSPECT, Liveness.RECONNECTING, Liveness.LOST):
            await both.alice.event(PeerLiveness, lambda e, wanted=liveness: e.liveness is wanted)
        assert not any(isinstance(e, PeerFailed) for e in both.alice.events)


async def test_a_new_generation_carries_the_call_on() -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        await both.bob.stats_when(decoded())
        both.open(gen=1)
        await both.connected(gen=1)
        both.close_peers(gen=0)
        stats = await both.bob.stats_when(lambda s: decoded(frames=5)(s))
        assert stats["userId"] == "alice"
        digests = {
            e.sdp.split("sha-256 ")[1][:95] for e in both.alice.events if isinstance(e, LocalDescription)
        }
        assert len(digests) == 1


async def test_M10_a_track_that_nobody_reads_keeps_one_frame() -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        await both.bob.stats_when(decoded(frames=60))
        link = next(iter(both.bob.engine._calls["call_1"].links.values()))
        assert link.camera._decoder._queue.qsize() <= 30
        track = link._wire.receivers[Line.CAMERA].track
        assert track._queue.qsize() == 0
        assert len(link.camera._times) <= 120


async def test_an_idle_line_makes_nothing() -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        stats = await both.bob.stats_when(decoded(frames=30))
        assert "screen" not in stats
        assert both.alice.engine._calls["call_1"].lines[Line.SCREEN]._encoder._context is None


async def test_cycles_leave_tasks_threads_and_descriptors_as_they_were() -> None:
    async with pair() as both:
        baseline: tuple[int, int, int] | None = None
        for number in range(12):
            call_id = f"call_{number}"
            both.open(call_id)
            await both.connected(call_id)
            await both.bob.stats_when(decoded(), call_id=call_id)
            both.close(call_id)
            await _settled(both.alice, both.bob)
            if number == 2:
                baseline = _resources()
        assert baseline is not None
        before = baseline
        await until(lambda: all(now <= then for now, then in zip(_resources(), before, strict=True)))


async def _settled(*nodes: Node) -> None:
    await until(lambda: not any(node.engine._tasks for node in nodes))


def _resources() -> tuple[int, int, int]:
    gc.collect()
    return len(asyncio.all_tasks()), threading.active_count(), len(os.listdir("/proc/self/fd"))


async def test_closing_half_way_through_a_negotiation_is_quiet() -> None:
    async with pair() as both:
        for number in range(6):
            call_id = f"call_{number}"
            both.open(call_id)
            for _ in range(number):
                await asyncio.sleep(0)
            both.close(call_id)
        await _settled(both.alice, both.bob)
        assert not any(isinstance(e, PeerFailed) for e in both.alice.events)
        both.open("call_9")
        await both.connected("call_9")


async def test_a_call_that_is_closed_says_what_it_measured_last_of_everybody() -> None:
    async with pair() as both:
        both.open()
        await both.connected()
        await both.bob.stats_when(lambda s: decoded(frames=5)(s) and "rttMs" in s)
        both.alice.engine.post(CloseCall(call_id="call_1"))
        ours = (await both.alice.event(CallClosed)).stats["participants"]
        # the other end saw the connection close first, and its core closed it
        await both.bob.event(PeerLiveness, lambda event: event.liveness is not Liveness.ALIVE)
        both.bob.engine.post(ClosePeer(peer=PeerRef(call_id="call_1", user_id="alice", gen=0)))
        both.bob.engine.post(CloseCall(call_id="call_1"))
        theirs = (await both.bob.event(CallClosed)).stats["participants"]
        for measured, user_id in ((ours, "bob"), (theirs, "alice")):
            (stats,) = measured
            assert (stats["userId"], stats["path"], stats["protocol"]) == (user_id, "host", "udp")
            assert stats["video"]["framesDecoded"] > 0
            convert([stats], list[ParticipantStats])


async def test_a_call_that_never_connected_has_nothing_to_say_and_an_unknown_one_says_nothing() -> None:
    async with pair() as both:
        both.alice.engine.post(OpenCall(call_id="call_1", sources={}))
        both.alice.engine.post(CloseCall(call_id="call_2"))
        both.alice.engine.post(CloseCall(call_id="call_1"))
        closed = await both.alice.event(CallClosed)
        assert (closed.call_id, closed.stats) == ("call_1", {"participants": []})
