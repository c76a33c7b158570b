"""The service that runs the switchboard: performers, the timer, the fate of signals, the end."""

from __future__ import annotations

import asyncio
import inspect
import json

import pytest

from sidecar import log
from sidecar.app.services.call_effects import PERFORMERS
from sidecar.app.services.call_events import from_media
from sidecar.app.services.signaling import SignalingService
from sidecar.calls import effects as f
from sidecar.calls import events as e
from sidecar.calls.rules import Rules
from sidecar.errors import DeniedError, LocalError, UnavailableError
from sidecar.media import messages as m
from sidecar.schema import CallType, EndReason, MediaTrackKind
from sidecar.signaling.messages import Kind
from tests.calls_fakes import Bench, turn
from tests.calls_lab import BOB, CALL, OFFER, accept_answer, invite


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


def peer(call_id: str, gen: int = 0) -> m.PeerRef:
    return m.PeerRef(call_id=call_id, user_id=BOB, gen=gen)


async def dial(bench: Bench) -> str:
    """Calls Bob; the invitation has been handed to signaling."""
    session = await bench.calls.initiate(BOB, CallType.VIDEO)
    bench.on_media(m.LocalDescription(peer=peer(session.id), type="offer", sdp=OFFER))
    await turn()
    return session.id


def test_every_effect_has_exactly_one_performer():
    effects = {
        kind
        for _, kind in inspect.getmembers(f, inspect.isclass)
        if issubclass(kind, f.Effect) and kind is not f.Effect
    }
    assert set(PERFORMERS) == effects
    assert len(set(PERFORMERS.values())) == len(PERFORMERS), "and no performer has two effects"


async def test_a_call_out_reaches_media_and_signaling(bench: Bench):
    call_id = await dial(bench)
    opened, connecting = bench.media.sent
    assert opened == m.OpenCall(
        call_id=call_id, sources={m.Line.AUDIO: "tone:440", m.Line.CAMERA: "pattern:"}, muted=[]
    )
    assert connecting == m.OpenPeer(
        peer=peer(call_id), role=m.Role.OFFERER, ice_servers=[m.IceServer(urls=["stun:127.0.0.1:3478"])]
    )
    (sent,) = bench.signaling.sent
    assert (sent["kind"], sent["user_id"], sent["body"].sdp) == (Kind.INVITE, BOB, OFFER)
    assert bench.signaling.prefetched == [BOB]
    assert bench.signaling.sessions[call_id] == (sent["body"].session, BOB)
    assert bench.hub.names() == ["aleph:callStateChange"]
    assert call_id.startswith("call_")


async def test_a_call_in_rings_and_is_answered(bench: Bench):
    bench.receive(invite().signal)
    await turn()
    assert bench.hub.names() == ["aleph:callOffer", "aleph:callStateChange"]
    assert bench.signaling.kinds() == [Kind.RINGING]
    assert bench.media.sent == []

    bench.calls.handle(e.Accept(call_id=CALL))
    connecting = bench.media.sent[1]
    assert (connecting.role, connecting.remote_sdp) == (m.Role.ANSWERER, OFFER)
    bench.on_media(m.LocalDescription(peer=peer(CALL), type="answer", sdp="v=0"))
    await turn()
    assert bench.signaling.kinds() == [Kind.RINGING, Kind.ACCEPT]
    bench.on_media(m.PeerConnected(peer=peer(CALL)))
    assert bench.board.session(CALL).state == "active"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (m.Ready(), None),
        (m.Reply(request_id=1), None),
        (m.Warning(call_id="c", code="made up"), None),
        (
            m.Warning(call_id="c", code="no-media", user_id="u"),
            e.MediaWarned(call_id="c", code="no-media", user_id="u"),
        ),
        (
            m.PeerLiveness(peer=peer("c"), liveness=m.Liveness.SUSPECT),
            e.PeerLiveness(call_id="c", user_id=BOB, gen=0, level=e.Level.SUSPECT),
        ),
        (
            m.PeerLiveness(peer=peer("c", 3), liveness=m.Liveness.LOST),
            e.PeerLiveness(call_id="c", user_id=BOB, gen=3, level=e.Level.LOST),
        ),
        (
            m.PeerFailed(peer=peer("c"), reason="security", detail="x"),
            e.PeerFailed(call_id="c", user_id=BOB, gen=0, reason="security"),
        ),
        (
            m.RemoteState(peer=peer("c"), audio=True, video=False, screen=True),
            e.RemoteState(call_id="c", user_id=BOB, gen=0, audio=True, video=False, screen=True),
        ),
        (m.MediaLost(), e.MediaLost()),
    ],
)
def test_media_events_become_events_of_calls(event, expected):
    assert from_media(event) == expected


async def test_a_media_process_that_dies_ends_every_call(bench: Bench):
    call_id = await dial(bench)
    bench.on_media(m.MediaLost())
    await turn()
    assert bench.board.session(call_id).end_reason is EndReason.MEDIA_FAILED
    assert bench.signaling.kinds() == [Kind.INVITE, Kind.CANCEL]


async def test_the_timer_ends_a_call_by_itself(tmp_path):
    bench = Bench(tmp_path, Rules(prepare_timeout_s=0.02))
    await bench.calls.initiate(BOB, CallType.AUDIO)
    await asyncio.wait_for(bench.history.added.wait(), 5)
    assert [record.end_reason for record in bench.history.records] == [EndReason.MEDIA_FAILED]


async def test_an_ended_call_is_left_then_forgotten_and_the_timer_rests(bench: Bench):
    call_id = await dial(bench)
    bench.calls.handle(e.End(call_id=call_id))
    bench.later(5)
    assert bench.signaling.sessions == {}
    bench.later(180)
    assert bench.board.session(call_id) is None
    assert bench.calls._timer is None


async def test_what_becomes_of_the_invitation_comes_back(bench: Bench):
    bench.signaling.error = UnavailableError("no relay")
    call_id = await dial(bench)
    assert bench.board.session(call_id).state == "initiating", "the graph goes on trying"

    bench.calls.handle(e.End(call_id=call_id))
    bench.signaling.error = DeniedError("blocked")
    call_id = await dial(bench)
    assert bench.board.session(call_id).end_reason is EndReason.POLICY_DENIED


async def test_effects_keep_their_order_when_media_answers_at_once(bench: Bench):
    """Inline media may report while a command is being given to it."""

    def fail_at_once(command: m.Command) -> None:
        if isinstance(command, m.OpenPeer):
            bench.on_media(m.PeerFailed(peer=command.peer, reason="media-failed"))

    bench.media.on_send = fail_at_once
    session = await bench.calls.initiate(BOB, CallType.VIDEO)
    assert [type(command) for command in bench.media.sent] == [m.OpenCall, m.OpenPeer, m.CloseCall]
    states = [data.state.value for name, data in bench.hub.events if name == "aleph:callStateChange"]
    assert states == ["initiating", "failed"]
    assert session.end_reason is EndReason.MEDIA_FAILED


async def test_one_broken_performer_does_not_keep_a_call_from_ending(bench: Bench):
    call_id = await dial(bench)

    def emit(name, data):
        raise RuntimeError("a bug")

    bench.hub.emit = emit
    bench.calls.handle(e.End(call_id=call_id))
    assert isinstance(bench.media.sent[-1], m.CloseCall)
    assert len(bench.history.records) == 1


async def test_a_refused_command_performs_nothing(bench: Bench):
    with pytest.raises(LocalError):
        bench.calls.handle(e.Accept(call_id="call_unknown"))
    with pytest.raises(LocalError):
        await bench.calls.initiate("f" * 16, CallType.AUDIO)
    with pytest.raises(LocalError):
        await bench.calls.initiate(bench.board.user_id, CallType.AUDIO)
    assert (bench.media.sent, bench.signaling.sent, bench.hub.events) == ([], [], [])


async def test_C17_closing_ends_calls_says_so_and_does_not_wait_for_ever(bench: Bench):
    call_id = await dial(bench)
    bench.on_media(m.LocalDescription(peer=peer(call_id), type="offer", sdp=OFFER))
    bench.signaling.hold = asyncio.Event()  # no relay answers any more
    async with asyncio.timeout(2):
        await bench.calls.close(app_gone=True, within_s=0.05)
    assert bench.signaling.kinds()[-1] is Kind.CANCEL
    assert bench.history.records[0].end_reason is EndReason.APP_GONE
    assert isinstance(bench.media.sent[-1], m.CloseCall)

    bench.receive(invite().signal)
    assert bench.board.active() == [], "nothing rings at a node that goes away"
    with pytest.raises(UnavailableError):
        await bench.calls.initiate(BOB, CallType.AUDIO)
    assert len(asyncio.all_tasks()) == 1


async def test_closing_waits_for_relays_to_take_the_end(bench: Bench):
    await dial(bench)
    bench.signaling.hold = asyncio.Event()
    closing = asyncio.create_task(bench.calls.close(app_gone=False, within_s=30))
    await turn()
    assert not closing.done()
    bench.signaling.hold.set()
    await asyncio.wait_for(closing, 2)


async def test_a_muted_line_is_translated(bench: Bench):
    call_id = await dial(bench)
    bench.calls.handle(e.Mute(call_id=call_id, kind=MediaTrackKind.VIDEO, muted=True))
    assert bench.media.sent[-1] == m.SetMuted(call_id=call_id, line=m.Line.CAMERA, muted=True)


async def test_the_log_tells_every_state_and_no_secret(bench: Bench):
    lines: list[bytes] = []
    log.configure(lines.append, lambda: 0)
    try:
        call_id = await dial(bench)
        answer = accept_answer()
        bench.receive(type(answer.signal)(**{
            **{name: getattr(answer.signal, name) for name in answer.signal.__struct_fields__},
            "call_id": call_id,
        }))  # fmt: skip
        bench.on_media(m.PeerFailed(peer=peer(call_id), reason="media-failed", detail=OFFER))
    finally:
        log.configure(lambda line: None, lambda: 0, "off")
    states = [json.loads(line) for line in lines]
    moves = [(line["old"], line["new"]) for line in states if line["msg"] == "call state"]
    assert moves == [
        ("none", "preparing"),
        ("preparing", "inviting"),
        ("inviting", "connecting"),
        ("connecting", "ended"),
    ]
    assert states[-1]["reason"] == "media-failed"
    assert all(line["call_id"] == call_id for line in states)
    text = b"".join(lines).decode()
    assert OFFER not in text
    assert BOB not in text


async def test_fifty_calls_leave_no_task_and_no_timer(bench: Bench):
    for _ in range(50):
        call_id = await dial(bench)
        bench.calls.handle(e.End(call_id=call_id))
        await turn()
    bench.later(1000)
    assert bench.calls._timer is None
    assert len(asyncio.all_tasks()) == 1
    assert bench.board._calls == {}
    assert len(bench.history.records) == 50


async def test_a_signal_is_handed_over_as_signaling_takes_it(bench: Bench):
    await dial(bench)
    wanted = set(inspect.signature(SignalingService.send).parameters) - {"self"}
    assert set(bench.signaling.sent[0]) == wanted
