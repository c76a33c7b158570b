"""All calls of a node: who may start one, what is busy, what is bounded, what is forgotten."""

from __future__ import annotations

import pytest

from sidecar.calls import effects as f
from sidecar.calls import events as e
from sidecar.calls.reasons import mirrored, parsed
from sidecar.calls.rules import Rules
from sidecar.calls.states import FAULTS, Side, State
from sidecar.errors import Code, DeniedError, LocalError
from sidecar.schema import EndReason
from sidecar.signaling.messages import InviteBody, Kind
from sidecar.trust.names import NAME_MAX, claimed
from tests.calls_lab import (
    ALICE,
    BOB,
    CALL,
    CAROL,
    SESSION,
    T0,
    arrived,
    at,
    board,
    connected,
    initiate,
    invite,
    one,
    only,
    said,
    says,
    signal,
    state_of,
)


def hangup(call_id: str, kind: Kind = Kind.CANCEL, user_id: str = BOB, contact: bool = True) -> e.Event:
    event = says(kind, EndReason.CANCELLED)
    return arrived(signal(kind, event.signal.body, call_id=call_id), user_id=user_id, contact=contact)


# --- starting ---


@pytest.mark.parametrize(
    ("event", "error", "code"),
    [
        (initiate(user_id=ALICE), LocalError, Code.INVALID_PARAMS),
        (initiate(relation=e.Relation.BLOCKED), DeniedError, Code.POLICY_BLOCKED),
        (initiate(relation=e.Relation.UNKNOWN), LocalError, Code.INVALID_PARAMS),
        (initiate(user_id="x" * 1000, relation=e.Relation.UNKNOWN), LocalError, Code.INVALID_PARAMS),
    ],
)
def test_a_call_to_oneself_a_blocked_or_an_unknown_user_is_denied_by_code(event, error, code):
    made = board()
    with pytest.raises(error) as caught:
        made.handle(event, T0)
    assert caught.value.code is code
    assert made.active() == []
    assert made.next_deadline() is None


@pytest.mark.parametrize("user_id", [BOB, CAROL])
def test_one_call_at_a_time(user_id):
    made = at(Side.CALLER, State.INVITING)
    with pytest.raises(LocalError) as caught:
        made.handle(initiate(call_id="call_two", user_id=user_id), T0)
    assert caught.value.code is Code.CALL_WRONG_STATE
    assert caught.value.details == {"callId": CALL}


def test_a_node_that_takes_more_calls_still_has_one_for_each_pair():
    made = board(Rules(calls_max=2))
    made.handle(initiate(), T0)
    made.handle(initiate(call_id="call_two", user_id=CAROL), T0)
    assert len(made.active()) == 2
    made.handle(invite(call_id="call_three"), T0)
    assert len({session.participants[1].user_id for session in made.active()}) == 2


def test_an_ended_call_makes_room():
    made = at(Side.CALLER, State.ENDED)
    made.handle(initiate(call_id="call_two"), T0)
    assert [session.id for session in made.active()] == ["call_two"]


# --- incoming ---


def test_C05_an_invitation_while_in_a_call_is_answered_busy_shown_and_recorded():
    made = at(Side.CALLER, State.ACTIVE)
    effects = made.handle(invite(call_id="call_two", user_id=CAROL), T0)
    assert said(effects) == [("busy", "busy")]
    assert not only(effects, f.Ring)
    told = only(effects, f.Notify)
    assert [(n.call_id, n.event) for n in told] == [
        ("call_two", "aleph:callOffer"), ("call_two", "aleph:callStateChange"),
    ], "the current call is undisturbed"  # fmt: skip
    assert told[0].data.waiting
    record = one(effects, f.CallEnded).record
    assert (record.call_id, record.initiator_id, record.end_reason) == ("call_two", CAROL, EndReason.BUSY)
    assert state_of(made) is State.ACTIVE
    assert made.handle(invite(call_id="call_two", user_id=CAROL), T0) == [], "once"


def test_a_stranger_is_not_told_that_we_are_busy():
    made = at(Side.CALLER, State.ACTIVE, rules=Rules(strangers_ring=True))
    assert said(made.handle(invite(call_id="call_two", user_id=CAROL, contact=False), T0)) == []


def test_a_repeated_invitation_rings_once():
    made = board()
    assert len(only(made.handle(invite(), T0), f.Ring)) == 1
    assert made.handle(invite(), T0) == []
    assert made.handle(invite(sdp=None), T0) == [], "nor does its other form"
    made.handle(e.End(call_id=CALL), T0)
    assert made.handle(invite(), T0) == [], "nor after the end"


def test_the_same_call_id_from_somebody_else_has_no_effect():
    made = at(Side.CALLEE, State.RINGING)
    assert made.handle(invite(user_id=CAROL), T0) == []
    cancel = says(Kind.CANCEL, EndReason.CANCELLED)
    assert made.handle(arrived(cancel.signal, user_id=CAROL), T0) == []
    assert made.dropped == {"wrong-peer": 2}
    assert state_of(made) is State.RINGING


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (invite(user_id=ALICE), "own-invitation"),
        (invite(call_type="hologram"), "malformed-invitation"),
        (arrived(signal(Kind.INVITE)), "malformed-invitation"),
        (invite(late_ms=60_000), "expired"),
        (arrived(signal(Kind.ACCEPT)), "unknown-call"),
        (connected(), "unknown-call"),
    ],
)
def test_what_cannot_be_a_call_is_dropped_and_counted(event, reason):
    made = board()
    assert made.handle(event, T0) == []
    assert made.dropped == {reason: 1}
    assert made.next_deadline() is None


def test_a_hangup_that_overtakes_its_invitation_leaves_a_missed_call_and_no_ring():
    made = board()
    assert made.handle(hangup(CALL), T0) == []
    effects = made.handle(invite(), T0 + 1)
    assert not only(effects, f.Ring)
    assert said(effects) == []
    assert one(effects, f.CallEnded).record.end_reason is EndReason.CANCELLED
    assert made.active() == []


def test_somebody_elses_hangup_does_not_silence_a_call():
    made = board()
    made.handle(hangup(CALL, user_id=CAROL), T0)
    assert only(made.handle(invite(), T0), f.Ring)


def test_a_stranger_cannot_park_anything():
    made = board()
    made.handle(hangup(CALL, contact=False), T0)
    assert made.next_deadline() is None
    assert made.dropped == {"unknown-call": 1}


# --- bounds and time ---


def test_parked_hangups_are_bounded_and_expire():
    made = board()
    for n in range(9):
        made.handle(hangup(f"call_{n}"), T0)
    assert made.dropped == {"parked-full": 1}
    assert only(made.handle(invite(call_id="call_0"), T0), f.Ring), "the oldest went"
    made.handle(e.End(call_id="call_0"), T0)
    assert not only(made.handle(invite(call_id="call_1"), T0), f.Ring)

    made.handle_timer(T0 + 45)
    assert only(made.handle(invite(call_id="call_2"), T0 + 45), f.Ring)


def test_ended_calls_are_bounded():
    made = board(Rules(ended_max=3))
    for n in range(5):
        made.handle(invite(call_id=f"call_{n}"), T0)
        made.handle(e.End(call_id=f"call_{n}"), T0)
    known = [n for n in range(5) if made.session(f"call_{n}") is not None]
    assert known == [2, 3, 4]


def test_sessions_to_leave_are_bounded():
    made = board(Rules(ended_max=2))
    left = []
    for n in range(3):
        made.handle(invite(call_id=f"call_{n}"), T0)
        left += only(made.handle(e.End(call_id=f"call_{n}"), T0), f.LeaveSession)
    assert [effect.call_id for effect in left] == ["call_0"]


def test_an_ended_call_is_left_then_forgotten_and_no_timer_stays():
    made = at(Side.CALLER, State.ACTIVE)
    made.handle(e.End(call_id=CALL), T0)
    assert made.next_deadline() == T0 + 5
    assert made.handle_timer(T0 + 5) == [f.LeaveSession(call_id=CALL)]
    assert made.session(CALL) is not None
    assert made.next_deadline() == T0 + 180
    assert made.handle_timer(T0 + 180) == []
    assert made.session(CALL) is None
    assert made.next_deadline() is None


def test_a_hundred_calls_leave_nothing_behind():
    made = board()
    for n in range(100):
        made.handle(initiate(call_id=f"call_{n}"), T0 + n)
        made.handle(e.End(call_id=f"call_{n}"), T0 + n)
    made.handle_timer(T0 + 1000)
    assert (made._calls, made._live, made.next_deadline()) == ({}, {}, None)


def test_a_shutdown_ends_every_call():
    made = board(Rules(calls_max=2))
    made.handle(initiate(), T0)
    made.handle(invite(call_id="call_two", user_id=CAROL), T0)
    ended = only(made.handle(e.Shutdown(app_gone=True), T0), f.CallEnded)
    assert {effect.call_id for effect in ended} == {CALL, "call_two"}
    assert made.active() == []


def test_the_size_of_a_call_is_capped_by_the_mesh():
    made = board(Rules(participants_max=20))
    made.handle(initiate(), T0)
    assert made.session(CALL).max_participants == 8


# --- rules, names, reasons ---


@pytest.mark.parametrize(
    "bad", [{"ring_timeout_s": 14}, {"ring_timeout_s": 121}, {"calls_max": 0}, {"participants_max": 1}]
)
def test_rules_out_of_range_name_themselves(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Rules(**bad)


def test_a_claimed_name_cannot_disguise_itself():
    assert claimed("Bob\u202e\x00\nEve") == "BobEve"
    assert len(claimed("x" * 10_000)) == NAME_MAX


@pytest.mark.parametrize("reason", EndReason)
def test_what_a_peer_says_becomes_a_reason_of_ours(reason):
    expected = {
        EndReason.LOCAL_HANGUP: EndReason.REMOTE_HANGUP,
        EndReason.POLICY_DENIED: EndReason.REMOTE_HANGUP,
    }
    heard = mirrored(Kind.END, reason.value)
    if reason in FAULTS:
        assert heard is expected.get(reason, reason)
    assert heard is not EndReason.LOCAL_HANGUP
    assert mirrored(Kind.BUSY, reason.value) is EndReason.BUSY


def test_words_that_are_no_reason_mean_the_kind_of_the_signal():
    assert mirrored(Kind.END, "tired") is EndReason.REMOTE_HANGUP
    assert mirrored(Kind.CANCEL, "policy-denied") is EndReason.CANCELLED
    assert mirrored(Kind.REJECT, "") is EndReason.DECLINED
    assert parsed("nonsense", EndReason.MEDIA_FAILED) is EndReason.MEDIA_FAILED


def test_an_invitation_keeps_its_room_and_domain():
    body = InviteBody(call_type="audio", session=SESSION, display_name="B", sdp="v=0")
    sent = signal(Kind.INVITE, body)
    made = board()
    made.handle(arrived(type(sent)(**{**{n: getattr(sent, n) for n in sent.__struct_fields__},
                                      "room_id": "room", "domain_id": "domain"})), T0)  # fmt: skip
    session = made.session(CALL)
    assert (session.room_id, session.domain_id, session.type) == ("room", "domain", "audio")
