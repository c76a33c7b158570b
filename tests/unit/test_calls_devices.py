"""Several devices of one user: the caller hears them all, takes one, and stops the others."""

from __future__ import annotations

from sidecar.calls import effects as f
from sidecar.calls import events as e
from sidecar.calls.states import Side, State
from sidecar.schema import EndReason
from sidecar.signaling.messages import Kind, ReasonBody
from tests.calls_lab import (
    CALL,
    T0,
    accept_answer,
    arrived,
    at,
    connected,
    one,
    only,
    said,
    says,
    signal,
    state_of,
)  # fmt: skip

PHONE, LAPTOP, TABLET = "phone", "laptop", "tablet"
ALL = (PHONE, LAPTOP, TABLET)


def calling(*devices: str):
    return at(Side.CALLER, State.INVITING, devices=devices)


def busy(device: str) -> e.SignalArrived:
    return says(Kind.BUSY, EndReason.BUSY, device=device)


def told_others(effects: list[f.Effect]) -> list[tuple[str, str]]:
    return [
        (effect.body.reason, effect.body.device)
        for effect in only(effects, f.SendSignal)
        if isinstance(effect.body, ReasonBody) and effect.device is None
    ]


def test_C08_the_first_accept_wins_and_the_others_are_stopped():
    made = calling(*ALL)
    taken = made.handle(accept_answer(device=LAPTOP), T0)
    assert told_others(taken) == [("answered-elsewhere", LAPTOP)]
    assert state_of(made) is State.CONNECTING

    late = made.handle(accept_answer(device=PHONE), T0)
    assert said(late) == [("cancel", "answered-elsewhere")]
    assert one(late, f.SendSignal).device == PHONE
    assert state_of(made) is State.CONNECTING
    made.handle(connected(), T0)
    for _ in range(20):
        late = made.handle(accept_answer(device=TABLET), T0)
    assert late == [], "and not for ever"


def test_C08_a_callee_with_one_device_costs_no_extra_signal():
    made = calling(PHONE)
    assert told_others(made.handle(accept_answer(device=PHONE), T0)) == []


def test_C08_devices_without_a_card_count_once_they_were_heard():
    made = calling(PHONE)
    made.handle(arrived(signal(Kind.RECEIPT, device=TABLET)), T0)
    assert told_others(made.handle(accept_answer(device=PHONE), T0)) == [("answered-elsewhere", PHONE)]


def test_C08_the_device_that_took_the_call_does_not_stop_for_its_own_word():
    ringing, talking = at(Side.CALLEE, State.RINGING), at(Side.CALLEE, State.CONNECTING)
    mine = arrived(signal(Kind.CANCEL, ReasonBody(reason="answered-elsewhere", device="our-device")))
    other = arrived(signal(Kind.CANCEL, ReasonBody(reason="answered-elsewhere", device="another")))
    assert talking.handle(mine, T0) == []
    assert state_of(talking) is State.CONNECTING
    stopped = ringing.handle(other, T0)
    assert one(stopped, f.CallEnded).record.end_reason is EndReason.ANSWERED_ELSEWHERE
    assert said(stopped) == []


def test_C09_a_decline_is_for_every_device():
    made = calling(*ALL)
    declined = made.handle(says(Kind.REJECT, EndReason.DECLINED, device=PHONE), T0)
    assert one(declined, f.CallEnded).record.end_reason is EndReason.DECLINED
    assert told_others(declined) == [("declined-elsewhere", PHONE)]
    late = made.handle(accept_answer(device=LAPTOP), T0 + 0.05)
    assert said(late) == [("cancel", "declined-elsewhere")]
    assert one(late, f.SendSignal).device == LAPTOP


def test_C09_a_decline_after_the_accept_of_another_device_changes_nothing():
    made = calling(*ALL)
    made.handle(accept_answer(device=LAPTOP), T0)
    assert made.handle(says(Kind.REJECT, EndReason.DECLINED, device=PHONE), T0) == []
    assert state_of(made) is State.CONNECTING


def test_C10_one_busy_device_does_not_speak_for_the_others():
    made = calling(PHONE, LAPTOP)
    assert said(made.handle(busy(PHONE), T0)) == []
    assert state_of(made) is State.INVITING
    made.handle(arrived(signal(Kind.RINGING, device=LAPTOP)), T0)
    assert state_of(made) is State.ALERTING
    assert made.next_deadline() == T0 + 60
    made.handle(accept_answer(device=LAPTOP), T0 + 5)
    assert state_of(made) is State.CONNECTING


def test_C10_when_every_device_is_busy_so_is_the_user():
    made = calling(PHONE, LAPTOP)
    made.handle(busy(PHONE), T0)
    ended = made.handle(busy(LAPTOP), T0)
    assert one(ended, f.CallEnded).record.end_reason is EndReason.BUSY


def test_C10_without_cards_the_caller_waits_a_moment_for_another_device():
    made = calling()
    made.handle(busy(PHONE), T0)
    assert made.next_deadline() == T0 + 2
    assert one(made.handle_timer(T0 + 2), f.CallEnded).record.end_reason is EndReason.BUSY

    made = calling()
    made.handle(busy(PHONE), T0)
    made.handle(arrived(signal(Kind.RINGING, device=LAPTOP)), T0 + 1)
    assert made.next_deadline() == T0 + 60


def test_another_life_of_the_peers_process_can_only_end_the_call():
    made = at(Side.CALLEE, State.ACTIVE)
    stale = arrived(signal(Kind.OFFER, epoch="another"))
    assert made.handle(stale, T0) == []
    assert made.dropped == {"out-of-place": 1}
    gone = arrived(signal(Kind.END, ReasonBody(reason="app-gone"), epoch="another"))
    assert one(made.handle(gone, T0), f.CallEnded).record.end_reason is EndReason.APP_GONE
    assert CALL
