"""Who hears of which soul."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.graph.core.subscriptions import Subscriptions


def opened(*connections: int, **bounds: int) -> Subscriptions:
    subscriptions = Subscriptions(**bounds)
    for connection in connections:
        subscriptions.opened(connection)
    return subscriptions


def test_a_soul_and_a_key_are_told_apart() -> None:
    subscriptions = opened(1, 2, 3)
    subscriptions.add(1, "s", None)
    subscriptions.add(2, "s", "k")
    subscriptions.add(3, "t", None)
    assert subscriptions.listeners("s", ["k", "l"]) == {1, 2}
    assert subscriptions.listeners("s", ["l"]) == {1}
    assert subscriptions.listeners("u", ["k"]) == set()


def test_asking_twice_is_nothing_new() -> None:
    subscriptions = opened(1)
    assert subscriptions.add(1, "s", None)
    assert not subscriptions.add(1, "s", None)
    assert subscriptions.add(1, "s", "k")


def test_S19_one_connection_holds_a_bounded_number() -> None:
    subscriptions = opened(1, max_per_connection=10)
    assert sum(subscriptions.add(1, f"s{number}", None) for number in range(100)) == 10
    subscriptions.remove(1, "s0")
    assert subscriptions.add(1, "again", None)


def test_what_ended_is_not_heard() -> None:
    subscriptions = opened(1)
    subscriptions.add(1, "s", None)
    subscriptions.remove(1, "s")
    subscriptions.remove(1, "s")
    subscriptions.remove(9, "s")
    assert subscriptions.listeners("s", ["k"]) == set()
    subscriptions.add(1, "s", None)
    subscriptions.closed(1)
    assert subscriptions.listeners("s", ["k"]) == set()


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "add", "remove"]),
        st.integers(1, 4),
        st.sampled_from(["s", "t"]),
        st.sampled_from([None, "k", "l"]),
    ),
    max_size=60,
)


@given(ACTIONS)
def test_both_indices_tell_the_same(actions: list[tuple[str, int, str, str | None]]) -> None:
    subscriptions = Subscriptions(max_per_connection=4, max_total=9)
    alive: set[int] = set()
    for action, connection, soul, key in actions:
        if action == "open" and connection not in alive:
            subscriptions.opened(connection)
            alive.add(connection)
        elif action == "close":
            subscriptions.closed(connection)
            alive.discard(connection)
        elif action == "remove":
            subscriptions.remove(connection, soul)
        elif action == "add" and connection in alive:
            subscriptions.add(connection, soul, key)
    by_soul = {
        (connection, soul, key)
        for soul, listeners in subscriptions._by_soul.items()
        for connection, keys in listeners.items()
        for key in keys
    }
    by_connection = {
        (connection, soul, key)
        for connection, souls in subscriptions._by_connection.items()
        for soul, keys in souls.items()
        for key in keys
    }
    assert by_soul == by_connection
    assert all(sum(1 for entry in by_soul if entry[0] == one) <= 4 for one in alive)
    assert {entry[0] for entry in by_soul} <= alive
    assert subscriptions.total == len(by_soul) <= 9
