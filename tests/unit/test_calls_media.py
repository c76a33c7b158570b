"""Muting, sharing, what the peer sends, recordings and warnings: participant flags and their events."""

from __future__ import annotations

import pytest

from sidecar.calls import effects as f
from sidecar.calls import events as e
from sidecar.calls.states import Side, State
from sidecar.errors import LocalError
from sidecar.schema import EndReason, MediaTrackKind, MediaWarningCode
from tests.calls_lab import ALICE, BOB, CALL, T0, at, events_of, one, only

AUDIO, VIDEO, SCREEN = MediaTrackKind.AUDIO, MediaTrackKind.VIDEO, MediaTrackKind.SCREEN


def mute(kind: MediaTrackKind, muted: bool) -> e.Mute:
    return e.Mute(call_id=CALL, kind=kind, muted=muted)


def flags(person) -> tuple[bool, bool, bool]:
    return person.audio_enabled, person.video_enabled, person.screen_sharing


def test_muting_tells_media_and_every_front_end():
    made = at(Side.CALLER, State.ACTIVE)
    effects = made.handle(mute(VIDEO, True), T0)
    assert one(effects, f.SetMuted) == f.SetMuted(call_id=CALL, kind=VIDEO, muted=True)
    data = one(effects, f.Notify).data
    assert (data.user_id, flags(data)) == (ALICE, (True, False, False))
    assert flags(made.session(CALL).participants[0]) == (True, False, False)

    made.handle(mute(VIDEO, False), T0)
    assert flags(made.session(CALL).participants[0]) == (True, True, False)


def test_muting_while_it_rings_is_remembered_for_the_accept():
    made = at(Side.CALLEE, State.RINGING)
    assert not only(made.handle(mute(AUDIO, True), T0), f.SetMuted), "there is no media yet"
    opened = one(made.handle(e.Accept(call_id=CALL), T0), f.OpenCall)
    assert (opened.kinds, opened.muted) == ((AUDIO, VIDEO), (AUDIO,))


def test_sharing_the_screen_is_a_line_that_gets_a_source():
    made = at(Side.CALLER, State.ACTIVE)
    assert not made.sends(CALL, SCREEN)
    share = e.LineChanged(call_id=CALL, kind=SCREEN, on=True)
    assert one(made.handle(share, T0), f.Notify).data.screen_sharing
    assert made.sends(CALL, SCREEN)
    assert made.handle(share, T0) == [], "already shared"
    made.handle(e.LineChanged(call_id=CALL, kind=SCREEN, on=False), T0)
    assert not made.session(CALL).participants[0].screen_sharing


def test_a_camera_added_to_an_audio_call_stays_muted_if_it_was():
    made = at(Side.CALLER, State.ACTIVE)
    made.handle(mute(VIDEO, True), T0)
    assert made.handle(e.LineChanged(call_id=CALL, kind=VIDEO, on=True), T0) == []


def test_what_the_peer_sends_shows_in_its_flags():
    made = at(Side.CALLEE, State.CONNECTING)
    said = e.RemoteState(call_id=CALL, user_id=BOB, gen=0, audio=False, video=True, screen=True)
    data = one(made.handle(said, T0), f.Notify).data
    assert (data.user_id, flags(data)) == (BOB, (False, True, True))
    assert flags(made.session(CALL).participants[1]) == (False, True, True)
    assert made.handle(said, T0) == [], "no event without a change"


@pytest.mark.parametrize("state", [State.RINGING, State.ENDED])
def test_a_call_without_media_cannot_share_or_record(state):
    with pytest.raises(LocalError, match="cannot use media"):
        at(Side.CALLEE, state).handle(e.UseMedia(call_id=CALL), T0)


def recording(on: bool, recording_id: str = "r1") -> e.RecordingChanged:
    length = None if on else 1234
    return e.RecordingChanged(call_id=CALL, recording_id=recording_id, on=on, path="/r", duration_ms=length)


def test_recording_is_never_silent():
    made = at(Side.CALLER, State.ACTIVE)
    data = one(made.handle(recording(True), T0), f.Notify).data
    assert (data.user_id, data.recording, data.recording_id) == (ALICE, True, "r1")
    assert made.session(CALL).recording
    data = one(made.handle(recording(False), T0), f.Notify).data
    assert (data.recording, data.duration_ms) == (False, 1234)
    assert not made.session(CALL).recording


def test_two_recordings_are_counted_apart():
    made = at(Side.CALLER, State.ACTIVE)
    made.handle(recording(True), T0)
    made.handle(recording(True, "r2"), T0)
    made.handle(recording(False), T0)
    assert made.session(CALL).recording
    assert made.handle(recording(False), T0) == [], "it has already stopped"


def test_a_recording_that_ends_with_the_call_is_still_told():
    made = at(Side.CALLER, State.ACTIVE)
    made.handle(recording(True), T0)
    made.handle(e.End(call_id=CALL), T0)
    assert events_of(made.handle(recording(False), T0)) == ["aleph:recording"]
    assert not made.session(CALL).recording


def test_recordings_die_with_the_media_process():
    made = at(Side.CALLER, State.ACTIVE)
    made.handle(recording(True), T0)
    effects = made.handle(e.MediaLost(), T0)
    assert "aleph:recording" in events_of(effects)
    assert not made.session(CALL).recording
    assert one(effects, f.CallEnded).record.end_reason is EndReason.MEDIA_FAILED


def test_a_warning_is_passed_on_and_the_call_lives():
    made = at(Side.CALLER, State.ACTIVE)
    warned = e.MediaWarned(call_id=CALL, code=MediaWarningCode.SOURCE_LOST, user_id=ALICE)
    data = one(made.handle(warned, T0), f.Notify).data
    assert (data.call_id, data.code, data.user_id) == (CALL, MediaWarningCode.SOURCE_LOST, ALICE)
    assert made.active()
