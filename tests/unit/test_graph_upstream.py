"""What is shared with the relays that one peers with, and what is remembered while they are away."""

from __future__ import annotations

from sidecar.graph.core.upstream import ANSWER_S, MAX_MISSED, WINDOW, Upstreams


def sent(upstreams: Upstreams, connection: int, now: float = 0.0) -> list[str]:
    """The souls that may be sent now."""
    souls = []
    while (soul := upstreams.next_missed(connection, now)) is not None:
        upstreams.sent(connection, f"id of {soul}", soul, now)
        souls.append(soul)
    return souls


def test_nothing_is_remembered_while_all_are_here_or_none_is_expected() -> None:
    for upstreams in (Upstreams(0), Upstreams(1)):
        upstreams.opened(1)
        upstreams.changed(["a", "b"])
        upstreams.closed(1)
        upstreams.opened(2)
        assert sent(upstreams, 2) == []


def test_what_changed_while_one_is_away_is_sent_once_in_the_order_of_the_last_change() -> None:
    upstreams = Upstreams(1)
    for soul in ("a", "b", "a"):
        upstreams.changed([soul])
    upstreams.opened(1)
    assert sent(upstreams, 1) == ["b", "a"]
    for soul in ("a", "b"):
        upstreams.answered(1, f"id of {soul}", stored=True)
    upstreams.closed(1)
    upstreams.opened(2)
    assert sent(upstreams, 2) == []


def test_as_much_is_on_its_way_as_is_acknowledged() -> None:
    upstreams = Upstreams(1)
    souls = [f"s{number}" for number in range(WINDOW + 3)]
    upstreams.changed(souls)
    upstreams.opened(1)
    assert sent(upstreams, 1) == souls[:WINDOW]
    upstreams.answered(1, "id of another message", stored=True)
    assert sent(upstreams, 1) == []
    upstreams.answered(1, "id of s0", stored=True)
    assert sent(upstreams, 1) == [souls[WINDOW]]


def test_one_that_acknowledges_nothing_is_waited_for_a_while() -> None:
    upstreams = Upstreams(1)
    souls = [f"s{number}" for number in range(WINDOW + 3)]
    upstreams.changed(souls)
    upstreams.opened(1)
    assert sent(upstreams, 1) == souls[:WINDOW]
    assert sent(upstreams, 1, ANSWER_S - 0.1) == []
    assert sent(upstreams, 1, ANSWER_S) == souls[WINDOW:]


def test_what_was_not_sent_or_not_acknowledged_is_sent_over_the_next_link() -> None:
    upstreams = Upstreams(1)
    souls = [f"s{number}" for number in range(WINDOW + 3)]
    upstreams.changed(souls)
    upstreams.opened(1)
    sent(upstreams, 1)
    upstreams.answered(1, "id of s0", stored=True)
    upstreams.closed(1)
    upstreams.opened(2)
    first = sent(upstreams, 2)
    for soul in first:
        upstreams.answered(2, f"id of {soul}", stored=True)
    assert [*first, *sent(upstreams, 2)] == souls[1:]


def test_a_change_passed_on_while_a_relay_hung_is_sent_again() -> None:
    upstreams = Upstreams(1)
    upstreams.opened(1)
    for number in range(3):
        upstreams.shared(1, f"m{number}", (f"a{number}", f"b{number}"))
    upstreams.answered(1, "m0", stored=True)
    upstreams.closed(1)
    upstreams.opened(2)
    assert sent(upstreams, 2) == ["a1", "b1", "a2", "b2"]


def test_an_acknowledgement_stands_for_what_was_sent_before() -> None:
    upstreams = Upstreams(1)
    upstreams.opened(1)
    for number in range(3):
        upstreams.shared(1, f"m{number}", (f"s{number}",))
    upstreams.answered(1, "m1", stored=True)
    upstreams.closed(1)
    upstreams.opened(2)
    assert sent(upstreams, 2) == ["s2"]


def test_what_a_relay_could_not_store_is_sent_over_the_next_link() -> None:
    upstreams = Upstreams(1)
    upstreams.opened(1)
    upstreams.shared(1, "m0", ("s0",))
    upstreams.shared(1, "m1", ("s1",))
    upstreams.answered(1, "m1", stored=False)
    upstreams.answered(1, "m0", stored=True)
    upstreams.closed(1)
    upstreams.opened(2)
    assert sent(upstreams, 2) == ["s1"]


def test_messages_to_a_relay_that_acknowledges_none_are_bounded() -> None:
    upstreams = Upstreams(1)
    upstreams.opened(1)
    for number in range(MAX_MISSED + 1):
        upstreams.shared(1, f"m{number}", (f"s{number}",))
    upstreams.closed(1)
    upstreams.opened(2)
    assert upstreams.next_missed(2, 0.0) == "s1"


def test_one_that_stays_away_is_remembered_while_another_comes_and_goes() -> None:
    upstreams = Upstreams(2)
    upstreams.opened(1)
    upstreams.changed(["a"])
    upstreams.closed(1)
    upstreams.opened(2)
    assert sent(upstreams, 2) == ["a"]
    upstreams.opened(3)
    assert sent(upstreams, 3) == ["a"]


def test_what_is_remembered_is_bounded_and_the_latest_stays() -> None:
    upstreams = Upstreams(1)
    upstreams.changed([f"s{number}" for number in range(MAX_MISSED + 1)])
    upstreams.opened(1)
    assert upstreams.next_missed(1, 0.0) == "s1"


def test_only_the_first_and_the_last_follower_are_news() -> None:
    upstreams = Upstreams(1)
    assert upstreams.follow("a", True)
    assert not upstreams.follow("a", True)
    assert upstreams.followed == ["a"]
    assert upstreams.follow("a", False)
    assert not upstreams.follow("a", False)
    assert not upstreams.follow("b", False)


def test_a_connection_is_one_of_them_from_its_start_to_its_end() -> None:
    upstreams = Upstreams(1)
    upstreams.opened(7)
    assert 7 in upstreams
    assert list(upstreams) == [7]
    upstreams.closed(7)
    upstreams.closed(7)
    assert 7 not in upstreams
