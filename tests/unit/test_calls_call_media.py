"""Devices, screens, recordings and statistics of a running call: requests to media, and what follows."""

from __future__ import annotations

import stat

import pytest

from sidecar.app.services.call_media import FINISHED_MAX
from sidecar.calls import events as e
from sidecar.errors import Code, LocalError, SidecarError, UnavailableError
from sidecar.media import messages as m
from sidecar.schema import CallType, MediaTrackKind, RecordMode
from tests.calls_fakes import Bench
from tests.calls_lab import BOB

AUDIO, VIDEO, SCREEN = MediaTrackKind.AUDIO, MediaTrackKind.VIDEO, MediaTrackKind.SCREEN


@pytest.fixture
def bench(tmp_path) -> Bench:
    made = Bench(tmp_path)
    made.media.answers = {
        m.RecordStart: {"path": "/somewhere"},
        m.RecordStop: {"path": "/somewhere", "durationMs": 1500},
        m.ListScreens: [{"id": "screen:1:0"}, {"id": "screen:2:0"}],
    }
    return made


async def dial(bench: Bench, call_type: CallType = CallType.VIDEO) -> str:
    return (await bench.calls.initiate(BOB, call_type)).id


def me(bench: Bench, call_id: str):
    return bench.board.session(call_id).participants[0]


# --- lines ---


async def test_another_camera_replaces_what_the_line_sends(bench: Bench):
    call_id = await dial(bench)
    await bench.call_media.set_device(call_id, VIDEO, "file:/x.mp4")
    (asked,) = bench.media.asked
    assert (asked.line, asked.device_id, asked.call_id) == (m.Line.CAMERA, "file:/x.mp4", call_id)
    assert me(bench, call_id).video_enabled

    await bench.call_media.set_device(call_id, VIDEO, "null:")
    assert not me(bench, call_id).video_enabled


async def test_a_device_that_is_not_there_changes_nothing(bench: Bench):
    call_id = await dial(bench, CallType.AUDIO)
    bench.media.answers[m.SetSource] = SidecarError("none", code=Code.MEDIA_NO_DEVICE)
    with pytest.raises(SidecarError, match="none"):
        await bench.call_media.set_device(call_id, VIDEO, "pulse:gone")
    assert not me(bench, call_id).video_enabled


async def test_unmuting_the_camera_of_an_audio_call_starts_it_once(bench: Bench):
    call_id = await dial(bench, CallType.AUDIO)
    await bench.call_media.mute(call_id, VIDEO, False)
    assert [(asked.line, asked.device_id) for asked in bench.media.asked] == [(m.Line.CAMERA, "pattern:")]
    assert me(bench, call_id).video_enabled
    await bench.call_media.mute(call_id, VIDEO, True)
    await bench.call_media.mute(call_id, VIDEO, False)
    assert len(bench.media.asked) == 1
    assert me(bench, call_id).video_enabled


async def test_muting_never_starts_anything(bench: Bench):
    call_id = await dial(bench, CallType.AUDIO)
    await bench.call_media.mute(call_id, VIDEO, True)
    assert bench.media.asked == []


async def test_the_first_screen_is_shared_unless_one_is_named(bench: Bench):
    call_id = await dial(bench)
    await bench.call_media.share_screen(call_id, None, {"fps": 10})
    asked = bench.media.asked[-1]
    assert (asked.line, asked.device_id, asked.options) == (m.Line.SCREEN, "screen:1:0", {"fps": 10})
    assert me(bench, call_id).screen_sharing

    await bench.call_media.share_screen(call_id, "screen:2:0", {})
    assert bench.media.asked[-1].device_id == "screen:2:0"

    await bench.call_media.stop_sharing(call_id)
    assert bench.media.asked[-1].device_id is None
    assert not me(bench, call_id).screen_sharing
    count = len(bench.media.asked)
    await bench.call_media.stop_sharing(call_id)
    assert len(bench.media.asked) == count, "nothing is shared"


async def test_without_a_screen_there_is_nothing_to_share(bench: Bench):
    call_id = await dial(bench)
    bench.media.answers[m.ListScreens] = []
    with pytest.raises(UnavailableError) as caught:
        await bench.call_media.share_screen(call_id, None, {})
    assert caught.value.code is Code.MEDIA_NO_SOURCE
    assert not me(bench, call_id).screen_sharing


async def test_a_call_that_ended_while_media_was_asked_is_left_alone(bench: Bench):
    call_id = await dial(bench)
    bench.calls.handle(e.End(call_id=call_id))
    for use in (
        bench.call_media.set_device(call_id, VIDEO, "pattern:"),
        bench.call_media.share_screen(call_id, None, {}),
        bench.call_media.stop_sharing(call_id),
        bench.call_media.stats(call_id),
        bench.call_media.record(call_id, RecordMode.MIXED),
        bench.call_media.mute(call_id, VIDEO, False),
    ):
        with pytest.raises(LocalError) as caught:
            await use
        assert caught.value.code is Code.CALL_WRONG_STATE
    assert bench.media.asked == []


async def test_statistics_come_from_media(bench: Bench):
    bench.media.answers[m.GetStats] = {"participants": []}
    assert await bench.call_media.stats(await dial(bench)) == {"participants": []}


# --- recordings ---


async def test_a_recording_gets_a_folder_of_its_own_and_is_told(bench: Bench):
    call_id = await dial(bench)
    started = await bench.call_media.record(call_id, RecordMode.TRACKS)
    (asked,) = bench.media.asked
    folder = bench.recordings / started.recording_id
    assert (asked.mode, asked.directory, asked.call_id) == ("tracks", str(folder), call_id)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert started.path == "/somewhere"
    assert bench.board.session(call_id).recording
    assert bench.hub.names()[-1] == "aleph:recording"

    stopped = await bench.call_media.stop_recording(started.recording_id)
    assert (stopped.path, stopped.duration_ms) == ("/somewhere", 1500)
    assert not bench.board.session(call_id).recording
    again = await bench.call_media.stop_recording(started.recording_id)
    assert again == stopped, "a repeated stop says the same"
    assert len(bench.media.asked) == 2


async def test_a_recorder_that_does_not_start_leaves_nothing(bench: Bench):
    call_id = await dial(bench)
    bench.media.answers[m.RecordStart] = SidecarError("full", code=Code.RESOURCE)
    with pytest.raises(SidecarError, match="full"):
        await bench.call_media.record(call_id, RecordMode.MIXED)
    assert list(bench.recordings.iterdir()) == []
    assert not bench.board.session(call_id).recording


async def test_a_folder_that_cannot_be_made_is_the_environments_fault(bench: Bench):
    bench.recordings.write_text("in the way")
    with pytest.raises(UnavailableError):
        await bench.call_media.record(await dial(bench), RecordMode.MIXED)


async def test_a_recording_that_ended_with_its_call_can_still_be_asked_for(bench: Bench):
    call_id = await dial(bench)
    started = await bench.call_media.record(call_id, RecordMode.MIXED)
    bench.calls.handle(e.End(call_id=call_id))
    ended = m.RecordingEnded(
        recording_id=started.recording_id, call_id=call_id, path="/somewhere", duration_ms=900
    )
    bench.on_media(ended)
    assert bench.hub.events[-1][1].duration_ms == 900
    assert (await bench.call_media.stop_recording(started.recording_id)).duration_ms == 900
    count = len(bench.hub.events)
    bench.on_media(ended)
    assert len(bench.hub.events) == count


async def test_a_stop_that_crosses_the_end_gets_what_the_end_said(bench: Bench):
    call_id = await dial(bench)
    started = await bench.call_media.record(call_id, RecordMode.MIXED)
    bench.media.answers[m.RecordStop] = SidecarError("no such recording", code=Code.INVALID_PARAMS)
    with pytest.raises(LocalError) as caught:
        await bench.call_media.stop_recording(started.recording_id)
    assert caught.value.code is Code.CALL_NOT_FOUND
    bench.media.answers[m.RecordStop] = SidecarError("late", code=Code.RESOURCE)
    with pytest.raises(SidecarError, match="late"):
        await bench.call_media.stop_recording(started.recording_id)


async def test_an_unknown_recording_is_an_error(bench: Bench):
    with pytest.raises(LocalError) as caught:
        await bench.call_media.stop_recording("none")
    assert caught.value.code is Code.CALL_NOT_FOUND


async def test_recordings_die_with_the_media_process(bench: Bench):
    call_id = await dial(bench)
    started = await bench.call_media.record(call_id, RecordMode.MIXED)
    bench.on_media(m.MediaLost())
    assert not bench.board.session(call_id).recording
    with pytest.raises(LocalError):
        await bench.call_media.stop_recording(started.recording_id)


async def test_finished_recordings_are_bounded(bench: Bench):
    call_id = await dial(bench)
    first = await bench.call_media.record(call_id, RecordMode.MIXED)
    await bench.call_media.stop_recording(first.recording_id)
    for _ in range(FINISHED_MAX):
        started = await bench.call_media.record(call_id, RecordMode.MIXED)
        await bench.call_media.stop_recording(started.recording_id)
    with pytest.raises(LocalError):
        await bench.call_media.stop_recording(first.recording_id)
