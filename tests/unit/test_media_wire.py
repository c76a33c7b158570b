"""The control channel's messages and the frames between our processes."""

from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import InternalError, RemoteError
from sidecar.media.core import control, framing
from sidecar.media.messages import (
    Command,
    Configure,
    Event,
    IceServer,
    Line,
    Liveness,
    OpenCall,
    OpenPeer,
    PeerLiveness,
    PeerRef,
    Reply,
    Role,
    Shutdown,
)
from sidecar.media.record import messages as record

PEER = PeerRef(call_id="call_1", user_id="u", gen=3)


@pytest.mark.parametrize(
    "message",
    [control.Ping(n=1), control.Pong(n=2**53), control.State(audio=True, video=False, screen=True)],
)
def test_control_messages_survive_the_channel(message: control.AnyControl) -> None:
    text = control.encode(message)
    assert control.decode(text) == message
    assert control.decode(text.encode()) == message
    assert json.loads(text)["t"] in ("ping", "pong", "state")


def test_unknown_kinds_and_members_are_ignored() -> None:
    assert control.decode('{"t":"future","x":[1]}') is None
    assert control.decode('{"t":"ping","n":4,"more":true}') == control.Ping(n=4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"t":1}',
        '{"t":"ping"}',
        '{"t":"ping","n":-1}',
        '{"t":"ping","n":1.5}',
        '{"t":"ping","n":99999999999999999999}',
        '{"t":"state","audio":1,"video":true,"screen":true}',
        "[" * 900,
        '{"t":"ping","n":1}x',
        b"\xff\xfe",
        "\ud800",
    ],
)
def test_malformed_control_messages_are_the_peers_fault(text: str | bytes) -> None:
    with pytest.raises(RemoteError) as caught:
        control.decode(text)
    assert caught.value.reason == "control-malformed"


def test_M11_control_messages_are_bounded() -> None:
    with pytest.raises(RemoteError) as caught:
        control.decode('{"t":"ping","n":1,"x":"' + "y" * control.MAX_MESSAGE_BYTES + '"}')
    assert caught.value.reason == "control-too-large"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_the_peers_fault(data: bytes) -> None:
    with suppress(RemoteError):
        assert control.decode(data) is None or data.startswith(b"{")


COMMANDS: list[Command] = [
    Configure(ice_interfaces=["127.0.0.0/8"], display=":7"),
    OpenCall(call_id="c", sources={Line.AUDIO: "tone:1"}, muted=[Line.CAMERA]),
    OpenPeer(
        peer=PEER,
        role=Role.ANSWERER,
        remote_sdp="v=0",
        ice_servers=[IceServer(urls=["stun:x"])],
        relay_only=True,
    ),
    Shutdown(),
]
EVENTS: list[Event] = [
    PeerLiveness(peer=PEER, liveness=Liveness.SUSPECT),
    Reply(request_id=4, result={"participants": [{"userId": "x", "loss": 0.5}]}),
    Reply(request_id=5, error={"code": "resource", "message": "m"}),
]


@given(st.lists(st.integers(1, 50), max_size=30))
def test_frames_come_out_whole_whatever_the_chunks(cuts: list[int]) -> None:
    stream = b"".join(framing.frame(message) for message in [*COMMANDS, *COMMANDS])
    reader, bodies = framing.FrameReader(), []
    for cut in cuts:
        bodies += reader.feed(stream[:cut])
        stream = stream[cut:]
    bodies += reader.feed(stream)
    assert [framing.decode_command(body) for body in bodies] == [*COMMANDS, *COMMANDS]


def test_events_survive_the_pipe() -> None:
    reader = framing.FrameReader()
    bodies = reader.feed(b"".join(framing.frame(event) for event in EVENTS))
    assert [framing.decode_event(body) for body in bodies] == EVENTS


def test_a_stream_that_is_not_ours_is_refused_before_it_takes_memory() -> None:
    with pytest.raises(InternalError):
        framing.FrameReader().feed(b"GET / HTTP/1.1\r\n")
    with pytest.raises(InternalError):
        framing.frame(b"x" * (framing.MAX_FRAME_BYTES + 1))
    with pytest.raises(msgspec.MsgspecError):
        framing.decode_command(b"\x81\xa7message\xa5Bogus")


def test_record_messages_survive_the_pipe() -> None:
    reader = framing.FrameReader()
    sent: list[record.AnyRecord] = [
        record.Begin(mode=record.Mode.TRACKS, path="/x"),
        record.Frame(
            who="u", line=Line.CAMERA, gen=1, at_ms=2, timestamp=3, key=True, data=b"\x00\xff", own=False
        ),
        record.Finish(),
    ]
    bodies = reader.feed(b"".join(framing.frame(message) for message in sent))
    assert [record.decode(body) for body in bodies] == sent
    (body,) = reader.feed(framing.frame(record.Done(duration_ms=7)))
    assert record.decode_done(body) == record.Done(duration_ms=7)
