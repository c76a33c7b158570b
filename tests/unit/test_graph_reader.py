"""Watches and reads: believes no relay, tells each leaf once, knows when a read is over."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from sidecar.errors import Code, UnavailableError
from sidecar.graph.core import leaves
from sidecar.graph.core import reader as module
from sidecar.graph.core.effects import Effect, LeafFound, ReadDone
from sidecar.graph.core.link import Link
from sidecar.graph.core.reader import Reader
from tests.graph_machines import NOW_MS, SOUL, Seeded, leaf, sent

A, B = "ws://a/gun", "ws://b/gun"


def up(url: str, *, aleph: bool = True) -> Link:
    link = Link(url, Seeded())
    link.handle_timer(0.0)
    link.opened(0.0)
    link.aleph = aleph
    return link


def make() -> tuple[Reader, Counter[str]]:
    numbers, counters = itertools.count(1), Counter[str]()
    return Reader(lambda: f"g{next(numbers)}", counters), counters


def found(effects: list[Effect]) -> list[tuple[int, str]]:
    return [(effect.watch, effect.value) for effect in effects if isinstance(effect, LeafFound)]


def cells(*numbers: int) -> dict[str, tuple[str, float]]:
    return {key: (value, 5.0) for key, value in map(leaf, numbers)}


def test_a_watch_asks_plainly_and_exactly_at_once_and_after_each_reconnect() -> None:
    reader, _ = make()
    _, effects = reader.add(SOUL, [up(A)], 0.0)
    assert [message["get"] for message in sent(effects)] == [{"#": SOUL}, {"#": {"=": SOUL}}]
    assert [message["get"] for message in sent(reader.opened(up(B)))] == [{"#": SOUL}, {"#": {"=": SOUL}}]


def test_S08_a_leaf_is_told_once_to_each_watch() -> None:
    reader, _ = make()
    first, _ = reader.add(SOUL, [], 0.0)
    assert found(reader.heard(SOUL, cells(1, 2), 0.0, NOW_MS)) == [(first, leaf(1)[1]), (first, leaf(2)[1])]
    second, _ = reader.add(SOUL, [], 0.0)
    assert found(reader.heard(SOUL, cells(1, 3), 0.0, NOW_MS)) == [
        (second, leaf(1)[1]), (first, leaf(3)[1]), (second, leaf(3)[1])
    ]  # fmt: skip
    for _ in range(100):
        assert reader.heard(SOUL, cells(1, 3), 0.0, NOW_MS) == []


def test_S06_what_is_not_its_own_hash_is_dropped_and_counted() -> None:
    reader, counters = make()
    number, _ = reader.add(SOUL, [], 0.0)
    key, value = leaf(1)
    for forged in (None, "junk", 5, True, {"#": "x"}):
        assert reader.heard(SOUL, {key: (forged, 9e15)}, 0.0, NOW_MS) == []
    assert counters["not-a-leaf"] == 5
    assert found(reader.heard(SOUL, {key: (value, 1)}, 0.0, NOW_MS)) == [(number, value)]


def test_S19_souls_nobody_watches_cost_nothing() -> None:
    reader, counters = make()
    reader.add(SOUL, [], 0.0)
    assert reader.heard("another#", cells(1), 0.0, NOW_MS) == []
    assert not counters


def test_a_soul_is_cut_at_its_cap() -> None:
    reader, counters = make()
    reader.add(SOUL, [], 0.0)
    told = 0
    for number in range(40):
        key, value = leaf(number, size=16_384)
        told += len(reader.heard(SOUL, {key: (value, 5.0)}, 0.0, NOW_MS))
    assert told == leaves.MAX_SOUL_BYTES // (16_384 + len(leaf(0)[0]))
    assert counters["soul-full"] == 40 - told


def test_the_last_watch_of_a_soul_ends_the_subscription() -> None:
    reader, _ = make()
    link = up(A)
    first, _ = reader.add(SOUL, [link], 0.0)
    second, _ = reader.add(SOUL, [link], 0.0)
    assert reader.remove(first, [link]) == []
    (message,) = sent(reader.remove(second, [link]))
    assert (message["dam"], message["get"]) == ("off", {"#": SOUL})
    assert reader.remove(second, [link]) == []
    assert reader.heard(SOUL, cells(1), 0.0, NOW_MS) == []


def test_watches_are_bounded() -> None:
    reader, _ = make()
    for number in range(module.MAX_WATCHES):
        reader.add(str(number), [], 0.0)
    with pytest.raises(UnavailableError) as caught:
        reader.add("one more", [], 0.0)
    assert caught.value.code is Code.RESOURCE


def test_a_read_ends_when_our_relays_have_answered_both_questions() -> None:
    reader, _ = make()
    links = [up(A), up(B)]
    number, effects = reader.add(SOUL, links, 0.0, timeout_s=5.0)
    for message in sent(effects, A):
        reader.answered(message["#"], links[0], more=False, now=0.1)
    at_b = [message["#"] for message in sent(effects, B)]
    reader.answered(at_b[0], links[1], more=True, now=0.2)
    reader.answered(at_b[0], links[1], more=False, now=0.3)
    assert reader.handle_timer(0.3, links) == []
    reader.answered(at_b[1], links[1], more=False, now=0.4)
    assert reader.next_deadline() == 0.4
    assert reader.handle_timer(0.4, [])[-1] == ReadDone(number, True)
    assert reader.next_deadline() is None


def test_a_read_waits_for_silence_where_gun_js_takes_part() -> None:
    reader, _ = make()
    link = up(A, aleph=False)
    number, effects = reader.add(SOUL, [link], 0.0, timeout_s=5.0)
    for message in sent(effects):
        reader.answered(message["#"], link, more=False, now=0.1)
    reader.heard(SOUL, cells(1), 0.2, NOW_MS)
    assert reader.next_deadline() == pytest.approx(0.2 + module.QUIET_S)
    assert reader.handle_timer(0.3, []) == []
    assert reader.handle_timer(0.36, [])[-1] == ReadDone(number, True)


def test_a_read_nobody_answers_says_so_at_its_deadline() -> None:
    reader, _ = make()
    number, _ = reader.add(SOUL, [], 0.0, timeout_s=5.0)
    assert reader.handle_timer(4.9, []) == []
    assert reader.handle_timer(5.0, []) == [ReadDone(number, False)]


def test_a_relay_that_goes_away_is_not_waited_for() -> None:
    reader, _ = make()
    links = [up(A), up(B)]
    number, effects = reader.add(SOUL, links, 0.0, timeout_s=5.0)
    for message in sent(effects, A):
        reader.answered(message["#"], links[0], more=False, now=0.1)
    reader.closed(B)
    assert reader.handle_timer(0.1, [])[-1] == ReadDone(number, True)


def test_a_dead_relay_is_not_waited_for_once_another_has_answered() -> None:
    reader, _ = make()
    links = [up(A), up(B)]
    links[1].rtt_ms = 100.0
    number, effects = reader.add(SOUL, links, 0.0, timeout_s=5.0)
    assert reader.next_deadline() == 5.0
    for message in sent(effects, A):
        reader.answered(message["#"], links[0], more=False, now=0.1)
    due = 0.1 + links[1].patience_s
    assert reader.next_deadline() == pytest.approx(due)
    assert due < 1.0
    assert reader.handle_timer(due - 0.01, links) == []
    assert reader.handle_timer(due, links)[-1] == ReadDone(number, True)
