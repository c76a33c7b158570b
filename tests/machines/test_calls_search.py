"""A search over two nodes joined by a bag of signals that loses, doubles and reorders.

From every world that the given choices can lead to, in any order, the world is also left alone: everything on
its way arrives, every timer runs, and both ends must agree. ``tests.calls_world`` checks the promises: never
two live calls of a pair, one ring and one record per call, a hang-up that arrives ends the call, ended is
final, no deadline without a state that has one, no capture before the accept, no open microphone after the
end, no word to a stranger before the user acts.
"""

from __future__ import annotations

import pytest

from sidecar.calls import events as e
from sidecar.calls.states import Side, State
from sidecar.calls.table import TABLE, Trigger, Verdict
from sidecar.errors import RemoteError
from tests.calls_world import Action, World

CONTACT, STRANGER = e.Relation.CONTACT, e.Relation.STRANGER
CALL = {"initiate alice": 1, "accept bob": 1}
SCENARIOS = {
    "cancel crosses accept": CALL | {"end alice": 1, "double": 1},
    "hang-ups and a decline cross": CALL | {"reject bob": 1, "end alice": 1, "end bob": 1},
    "a signal is lost": CALL | {"end alice": 1, "drop": 1},
    "signals are lost and doubled": CALL | {"end bob": 1, "drop": 1, "double": 1},
    "timers run while signals are on their way": CALL | {"end bob": 1, "tick": 2},
    "both call at once": CALL | {"initiate bob": 1},
    "both call at once, a signal is lost": CALL | {"initiate bob": 1, "drop": 1},
    "both call at once, and hang up": {"initiate alice": 1, "initiate bob": 1, "end alice": 1},
    "called again after the end": {"initiate alice": 2, "accept bob": 1, "end alice": 1},
    "the callee dies": CALL | {"crash bob": 1},
    "the caller dies": CALL | {"crash alice": 1},
}
WORLDS_MAX = 12_000
"""A scenario that grows beyond this has become too wide to be searched here."""


def search(world: World) -> set[tuple[Side, State]]:
    """Visits every reachable world; returns the states that each end was seen in."""
    seen = {world.key()}
    frontier: list[tuple[World, tuple[Action, ...]]] = [(world, ())]
    met: set[tuple[Side, State]] = set()
    while frontier:
        here, path = frontier.pop()
        for action in list(here.actions()):
            there = here.fork()
            try:
                there.step(action)
                if there.key() in seen:
                    continue
                seen.add(there.key())
                there.settle()
            except AssertionError as error:
                raise AssertionError(f"{error}, after {[*path, action]}") from error
            assert len(seen) <= WORLDS_MAX
            for node in there.nodes.values():
                met.update((call.facts.side, call.state) for call in node.board._calls.values())
            frontier.append((there, (*path, action)))
    return met


@pytest.mark.parametrize("relation", [CONTACT, STRANGER], ids=["contact", "stranger"])
@pytest.mark.parametrize("budget", SCENARIOS.values(), ids=SCENARIOS)
def test_no_order_of_events_breaks_a_promise(budget: dict[str, int], relation: e.Relation):
    world = World(relation=relation)
    world.budget.update(budget)
    met = {state for _, state in search(world)}
    expected = {State.ACTIVE, State.ENDED, State.RINGING, State.ANSWERING, State.CONNECTING}
    assert met >= expected, "the search reaches what it is about"


@pytest.mark.parametrize(
    ("state", "trigger"),
    [
        (State.CONNECTING, Trigger.CANCELLED),
        (State.ACTIVE, Trigger.REMOTE_END),
        (State.INVITING, Trigger.REJECTED),
        (State.ALERTING, Trigger.TIMEOUT),
        (State.CONNECTING, Trigger.TIMEOUT),
    ],
)
def test_the_search_notices_a_wrong_decision_in_the_table(monkeypatch, state: State, trigger: Trigger):
    monkeypatch.setitem(TABLE[state], trigger, Verdict.DROP)
    world = World()
    world.budget.update(CALL | {"end alice": 1, "reject bob": 1, "drop": 1})
    with pytest.raises((AssertionError, RemoteError)):
        search(world)
