"""A search over two and three nodes joined by a bag of signals that loses, doubles and reorders.

From every world that the given choices can lead to, in any order, the world is also left alone: everything on
its way arrives, every timer runs, and the ends must agree. ``tests.calls_world`` checks the promises: never
two live calls of a pair, one ring and one record per call, a hang-up that arrives ends the call, ended is
final, no deadline without a state that has one, no capture before the accept, no open microphone after the
end, no word to a stranger before the user acts, no timer once all is over.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest

from sidecar.calls import events as e
from sidecar.calls.states import UNANSWERED, Side, State
from sidecar.calls.table import TABLE, Trigger, Verdict
from sidecar.errors import RemoteError
from tests.calls_world import DEVICES, PAIR, TRIANGLE, Action, World

CONTACT, STRANGER = e.Relation.CONTACT, e.Relation.STRANGER
Budget = Mapping[str, int]
CALL = {"initiate alice": 1, "accept bob": 1}
GLARE = {"initiate alice": 1, "initiate bob": 1}
BOTH = CALL | {"accept bob/2": 1}

TWO: Mapping[str, Budget] = {
    "cancel crosses accept": CALL | {"end alice": 1, "double": 1},
    "hang-ups and a decline cross": CALL | {"reject bob": 1, "end alice": 1, "end bob": 1},
    "a signal is lost": CALL | {"end alice": 1, "drop": 1},
    "signals are lost and doubled": CALL | {"end bob": 1, "drop": 1, "double": 1},
    "timers run while signals are on their way": CALL | {"end bob": 1, "tick": 2},
    "both call at once": CALL | {"initiate bob": 1},
    "both call at once, a signal is lost": CALL | GLARE | {"drop": 1},
    "both call at once, and hang up": GLARE | {"end alice": 1},
    "called again after the end": {"initiate alice": 2, "accept bob": 1, "end alice": 1},
    "called again, the end is lost": {"initiate alice": 2, "end alice": 1, "drop": 1},
    "held and resumed while the other hangs up": CALL | {"hold alice": 1, "resume alice": 1, "end bob": 1},
    "both hold": CALL | {"hold alice": 1, "hold bob": 1, "drop": 1},
    "the connection dies, a signal is lost": CALL | {"fail alice": 1, "drop": 1},
    "the connection dies at once, and one hangs up": CALL | {"fail bob": 1, "end alice": 1, "tick": 1},
    "the caller hears nothing": CALL | {"silence alice": 1, "drop": 1, "tick": 1},
    "the callee hears nothing": CALL | {"silence bob": 1, "drop": 1},
    "both hear nothing, and one hangs up": CALL | {"silence alice": 1, "silence bob": 1, "end bob": 1},
    "the callee dies": CALL | {"crash bob": 1},
    "the caller dies": CALL | {"crash alice": 1},
}
DEVICES_OF_BOB: Mapping[str, Budget] = {
    "both devices accept": BOTH,
    "one declines, one accepts": CALL | {"reject bob/2": 1},
    "one device dies": CALL | {"crash bob/2": 1},
}
DEVICES_OF_BOB_LONG: Mapping[str, Budget] = {
    "both accept, the caller hangs up": BOTH | {"end alice": 1},
    "both accept, a signal is lost": BOTH | {"drop": 1},
    "one accepts, a signal is doubled": CALL | {"double": 1},
    "one device calls back": CALL | {"initiate bob/2": 1},
}
THREE: Mapping[str, Budget] = {
    "a call while another one rings": {"initiate alice": 1, "initiate carol": 1, "accept alice": 1},
}
THREE_LONG: Mapping[str, Budget] = {
    "everybody calls the next": {"initiate alice": 1, "initiate bob": 1, "initiate carol": 1},
    "a call while another one is on": CALL | {"initiate carol": 1, "drop": 1},
    "a held call makes room": CALL | {"hold alice": 1, "initiate carol": 1, "accept alice": 1},
}
EVERY_STATE = (
    (CONTACT, "the connection dies, a signal is lost"),
    (CONTACT, "the caller hears nothing"),
    (CONTACT, "the callee hears nothing"),
    (STRANGER, "hang-ups and a decline cross"),
)
WORLDS_MAX, WORLDS_MAX_LONG = 20_000, 300_000
"""A scenario that grows beyond this has become too wide to be searched here."""
WIDER: Mapping[str, Budget] = {
    "two losses and a double": CALL | {"end bob": 1, "drop": 2, "double": 1},
    "glare with a loss, a double and a hang-up": GLARE | {"end alice": 1, "drop": 1, "double": 1},
    "three calls": {"initiate alice": 2, "initiate bob": 1, "end alice": 1},
    "three signals are lost": CALL | {"end bob": 1, "drop": 3},
    "three signals are doubled": CALL | {"end bob": 1, "double": 3},
    "both hear nothing, with loss and time": CALL
    | {"silence alice": 1, "silence bob": 1, "drop": 1, "tick": 1},
    "the connection dies twice, with loss": CALL | {"fail alice": 1, "fail bob": 1, "drop": 1, "tick": 1},
    "hold with loss and time": CALL | {"hold bob": 1, "end alice": 1, "drop": 1, "tick": 1},
}


def search(world: World, limit: int = WORLDS_MAX) -> set[tuple[Side, State]]:
    """Visits every world that the budget can lead to, says how many there are (``pytest -rP``), and returns
    the states that each end was seen in. Worlds with the same future are one (``World.key``)."""
    seen, settled = {hash(world.key())}, set[int]()
    frontier: list[tuple[World, tuple[Action, ...]]] = [(world, ())]
    met: set[tuple[Side, State]] = set()
    while frontier:
        here, path = frontier.pop()
        for action in list(here.actions()):
            there = here.fork()
            try:
                there.step(action)
                key = hash(there.key())
                if key in seen:
                    continue
                seen.add(key)
                there.settle(settled)
            except AssertionError as error:
                raise AssertionError(f"{error}, after {[*path, action]}") from error
            assert len(seen) <= limit, "this scenario is too wide"
            for node in there.nodes.values():
                met.update((call.facts.side, call.state) for call in node.board._calls.values())
            frontier.append((there, (*path, action)))
    sys.stdout.write(f"{len(seen)} worlds visited\n")
    return met


def searched(
    budget: Budget, relation: e.Relation, calls: Mapping[str, str], limit: int = WORLDS_MAX
) -> set[State]:
    wants = ("initiate", "accept", "hold", "resume", "double", "drop")
    talk = calls is PAIR and "initiate bob" in budget and all(one.split()[0] in wants for one in budget)
    world = World(relation=relation, calls=calls, talk=talk)
    world.budget.update(budget)
    return {state for _, state in search(world, limit)}


@pytest.mark.parametrize("relation", [CONTACT, STRANGER], ids=["contact", "stranger"])
@pytest.mark.parametrize("budget", TWO.values(), ids=TWO)
def test_no_order_of_events_breaks_a_promise(budget: Budget, relation: e.Relation):
    met = searched(budget, relation, PAIR)
    assert State.RINGING in met, "the search reaches what it is about"
    if "accept bob" in budget:
        assert met >= {State.ACTIVE, State.ANSWERING, State.CONNECTING}


def test_the_search_visits_every_state_of_both_ends():
    met: set[tuple[Side, State]] = set()
    for relation, name in EVERY_STATE:
        world = World(relation=relation)
        world.budget.update(TWO[name])
        met |= search(world)
    assert {state for side, state in met if side is Side.CALLER} == set(State) - {State.RINGING}
    assert {state for side, state in met if side is Side.CALLEE} == set(State) - UNANSWERED


@pytest.mark.parametrize("relation", [CONTACT, STRANGER], ids=["contact", "stranger"])
@pytest.mark.parametrize("budget", DEVICES_OF_BOB.values(), ids=DEVICES_OF_BOB)
def test_no_order_of_events_breaks_a_promise_to_two_devices(budget: Budget, relation: e.Relation):
    assert searched(budget, relation, DEVICES) >= {State.ACTIVE, State.ENDED}


@pytest.mark.parametrize("budget", THREE.values(), ids=THREE)
def test_no_order_of_events_breaks_a_promise_among_three(budget: Budget):
    assert searched(budget, CONTACT, TRIANGLE) >= {State.ENDED}


LONG = [
    *(pytest.param(budget, PAIR, id=name) for name, budget in WIDER.items()),
    *(pytest.param(budget, DEVICES, id=name) for name, budget in DEVICES_OF_BOB_LONG.items()),
    *(pytest.param(budget, TRIANGLE, id=name) for name, budget in THREE_LONG.items()),
]


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("relation", [CONTACT, STRANGER], ids=["contact", "stranger"])
@pytest.mark.parametrize(("budget", "calls"), LONG)
def test_no_order_of_more_events_breaks_a_promise(
    budget: Budget, calls: Mapping[str, str], relation: e.Relation
):
    assert searched(budget, relation, calls, WORLDS_MAX_LONG) >= {State.ENDED}


WRONG_DECISIONS = [
    (State.CONNECTING, Trigger.CANCELLED, TWO["cancel crosses accept"], PAIR),
    (State.ACTIVE, Trigger.REMOTE_END, TWO["cancel crosses accept"], PAIR),
    (State.INVITING, Trigger.REJECTED, TWO["hang-ups and a decline cross"], PAIR),
    (State.ALERTING, Trigger.TIMEOUT, TWO["a signal is lost"], PAIR),
    (State.CONNECTING, Trigger.TIMEOUT, TWO["a signal is lost"], PAIR),
    (State.INVITING, Trigger.GLARE, TWO["both call at once"], PAIR),
    (State.PREPARING, Trigger.GLARE, TWO["both call at once"], PAIR),
    (State.ACTIVE, Trigger.GIVEN_UP, TWO["the callee dies"], PAIR),
    (State.RINGING, Trigger.CANCELLED, DEVICES_OF_BOB["both devices accept"], DEVICES),
]


@pytest.mark.parametrize(
    ("state", "trigger", "budget", "calls"),
    WRONG_DECISIONS,
    ids=[f"{state.value}-{trigger.value}" for state, trigger, _, _ in WRONG_DECISIONS],
)
def test_the_search_notices_a_wrong_decision_in_the_table(
    monkeypatch, state: State, trigger: Trigger, budget: Budget, calls: Mapping[str, str]
):
    monkeypatch.setitem(TABLE[state], trigger, Verdict.DROP)
    with pytest.raises((AssertionError, RemoteError)):
        searched(budget, CONTACT, calls)
