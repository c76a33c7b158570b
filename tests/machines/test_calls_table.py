"""Every (state, trigger) pair of a call: what the table says, and that the machine does as it says."""

from __future__ import annotations

import pytest

from sidecar.calls import events as e
from sidecar.calls import triggers
from sidecar.calls.states import ESTABLISHED, UNANSWERED, Side, State
from sidecar.calls.table import COMMANDS, ONE_SIDED, TABLE, Trigger, Verdict, decide, drop, row
from sidecar.errors import LocalError, RemoteError
from sidecar.signaling.messages import Kind
from tests.calls_lab import CALL, T0, at, event_for

GOLDEN = """
                              PREP INV ALER RING ANSW CONN ACT REC BROK END
accept                        !  !  !  N  .  .  .  .  .  !
reject                        !  !  !  E  !  !  !  !  !  .
end                           E  E  E  E  E  E  E  E  E  .
hold                          !  !  !  !  !  !  L  T  !  !
resume                        !  !  !  !  !  !  L  T  !  !
mute                          P  I  A  R  N  C  L  T  B  !
use media                     .  .  .  !  .  .  .  .  .  !
signal invite                 x  x  x  .  .  .  .  .  .  .
signal receipt                x  I  A  x  .  .  .  .  .  .
signal ringing                x  A  A  x  .  .  .  .  .  .
signal accept with answer     x  C  C  x  .  .  .  .  .  E
signal accept with offer      x  N  N  x  .  .  .  .  .  E
signal answer                 x  x  x  x  x  C  L  T  .  .
signal reject                 x  E  E  x  x  x  x  x  x  .
signal busy                   x  E  E  x  x  x  x  x  x  .
signal busy of one device     x  I  A  x  x  x  x  x  x  .
signal cancel                 x  x  x  E  E  E  E  E  E  .
signal end                    x  E  E  E  E  E  E  E  E  .
signal offer                  x  x  x  x  x  x  L  T  x  E
signal restart                x  x  x  x  x  x  L  T  x  E
delivered                     x  I  .  .  .  .  .  .  .  .
delayed                       x  .  .  .  .  .  .  .  .  .
undeliverable                 x  E  E  .  .  E  .  .  .  .
local description             I  x  x  x  C  x  L  T  x  .
peer connected                x  x  x  x  x  L  L  T  .  .
path changed                  x  x  x  x  x  .  L  T  .  .
path lost                     x  x  x  x  x  E  L  T  E  .
peer broken                   E  E  E  x  E  B  L  T  .  .
peer refused                  E  E  E  x  E  E  E  E  E  .
remote state                  x  x  x  x  x  C  L  T  .  .
line changed                  P  I  A  x  N  C  L  T  B  .
recording changed             P  I  A  x  N  C  L  T  B  E
media warning                 P  I  A  x  N  C  L  T  B  .
media lost                    E  E  E  .  E  E  E  E  E  .
path up                       x  x  x  x  x  x  .  L  x  x
path down                     x  x  x  x  x  x  T  .  x  x
path given up                 x  x  x  x  x  x  E  E  x  x
glare                         E  E  E  x  x  x  x  x  x  .
replaced                      x  x  x  E  E  E  E  E  E  .
shutdown                      E  E  E  E  E  E  E  E  E  .
timeout                       E  E  E  E  E  E  L  T  E  x
"""
"""The table a second time, by hand. Columns are the states in their order; a capital is the state gone to
(P I A R N C L T B E, L for active, T for reconnecting), ``.`` ignore, ``!`` wrong, ``x`` drop."""

LETTERS: dict[str, State | Verdict] = {
    **dict(zip("PIARNCLTBE", State, strict=True)),
    ".": Verdict.IGNORE,
    "!": Verdict.WRONG,
    "x": Verdict.DROP,
}

CALLER_STATES = [state for state in State if state is not State.RINGING]
CALLEE_STATES = [state for state in State if state not in UNANSWERED]
FOUND = {Trigger.PATH_UP, Trigger.PATH_DOWN, Trigger.GIVEN_UP}
"""No events: the path tells them, in tests of its own."""
CASES = [
    (side, state, trigger)
    for side, states in ((Side.CALLER, CALLER_STATES), (Side.CALLEE, CALLEE_STATES))
    for state in states
    for trigger in Trigger
    if trigger not in FOUND
]


def golden() -> dict[Trigger, list[State | Verdict]]:
    rows: dict[Trigger, list[State | Verdict]] = {}
    for line in GOLDEN.strip().splitlines()[1:]:
        name, cells = line[:30].strip(), line[30:].split()
        rows[Trigger(name)] = [LETTERS[cell] for cell in cells]
    return rows


def test_the_table_says_what_was_decided():
    rows = golden()
    assert set(rows) == set(Trigger)
    for trigger, cells in rows.items():
        assert [TABLE[state][trigger] for state in State] == cells, trigger


def test_ended_is_final():
    assert {d for d in TABLE[State.ENDED].values() if isinstance(d, State)} == {State.ENDED}


def test_every_other_state_can_end_by_the_user_the_peer_and_a_shutdown():
    for state in State:
        if state is not State.ENDED:
            assert TABLE[state][Trigger.END] is State.ENDED
            assert TABLE[state][Trigger.SHUTDOWN] is State.ENDED


def test_only_commands_are_ever_wrong():
    for side in Side:
        for state in State:
            for trigger in set(Trigger) - COMMANDS:
                assert decide(side, state, trigger) is not Verdict.WRONG


def test_what_only_the_other_end_can_meet_is_never_acted_on():
    for side, verdicts in ONE_SIDED.items():
        for state in State:
            for trigger, verdict in verdicts.items():
                assert decide(side, state, trigger) is verdict


def test_a_row_must_decide_every_trigger_once():
    with pytest.raises(ValueError, match="not decided"):
        row(drop(Trigger.TIMEOUT))
    with pytest.raises(ValueError, match="decided twice"):
        row(drop(Trigger.TIMEOUT), drop(Trigger.TIMEOUT))
    with pytest.raises(ValueError, match="somebody to tell"):
        row(drop(*(set(Trigger) - {Trigger.TIMEOUT})), {Trigger.TIMEOUT: Verdict.WRONG})


@pytest.mark.parametrize(
    ("side", "state", "trigger"), CASES, ids=[f"{a.value}-{b.value}-{c.value}" for a, b, c in CASES]
)
def test_the_machine_does_as_the_table_says(side: Side, state: State, trigger: Trigger):
    # An answer signal belongs to calls whose invitation has no offer.
    # Where the path has the word, an offer or answer that fits nothing leaves the state as it is.
    offered = trigger is not Trigger.ANSWER or state in (State.PREPARING, *ESTABLISHED)
    devices = ("peer-device", "another") if trigger is Trigger.ONE_BUSY else ("peer-device",)
    board = at(side, state, offered=offered, devices=devices)
    call = board._calls[CALL]
    event = event_for(trigger, gen=call.gen, makes="offer" if state is State.PREPARING else "answer")
    if trigger is Trigger.UNDELIVERABLE and state is State.CONNECTING:
        event = e.SignalUndeliverable(call_id=CALL, kind=Kind.ACCEPT, retrying=False)
    if trigger is Trigger.RECORDING and state is State.ENDED:
        call.recordings["r1"] = "/r1"
        event = e.RecordingChanged(call_id=CALL, recording_id="r1", on=False, path="/r1", duration_ms=5)
    if trigger is not Trigger.ONE_BUSY:
        assert event is None or triggers.of(event) is trigger

    decision = decide(side, state, trigger)
    if trigger is Trigger.PATH_LOST and state in ESTABLISHED:
        decision = TABLE[state][Trigger.GIVEN_UP]  # what the path makes of it
    if (side, state, trigger) == (Side.CALLER, State.CONNECTING, Trigger.ANSWER):
        decision = Verdict.DROP  # a guard: here the callee offers, and the caller answers
    if decision is Verdict.WRONG:
        with pytest.raises(LocalError) as caught:
            call.handle(event, T0)
        assert caught.value.code == "call.wrong-state"
    elif decision is Verdict.DROP:
        with pytest.raises(RemoteError):
            call.handle(event, T0)
    elif decision is Verdict.IGNORE:
        assert call.handle(event, T0) == []
    else:
        call.handle(event, T0)
    assert call.state is (decision if isinstance(decision, State) else state)
    if call.state not in ESTABLISHED:
        assert (call.deadline is None) == call.ended
