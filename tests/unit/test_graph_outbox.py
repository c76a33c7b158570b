"""Leaves on their way out: resent, read back, copied to the other relays, bounded (FAULTS S15)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from sidecar.errors import Code, UnavailableError
from sidecar.graph.core import outbox as module
from sidecar.graph.core.effects import Expired, Item, Refused, Stored
from sidecar.graph.core.outbox import Outbox
from tests.graph_machines import NOW_MS, SOUL, item, sent

A, B = "ws://a/gun", "ws://b/gun"


def make(*, relays: int = 2, restored: tuple[Item, ...] = ()) -> Outbox:
    numbers = itertools.count(1)
    return Outbox(lambda: f"m{next(numbers)}", relays, restored)


def puts(messages: list[dict[str, Any]]) -> list[str]:
    return [message["#"] for message in messages if "put" in message]


def gets(messages: list[dict[str, Any]]) -> list[str]:
    return [message["#"] for message in messages if "get" in message]


def test_a_leaf_goes_to_every_connected_relay_and_to_later_ones() -> None:
    outbox = make()
    outbox.opened(A, 0.0)
    effects = outbox.add(item(1), 0.0)
    assert [message["put"][SOUL][item(1).key] for message in sent(effects)] == [item(1).value]
    assert puts(sent(outbox.opened(B, 1.0), B)) == ["m2"]


def test_the_first_ack_counts_and_the_others_are_still_served() -> None:
    outbox = make()
    outbox.opened(A, 0.0)
    outbox.opened(B, 0.0)
    ids = puts(sent(outbox.add(item(1), 0.0)))
    assert outbox.acknowledged(ids[0], None, 0.1) == [Stored(SOUL, item(1).key)]
    assert len(outbox) == 1
    assert outbox.acknowledged(ids[1], None, 0.2) == []
    assert len(outbox) == 0


def test_a_relay_that_stays_away_is_served_for_a_while_only() -> None:
    outbox = make()
    outbox.opened(A, 0.0)
    (number,) = puts(sent(outbox.add(item(1), 0.0)))
    outbox.acknowledged(number, None, 0.0)
    outbox.handle_timer(module.COPY_FOR_S - 1, NOW_MS)
    assert len(outbox) == 1
    assert outbox.handle_timer(module.COPY_FOR_S + module.SCAN_EVERY_S, NOW_MS) == []
    assert len(outbox) == 0


def test_S15_an_unacknowledged_leaf_is_resent_with_backoff_and_asked_for() -> None:
    outbox, now, waits = make(relays=1), 0.0, []
    outbox.opened(A, 0.0)
    outbox.add(item(1), 0.0)
    for _ in range(8):
        deadline = outbox.next_deadline()
        assert deadline is not None
        messages = sent(outbox.handle_timer(deadline, NOW_MS))
        if messages:
            assert (len(puts(messages)), len(gets(messages))) == (1, 1)
            waits.append(deadline - now)
            now = deadline
    assert waits[:4] == [2, 4, 8, 16]
    assert max(waits) <= module.MAX_RESEND_S


def test_reading_the_leaf_back_is_as_good_as_an_ack() -> None:
    outbox = make(relays=1, restored=(item(1),))
    messages = sent(outbox.opened(A, 0.0))
    (asked,) = gets(messages)
    key, value = item(1).key, item(1).value
    assert outbox.read_back(asked, {SOUL: {key: ("forged", 1)}}, 0.1) == []
    assert outbox.read_back("unknown", {SOUL: {key: (value, 1)}}, 0.1) == []
    assert outbox.read_back(asked, {SOUL: {key: (value, 1)}}, 0.1) == [Stored(SOUL, key)]
    assert len(outbox) == 0


def test_a_refusal_is_told_and_the_other_relay_still_counts() -> None:
    outbox = make()
    outbox.opened(A, 0.0)
    outbox.opened(B, 0.0)
    at_a, at_b = puts(sent(outbox.add(item(1), 0.0)))
    assert outbox.acknowledged(at_a, "Soul is full.", 0.1) == [Refused(A, SOUL, item(1).key, "Soul is full.")]
    assert outbox.acknowledged(at_b, None, 0.1) == [Stored(SOUL, item(1).key)]


def test_a_reconnected_relay_gets_what_it_has_not_acknowledged() -> None:
    outbox = make(relays=1)
    outbox.opened(A, 0.0)
    outbox.add(item(1), 0.0)
    outbox.closed(A)
    outbox.add(item(2), 0.5)
    assert outbox.handle_timer(100.0, NOW_MS) == []
    messages = sent(outbox.opened(A, 100.0))
    assert [message["put"][SOUL] for message in messages if "put" in message] == [
        {"_": {"#": SOUL, ">": {one.key: NOW_MS}}, one.key: one.value} for one in (item(1), item(2))
    ]


def test_a_leaf_whose_life_is_over_is_dropped() -> None:
    outbox = make()
    outbox.add(item(1), 0.0)
    assert outbox.handle_timer(100.0, NOW_MS + 89_999) == []
    assert outbox.handle_timer(200.0, NOW_MS + 90_000) == [Expired(SOUL, item(1).key)]
    assert len(outbox) == 0
    assert outbox.next_deadline() is None


def test_the_same_leaf_twice_is_one() -> None:
    outbox = make()
    outbox.opened(A, 0.0)
    outbox.add(item(1), 0.0)
    assert outbox.add(item(1), 0.0) == []
    assert len(outbox) == 1


def test_answers_to_nothing_of_ours_change_nothing() -> None:
    outbox = make()
    assert outbox.acknowledged("unknown", None, 0.0) == []
    assert outbox.acknowledged("unknown", "err", 0.0) == []


def test_the_outbox_is_bounded() -> None:
    outbox = make()
    for number in range(module.MAX_ITEMS):
        outbox.add(item(number), 0.0)
    with pytest.raises(UnavailableError) as caught:
        outbox.add(item(module.MAX_ITEMS), 0.0)
    assert caught.value.code is Code.RESOURCE


def test_answers_are_remembered_for_the_last_tries_only() -> None:
    outbox = make(relays=1)
    outbox.opened(A, 0.0)
    first = puts(sent(outbox.add(item(1), 0.0)))[0]
    for now in range(100, 2_000, 100):
        outbox.handle_timer(float(now), NOW_MS)
    assert len(outbox._by_message) <= 4
    assert outbox.acknowledged(first, None, 2_000.0) == []
