"""A call from the first event to the last: which effects come when, at both ends."""

from __future__ import annotations

import pytest

from sidecar.calls import effects as f
from sidecar.calls import events as e
from sidecar.calls.facts import CALLEE_GEN, CALLER_GEN, digest
from sidecar.calls.rules import Rules
from sidecar.calls.states import Side, State
from sidecar.errors import LocalError
from sidecar.schema import CallType, EndReason, MediaTrackKind, ParticipantState
from sidecar.signaling.messages import Kind
from tests.calls_lab import (
    ALICE,
    ANSWER,
    BOB,
    CALL,
    CAROL,
    OFFER,
    SESSION,
    T0,
    WALL_MS,
    accept_answer,
    accept_offer,
    answered,
    arrived,
    at,
    board,
    broken,
    connected,
    described,
    events_of,
    initiate,
    invite,
    judged,
    lost,
    offered,
    one,
    only,
    said,
    says,
    shown,
    signal,
    state_of,
)

AUDIO, VIDEO, SCREEN = MediaTrackKind.AUDIO, MediaTrackKind.VIDEO, MediaTrackKind.SCREEN
CALLER, CALLEE = Side.CALLER, Side.CALLEE


# --- between contacts ---


def test_an_outgoing_call_opens_media_and_invites_once_the_offer_is_made():
    made = board()
    begun = made.handle(initiate(), T0)
    assert [type(effect) for effect in begun] == [
        f.Moved, f.JoinSession, f.OpenCall, f.OpenPeer, f.Notify,
    ]  # fmt: skip
    assert one(begun, f.OpenCall).kinds == (AUDIO, VIDEO)
    assert one(begun, f.OpenPeer) == f.OpenPeer(call_id=CALL, user_id=BOB, gen=CALLER_GEN)
    assert shown(begun) == ["initiating"]

    sent = one(made.handle(described("offer"), T0 + 0.5), f.SendSignal)
    assert (sent.kind, sent.body.sdp, sent.body.session, sent.session) == (Kind.INVITE, OFFER, SESSION, None)
    assert sent.device is None
    assert sent.ttl_s == 59.5, "the invitation lives exactly as long as the caller rings"


def test_the_caller_shows_ringing_when_a_device_of_the_callee_says_so():
    made = at(CALLER, State.INVITING)
    assert made.handle(e.SignalDelivered(call_id=CALL, kind=Kind.INVITE), T0) == []
    assert made.handle(arrived(signal(Kind.RECEIPT)), T0) == []
    assert made.session(CALL).state == "initiating", "a receipt is no alert"

    rung = made.handle(arrived(signal(Kind.RINGING)), T0)
    assert shown(rung) == ["ringing"]
    assert one(rung, f.Notify).data.participant.state is ParticipantState.RINGING


def test_an_accept_connects_the_caller():
    made = at(CALLER, State.ALERTING)
    taken = made.handle(accept_answer(), T0)
    applied = f.ApplyAnswer(call_id=CALL, user_id=BOB, gen=CALLER_GEN, sdp=ANSWER)
    assert one(taken, f.ApplyAnswer) == applied
    assert shown(taken) == ["connecting"]

    up = made.handle(connected(), T0 + 2)
    assert events_of(up) == ["aleph:participantJoined", "aleph:callStateChange"]
    session = made.session(CALL)
    assert (session.state, session.created_at, session.started_at) == ("active", WALL_MS, WALL_MS + 2000)
    assert [p.state.value for p in session.participants] == ["connected", "connected"]


def test_an_incoming_call_rings_once_and_says_so():
    made = board()
    rung = made.handle(invite(), T0)
    assert said(rung) == [("ringing", None)]
    assert {s.device for s in only(rung, f.SendSignal)} == {"peer-device"}
    assert {s.session for s in only(rung, f.SendSignal)} == {SESSION}
    assert one(rung, f.JoinSession).session == SESSION
    offer = one(rung, f.Ring).offer
    assert (offer.from_user_id, offer.from_display_name, offer.type) == (BOB, "Peer", CallType.VIDEO)
    assert (offer.timestamp, offer.verified) == (WALL_MS, True)
    assert shown(rung) == ["ringing"]
    assert not only(rung, f.OpenCall), "no capture before the user accepts"
    assert not only(rung, f.OpenPeer), "no candidates are gathered or tried before the user accepts"


def test_a_claimed_name_is_cut_and_marked():
    made = board()
    offer = one(made.handle(invite(name=None), T0), f.Ring).offer
    assert (offer.from_display_name, offer.verified) == ("Claim", False)


def test_accepting_answers_the_offer_of_the_invitation():
    made = at(CALLEE, State.RINGING)
    taken = made.handle(e.Accept(call_id=CALL), T0)
    assert one(taken, f.OpenCall).kinds == (AUDIO, VIDEO)
    opened = f.OpenPeer(call_id=CALL, user_id=BOB, gen=CALLER_GEN, remote_sdp=OFFER)
    assert one(taken, f.OpenPeer) == opened
    assert shown(taken) == ["connecting"]

    sent = one(made.handle(described("answer"), T0), f.SendSignal)
    assert (sent.kind, sent.gen, sent.device) == (Kind.ACCEPT, CALLER_GEN, "peer-device")
    assert (sent.body.sdp, sent.body.sdp_type, sent.body.offer_digest) == (ANSWER, "answer", digest(OFFER))
    assert shown(made.handle(connected(), T0)) == ["active"]


def test_an_audio_call_opens_the_microphone_only():
    made = board()
    assert one(made.handle(initiate(call_type=CallType.AUDIO), T0), f.OpenCall).kinds == (AUDIO,)
    me, peer = made.session(CALL).participants
    assert (me.audio_enabled, me.video_enabled, peer.video_enabled) == (True, False, False)


def test_a_line_without_a_device_stays_empty():
    made = board(Rules(devices=frozenset({AUDIO})))
    assert one(made.handle(initiate(), T0), f.OpenCall).kinds == (AUDIO,)
    assert not made.session(CALL).participants[0].video_enabled


def test_listening_only_opens_nothing():
    made = at(CALLEE, State.RINGING)
    assert one(made.handle(e.Accept(call_id=CALL, listen_only=True), T0), f.OpenCall).kinds == ()
    assert not made.session(CALL).participants[0].audio_enabled


# --- strangers ---


def test_a_stranger_is_invited_without_sdp_and_answered_after_the_accept():
    made = board()
    begun = made.handle(initiate(relation=e.Relation.STRANGER), T0)
    assert one(begun, f.SendSignal).body.sdp is None
    assert not only(begun, f.OpenPeer), "no candidates before the accept"

    taken = made.handle(accept_offer(), T0)
    assert one(taken, f.OpenPeer).remote_sdp == "v=0 callee's offer"
    assert not only(taken, f.ClosePeer)
    assert state_of(made) is State.ANSWERING

    sent = one(made.handle(described("answer", gen=CALLEE_GEN), T0), f.SendSignal)
    assert (sent.kind, sent.gen, sent.body.offer_digest) == (
        Kind.ANSWER,
        CALLEE_GEN,
        digest("v=0 callee's offer"),
    )
    made.handle(connected(gen=CALLEE_GEN), T0)
    assert state_of(made) is State.ACTIVE


def test_a_caller_with_its_own_offer_closes_it_when_the_accept_brings_another():
    taken = at(CALLER, State.ALERTING).handle(accept_offer(), T0)
    assert one(taken, f.ClosePeer).gen == CALLER_GEN
    assert one(taken, f.OpenPeer).gen == CALLEE_GEN


def test_a_stranger_does_not_ring_by_default():
    made = board()
    shown = made.handle(invite(contact=False, name=None), T0)
    assert events_of(shown) == ["aleph:callRequest"]
    request = one(shown, f.Notify).data
    assert (request.from_user_id, request.from_display_name, request.verified) == (BOB, "Claim", False)
    assert not only(shown, f.Ring)
    assert said(shown) == []
    assert made.active() == []

    taken = made.handle(e.Accept(call_id=CALL), T0 + 5)
    assert one(taken, f.OpenPeer).remote_sdp is None, "the callee offers to a stranger"
    assert [session.id for session in made.active()] == [CALL]


def test_requests_are_bounded_end_by_themselves_and_stand_in_nobodys_way():
    made = board(Rules(requests_max=2))
    for index in range(4):
        made.handle(invite(call_id=f"call_{index}", user_id=f"{index:016x}", contact=False), T0)
    assert made.dropped == {"too-many-requests": 2}
    assert only(made.handle(invite(call_id="call_friend", user_id=CAROL), T0), f.Ring)
    ended = made.handle_timer(T0 + 60)
    assert {effect.record.end_reason for effect in only(ended, f.CallEnded)} == {EndReason.NO_ANSWER}
    assert said(ended) == []


def test_strangers_that_may_ring_share_one_bucket():
    made = board(Rules(strangers_ring=True, calls_max=99))
    rings = 0
    for index in range(8):
        call_id = f"call_{index}"
        rings += len(
            only(made.handle(invite(call_id=call_id, user_id=f"{index:016x}", contact=False), T0), f.Ring)
        )
    assert rings == 3


def test_a_stranger_that_may_ring_learns_nothing_before_the_user_acts():
    made = board(Rules(strangers_ring=True))
    rung = made.handle(invite(contact=False, sdp=OFFER), T0)
    assert len(only(rung, f.Ring)) == 1
    assert said(rung) == []
    assert said(made.handle(e.Shutdown(app_gone=True), T0)) == [], "nobody has acted"


def test_the_callee_offers_when_the_invitation_has_no_sdp():
    made = board(Rules(strangers_ring=True))
    made.handle(invite(contact=False, sdp=OFFER), T0)  # a stranger's SDP is not used
    opened = one(made.handle(e.Accept(call_id=CALL), T0), f.OpenPeer)
    assert (opened.gen, opened.remote_sdp) == (CALLEE_GEN, None)

    sent = one(made.handle(described("offer", gen=CALLEE_GEN, sdp="mine"), T0), f.SendSignal)
    assert (sent.body.sdp_type, sent.body.offer_digest, sent.gen) == ("offer", None, CALLEE_GEN)
    applied = made.handle(answered("mine"), T0)
    assert one(applied, f.ApplyAnswer).sdp == ANSWER
    assert made.handle(answered("mine"), T0) == [], "no answer is applied twice"
    assert made.dropped == {"out-of-place": 1}


# --- ends ---

ENDS = [
    (CALLER, State.PREPARING, e.End(call_id=CALL), EndReason.CANCELLED, []),
    (CALLER, State.INVITING, e.End(call_id=CALL), EndReason.CANCELLED, [("cancel", "cancelled")]),
    (CALLER, State.ALERTING, e.End(call_id=CALL), EndReason.CANCELLED, [("cancel", "cancelled")]),
    (CALLER, State.CONNECTING, e.End(call_id=CALL), EndReason.LOCAL_HANGUP, [("end", "local-hangup")]),
    (CALLER, State.ACTIVE, e.End(call_id=CALL), EndReason.LOCAL_HANGUP, [("end", "local-hangup")]),
    (CALLEE, State.RINGING, e.End(call_id=CALL), EndReason.DECLINED, [("reject", "declined")]),
    (CALLEE, State.RINGING, e.Reject(call_id=CALL), EndReason.DECLINED, [("reject", "declined")]),
    (CALLEE, State.ANSWERING, e.End(call_id=CALL), EndReason.LOCAL_HANGUP, [("end", "local-hangup")]),
    (CALLEE, State.ACTIVE, e.End(call_id=CALL), EndReason.LOCAL_HANGUP, [("end", "local-hangup")]),
    (CALLER, State.ALERTING, says(Kind.REJECT, EndReason.DECLINED), EndReason.DECLINED, []),
    (CALLER, State.INVITING, says(Kind.BUSY, EndReason.BUSY), EndReason.BUSY, []),
    (CALLEE, State.RINGING, says(Kind.CANCEL, EndReason.CANCELLED), EndReason.CANCELLED, []),
    (CALLEE, State.RINGING, says(Kind.CANCEL, EndReason.NO_ANSWER), EndReason.NO_ANSWER, []),
    (CALLEE, State.CONNECTING, says(Kind.CANCEL, EndReason.CANCELLED), EndReason.CANCELLED, []),
    (CALLER, State.ACTIVE, says(Kind.END, EndReason.LOCAL_HANGUP), EndReason.REMOTE_HANGUP, []),
    (CALLEE, State.ACTIVE, says(Kind.END, EndReason.CONNECTION_LOST), EndReason.CONNECTION_LOST, []),
    (CALLEE, State.BROKEN, says(Kind.END, EndReason.LOCAL_HANGUP), EndReason.REMOTE_HANGUP, []),
    (CALLEE, State.RECONNECTING, says(Kind.END, EndReason.LOCAL_HANGUP), EndReason.REMOTE_HANGUP, []),
    (CALLEE, State.RECONNECTING, e.End(call_id=CALL), EndReason.LOCAL_HANGUP, [("end", "local-hangup")]),
    (CALLEE, State.ACTIVE, says(Kind.END, EndReason.APP_GONE), EndReason.APP_GONE, []),
    (CALLER, State.ACTIVE, e.MediaLost(), EndReason.MEDIA_FAILED, [("end", "media-failed")]),
    (CALLER, State.PREPARING, e.MediaLost(), EndReason.MEDIA_FAILED, []),
    (CALLER, State.INVITING, e.MediaLost(), EndReason.MEDIA_FAILED, [("cancel", "media-failed")]),
    (CALLER, State.ACTIVE, lost(), EndReason.CONNECTION_LOST, [("end", "connection-lost")]),
    (CALLER, State.CONNECTING, lost(), EndReason.CONNECT_FAILED, [("end", "connect-failed")]),
    (CALLEE, State.CONNECTING, broken(EndReason.SECURITY), EndReason.SECURITY, [("end", "security")]),
    (CALLER, State.ACTIVE, e.Shutdown(app_gone=True), EndReason.APP_GONE, [("end", "app-gone")]),
    (CALLER, State.ALERTING, e.Shutdown(app_gone=False), EndReason.SHUTDOWN, [("cancel", "shutdown")]),
    (CALLEE, State.RINGING, e.Shutdown(app_gone=True), EndReason.APP_GONE, [("reject", "app-gone")]),
]


@pytest.mark.parametrize(("side", "state", "event", "reason", "farewell"), ENDS)
def test_every_end_has_its_reason_and_tells_the_peer_once(side, state, event, reason, farewell):
    made = at(side, state)
    was_open = state is not State.RINGING
    effects = made.handle(event, T0 + 5)

    assert said(effects) == farewell
    assert len(only(effects, f.CloseCall)) == int(was_open)
    moved = one(effects, f.Moved)
    assert (moved.old, moved.new, moved.reason) == (state.value, "ended", reason.value)
    record = one(effects, f.CallEnded).record
    assert (record.end_reason, record.ended_at) == (reason, WALL_MS + 5000)
    assert record.direction.value == ("outgoing" if side is CALLER else "incoming")
    assert record.initiator_id == (ALICE if side is CALLER else BOB)
    session = made.session(CALL)
    assert (session.end_reason, session.ended_at) == (reason, record.ended_at)
    assert made.active() == []
    started = state in (State.ACTIVE, State.RECONNECTING)
    assert ("aleph:participantLeft" in events_of(effects)) == started


@pytest.mark.parametrize(
    ("side", "state", "event", "public"),
    [
        (CALLER, State.ACTIVE, lost(), "ended"),
        (CALLER, State.CONNECTING, lost(), "failed"),
        (CALLER, State.PREPARING, e.MediaLost(), "failed"),
        (CALLER, State.ALERTING, says(Kind.REJECT, EndReason.DECLINED), "ended"),
        (CALLER, State.CONNECTING, e.End(call_id=CALL), "ended"),
    ],
)
def test_failed_is_a_call_that_a_fault_kept_from_ever_becoming_active(side, state, event, public):
    made = at(side, state)
    assert shown(made.handle(event, T0)) == [public]
    assert made.session(CALL).state == public


def test_a_decline_shows_at_the_callee_and_carries_the_users_words():
    caller = at(CALLER, State.ALERTING)
    callee = at(CALLEE, State.RINGING)
    sent = one(callee.handle(e.Reject(call_id=CALL, detail="in a meeting" + "!" * 999), T0), f.SendSignal)
    assert len(sent.body.detail) == 256
    told = caller.handle(arrived(signal(Kind.REJECT, sent.body)), T0)
    assert one(told, f.Moved).detail.startswith("in a meeting")
    assert [p.state.value for p in caller.session(CALL).participants] == ["disconnected", "declined"]
    assert [p.state.value for p in callee.session(CALL).participants] == ["declined", "disconnected"]


# --- deadlines ---


@pytest.mark.parametrize(
    ("side", "state", "after_s", "reason", "farewell"),
    [
        (CALLER, State.PREPARING, 15, EndReason.MEDIA_FAILED, []),
        (CALLER, State.INVITING, 60, EndReason.UNREACHABLE, [("cancel", "unreachable")]),
        (CALLER, State.ALERTING, 60, EndReason.NO_ANSWER, [("cancel", "no-answer")]),
        (CALLEE, State.RINGING, 60, EndReason.NO_ANSWER, []),
        (CALLEE, State.ANSWERING, 15, EndReason.MEDIA_FAILED, [("end", "media-failed")]),
        (CALLEE, State.CONNECTING, 15, EndReason.CONNECT_FAILED, [("end", "connect-failed")]),
        (CALLER, State.CONNECTING, 15, EndReason.CONNECT_FAILED, [("end", "connect-failed")]),
        (CALLER, State.BROKEN, 3, EndReason.CONNECT_FAILED, [("end", "connect-failed")]),
    ],
)
def test_every_deadline_ends_the_call_for_its_reason(side, state, after_s, reason, farewell):
    made = at(side, state)
    assert made.next_deadline() == T0 + after_s
    assert made.handle_timer(T0 + after_s - 0.001) == []
    effects = made.handle_timer(T0 + after_s)
    assert one(effects, f.CallEnded).record.end_reason is reason
    assert said(effects) == farewell


def test_an_invitation_that_a_relay_took_ends_as_no_answer():
    made = at(CALLER, State.INVITING)
    made.handle(e.SignalDelivered(call_id=CALL, kind=Kind.INVITE), T0)
    assert one(made.handle_timer(T0 + 60), f.CallEnded).record.end_reason is EndReason.NO_ANSWER


def test_an_invitation_that_no_relay_takes_is_tried_until_the_ring_timeout():
    made = at(CALLER, State.INVITING)
    assert made.handle(e.SignalUndeliverable(call_id=CALL, kind=Kind.INVITE, retrying=True), T0) == []
    assert state_of(made) is State.INVITING
    assert made.next_deadline() == T0 + 60


@pytest.mark.parametrize(("denied", "reason"), [(True, "policy-denied"), (False, "unreachable")])
def test_an_invitation_that_cannot_be_sent_at_all_ends_the_call_at_once(denied, reason):
    made = at(CALLER, State.INVITING)
    gone = e.SignalUndeliverable(call_id=CALL, kind=Kind.INVITE, retrying=False, denied=denied)
    effects = made.handle(gone, T0)
    assert one(effects, f.CallEnded).record.end_reason == reason
    assert said(effects) == []


def test_the_callee_rings_no_longer_than_the_invitation_lives():
    made = board()
    made.handle(invite(late_ms=20_000), T0)
    assert made.next_deadline() == T0 + 40


def test_the_connect_timeout_counts_from_the_accept():
    made = at(CALLEE, State.ANSWERING)
    made.handle(described("answer"), T0 + 5)
    assert made.next_deadline() == T0 + 15


def test_an_active_call_has_no_deadline():
    assert at(CALLER, State.ACTIVE).next_deadline() is None


def test_a_path_that_breaks_waits_for_the_hangup_that_explains_it():
    made = at(CALLER, State.ACTIVE)
    assert shown(made.handle(broken(), T0)) == []
    assert made.session(CALL).state == "active"
    ended = made.handle(says(Kind.END, EndReason.LOCAL_HANGUP), T0 + 1)
    assert one(ended, f.CallEnded).record.end_reason is EndReason.REMOTE_HANGUP


# --- faults of the catalogue ---


def test_C13_a_lost_hangup_is_made_up_for_by_liveness():
    here, there = at(CALLER, State.ACTIVE), at(CALLEE, State.ACTIVE)
    here.handle(e.End(call_id=CALL), T0)  # its signal is lost
    there.handle(judged(e.Level.SUSPECT), T0 + 2.5)
    assert state_of(there) is State.ACTIVE, "a suspicion ends nothing"
    ended = there.handle(lost(), T0 + 30)
    assert one(ended, f.CallEnded).record.end_reason is EndReason.CONNECTION_LOST


def test_C14_a_repeated_accept_end_or_mute_changes_nothing_more():
    made = at(CALLEE, State.RINGING)
    assert made.handle(e.Accept(call_id=CALL), T0)
    first = made.session(CALL)
    assert made.handle(e.Accept(call_id=CALL), T0) == []
    assert made.session(CALL) == first

    mute = e.Mute(call_id=CALL, kind=AUDIO, muted=True)
    assert len(only(made.handle(mute, T0), f.SetMuted)) == 1
    assert made.handle(mute, T0) == []

    assert made.handle(e.End(call_id=CALL), T0)
    ended = made.session(CALL)
    assert made.handle(e.End(call_id=CALL), T0 + 1) == []
    assert made.session(CALL) == ended
    assert made.handle(e.Reject(call_id=CALL), T0 + 1) == []


def test_C15_an_accept_for_an_unknown_or_ended_call_is_a_typed_error_and_no_state():
    made = at(CALLEE, State.ENDED)
    with pytest.raises(LocalError) as ended:
        made.handle(e.Accept(call_id=CALL), T0)
    assert (ended.value.code, ended.value.details["state"]) == ("call.wrong-state", "ended")
    with pytest.raises(LocalError) as unknown:
        made.handle(e.Accept(call_id="call_other"), T0)
    assert unknown.value.code == "call.not-found"
    assert made.session("call_other") is None


@pytest.mark.parametrize(("app_gone", "reason"), [(True, "app-gone"), (False, "shutdown")])
def test_C17_a_node_that_goes_away_ends_its_calls_says_so_and_records_them(app_gone, reason):
    made = at(CALLER, State.ACTIVE)
    effects = made.handle(e.Shutdown(app_gone=app_gone), T0)
    assert said(effects) == [("end", reason)]
    assert one(effects, f.CallEnded).record.end_reason == reason


# --- crossings ---


def test_an_accept_that_crossed_the_cancel_gets_the_cancel_again():
    made = at(CALLER, State.ALERTING)
    made.handle(e.End(call_id=CALL), T0)
    again = made.handle(accept_answer(device="slow"), T0 + 1)
    assert said(again) == [("cancel", "cancelled")]
    assert one(again, f.SendSignal).device == "slow"
    for _ in range(10):
        made.handle(accept_answer(device="slow"), T0 + 1)
    assert made.handle(accept_answer(), T0 + 1) == [], "and not for ever"


def test_a_call_that_the_peer_ended_has_nothing_to_repeat():
    made = at(CALLER, State.ACTIVE)
    made.handle(says(Kind.END, EndReason.LOCAL_HANGUP), T0)
    assert made.handle(accept_answer(), T0) == []


def test_a_peer_that_tries_to_reconnect_hears_again_that_the_call_is_over():
    made = at(CALLEE, State.ACTIVE)
    made.handle(e.End(call_id=CALL), T0)  # its signal is lost
    assert said(made.handle(offered(), T0 + 2)) == [("end", "local-hangup")]


def test_another_device_cannot_speak_for_the_one_that_accepted():
    made = at(CALLER, State.ACTIVE)
    hangup = says(Kind.END, EndReason.LOCAL_HANGUP, device="other")
    assert made.handle(hangup, T0) == []
    assert state_of(made) is State.ACTIVE


@pytest.mark.parametrize("event", [accept_answer("another offer"), connected(gen=7)])
def test_what_names_another_offer_or_connection_is_dropped(event):
    made = at(CALLER, State.ALERTING)
    assert made.handle(event, T0) == []
    assert made.dropped == {"out-of-place": 1}
    assert state_of(made) is State.ALERTING


def test_a_late_failure_of_the_invitation_does_not_hurt_a_call_that_was_accepted():
    made = at(CALLER, State.CONNECTING)
    made.handle(e.SignalUndeliverable(call_id=CALL, kind=Kind.INVITE, retrying=False), T0)
    assert state_of(made) is State.CONNECTING
