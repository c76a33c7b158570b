"""Two calls of one pair: both call at once, or one calls again while the other thinks that it still talks."""

from __future__ import annotations

import pytest

from sidecar.calls import effects as f
from sidecar.calls import events as e
from sidecar.calls.rules import Rules
from sidecar.calls.states import Side, State
from sidecar.calls.switchboard import Switchboard
from sidecar.schema import CallType, EndReason, MediaTrackKind
from tests.calls_lab import (
    ALICE,
    BOB,
    CALL,
    CAROL,
    T0,
    WALL_MS,
    at,
    board,
    described,
    events_of,
    initiate,
    invite,
    one,
    only,
    said,
    shown,
    state_of,
)  # fmt: skip

THEIRS = "call_theirs"
SMALLER, GREATER = "a key", "z key"
"""Than ``peer key``, which the lab's signals are signed with."""


def with_key(key: str, **more) -> Switchboard:
    made = Switchboard(Rules(), ALICE, "Alice", public_key=key, device="our-device")
    made.handle(initiate(**more), T0)
    return made


def outgoing(key: str, state: State, **more) -> Switchboard:
    made = with_key(key, **more)
    if state is State.INVITING:
        made.handle(described("offer"), T0)
    assert state_of(made) is state
    return made


@pytest.mark.parametrize("state", [State.PREPARING, State.INVITING])
def test_C01_the_call_of_the_smaller_key_stands_and_the_other_leaves_no_trace(state: State):
    made = outgoing(SMALLER, state)
    crossing = made.handle(invite(call_id=THEIRS), T0)
    assert [type(effect) for effect in crossing] == [f.Moved], "no ring, no line in the history, no answer"
    assert [session.id for session in made.active()] == [CALL]
    assert made.handle(invite(call_id=THEIRS), T0) == [], "nor when it comes twice"


@pytest.mark.parametrize("state", [State.PREPARING, State.INVITING])
def test_C01_the_greater_key_gives_way_and_accepts_without_a_ring(state: State):
    made = outgoing(GREATER, state)
    crossing = made.handle(invite(call_id=THEIRS), T0)
    assert not only(crossing, f.Ring)
    assert one(crossing, f.CallEnded).record.end_reason is EndReason.GLARE
    assert one(crossing, f.OpenPeer).call_id == THEIRS
    assert said(crossing) == ([] if state is State.PREPARING else [("cancel", "glare")])
    assert [session.id for session in made.active()] == [THEIRS]
    assert shown(crossing) == ["ended", "connecting"]


def test_C01_the_loser_sends_no_more_than_its_own_user_asked_for():
    made = outgoing(GREATER, State.INVITING, call_type=CallType.AUDIO)
    crossing = made.handle(invite(call_id=THEIRS, call_type="video"), T0)
    opened = [effect for effect in only(crossing, f.OpenCall) if effect.call_id == THEIRS]
    assert opened[0].kinds == (MediaTrackKind.AUDIO,)


def test_C01_what_was_muted_before_stays_muted():
    made = outgoing(GREATER, State.INVITING)
    made.handle(e.Mute(call_id=CALL, kind=MediaTrackKind.AUDIO, muted=True), T0)
    crossing = made.handle(invite(call_id=THEIRS), T0)
    assert one(crossing, f.OpenCall).muted == (MediaTrackKind.AUDIO,)


def test_C01_a_stranger_that_we_are_calling_is_welcome():
    made = Switchboard(Rules(), ALICE, "Alice", public_key=GREATER)
    made.handle(initiate(relation=e.Relation.STRANGER), T0)
    crossing = made.handle(invite(call_id=THEIRS, contact=False, sdp=None), T0)
    assert "aleph:callRequest" not in events_of(crossing)
    assert [session.id for session in made.active()] == [THEIRS]


@pytest.mark.parametrize("call_id", ["call_0", "call_zzzz"])
def test_C02_the_id_has_no_influence_on_who_wins(call_id: str):
    made = outgoing(SMALLER, State.INVITING)
    made.handle(invite(call_id=call_id), T0)
    assert [session.id for session in made.active()] == [CALL]
    made = outgoing(GREATER, State.INVITING)
    made.handle(invite(call_id=call_id), T0)
    assert [session.id for session in made.active()] == [call_id]


def test_C02_the_same_id_twice_is_a_duplicate():
    made = outgoing(GREATER, State.INVITING)
    assert made.handle(invite(call_id=CALL), T0) == []
    assert state_of(made) is State.INVITING


def test_C03_an_invitation_that_crossed_and_comes_after_the_accept_changes_nothing():
    made = at(Side.CALLER, State.ACTIVE)
    late = made.handle(invite(call_id=THEIRS, issued_ms=WALL_MS - 500), T0)
    assert [type(effect) for effect in late] == [f.Moved]
    assert [session.id for session in made.active()] == [CALL]


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("state", [State.CONNECTING, State.ACTIVE, State.RECONNECTING])
def test_C04_a_recall_replaces_the_dead_call_and_rings_once(side: Side, state: State):
    made = at(side, state)
    again = made.handle(invite(call_id=THEIRS, issued_ms=WALL_MS + 9000), T0 + 9)
    assert len(only(again, f.Ring)) == 1
    assert one(again, f.CallEnded).record.end_reason is EndReason.REPLACED
    assert [session.id for session in made.active()] == [THEIRS]
    assert made.handle(invite(call_id=THEIRS, issued_ms=WALL_MS + 9000), T0 + 9) == []


def test_C04_a_second_invitation_while_the_first_rings_takes_its_place():
    made = at(Side.CALLEE, State.RINGING)
    again = made.handle(invite(call_id=THEIRS, issued_ms=WALL_MS + 4000), T0 + 4)
    assert len(only(again, f.Ring)) == 1
    assert said(again) == [("ringing", None)], "nothing is said about the first"
    assert [session.id for session in made.active()] == [THEIRS]


def test_an_invitation_with_hardly_any_time_left_does_not_ring():
    made = board()
    missed = made.handle(invite(late_ms=58_000), T0)
    assert not only(missed, f.Ring)
    assert one(missed, f.CallEnded).record.end_reason is EndReason.NO_ANSWER


# --- hold ---


def test_a_held_call_sends_nothing_and_makes_room_for_another():
    made = at(Side.CALLER, State.ACTIVE)
    held = made.handle(e.Hold(call_id=CALL), T0)
    assert {(s.kind.value, s.muted) for s in only(held, f.SetMuted)} == {
        ("audio", True), ("video", True), ("screen", True),
    }  # fmt: skip
    assert shown(held) == ["on-hold"]
    assert made.handle(e.Hold(call_id=CALL), T0) == []
    assert only(made.handle(invite(call_id="call_two", user_id=CAROL), T0), f.Ring)
    made.handle(e.Accept(call_id="call_two"), T0)
    with pytest.raises(Exception, match="another call is on"):
        made.handle(e.Resume(call_id=CALL), T0)

    made.handle(e.End(call_id="call_two"), T0)
    resumed = made.handle(e.Resume(call_id=CALL), T0)
    assert {(s.kind.value, s.muted) for s in only(resumed, f.SetMuted)} == {
        ("audio", False), ("video", False), ("screen", False),
    }  # fmt: skip
    assert shown(resumed) == ["active"]


def test_what_the_user_muted_stays_muted_after_a_hold():
    made = at(Side.CALLER, State.ACTIVE)
    made.handle(e.Hold(call_id=CALL), T0)
    muted = made.handle(e.Mute(call_id=CALL, kind=MediaTrackKind.AUDIO, muted=True), T0)
    assert not only(muted, f.SetMuted), "it is silent already"
    resumed = made.handle(e.Resume(call_id=CALL), T0)
    assert ("audio", True) in {(s.kind.value, s.muted) for s in only(resumed, f.SetMuted)}


def test_calls_on_hold_are_bounded():
    made = board(Rules(held_max=1))
    made.handle(invite(), T0)
    for event in (e.Accept(call_id=CALL), described("answer")):
        made.handle(event, T0)
    made.handle(e.PeerConnected(call_id=CALL, user_id=BOB, gen=0), T0)
    made.handle(e.Hold(call_id=CALL), T0)
    assert said(made.handle(invite(call_id="call_two", user_id=CAROL), T0)) == [("busy", "busy")]


def test_a_camera_makes_an_audio_call_a_video_call():
    made = at(Side.CALLEE, State.RINGING)
    made = board()
    made.handle(invite(call_type="audio"), T0)
    assert made.session(CALL).type is CallType.AUDIO
    made.handle(e.Accept(call_id=CALL), T0)
    made.handle(e.LineChanged(call_id=CALL, kind=MediaTrackKind.VIDEO, on=True), T0)
    assert made.session(CALL).type is CallType.VIDEO
