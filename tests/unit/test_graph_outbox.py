"""Leaves on their way out: resent, read back, copied to the other relays, bounded (FAULTS S15)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from sidecar.errors import Code, UnavailableError
from sidecar.graph.core import outbox as module
from sidecar.graph.core import sea
from sidecar.graph.core.effects import Effect, Expired, Item, Refused, Rejected, Stored
from sidecar.graph.core.outbox import Outbox
from tests.graph_machines import NOW_MS, SOUL, Seeded, item, sent

A, B = "ws://a/gun", "ws://b/gun"
OWNER = sea.make_pair(Seeded(1))
OWNED = f"~{OWNER['pub']}/lease"


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


def refuse(outbox: Outbox, message_id: str, reason: str, now: float) -> list[Effect]:
    """A relay refuses, and does not have the item when asked; returns what follows."""
    refused, ask = outbox.acknowledged(message_id, reason, now)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.final) == (reason, True)
    (asked,) = gets(sent([ask]))
    return outbox.read_back(asked, {}, now)


def test_a_refusal_is_told_and_the_other_relay_still_counts() -> None:
    outbox = make()
    outbox.opened(A, 0.0)
    outbox.opened(B, 0.0)
    at_a, at_b = puts(sent(outbox.add(item(1), 0.0)))
    assert refuse(outbox, at_a, "Soul is full.", 0.1) == []
    assert outbox.acknowledged(at_b, None, 0.1) == [Stored(SOUL, item(1).key)]
    assert len(outbox) == 0


def test_a_final_refusal_ends_the_tries_at_that_relay() -> None:
    outbox = make()
    outbox.opened(A, 0.0)
    outbox.opened(B, 0.0)
    at_a, at_b = puts(sent(outbox.add(item(1), 0.0)))
    assert refuse(outbox, at_a, "Unverified data.", 0.1) == []
    for now in range(10, 100, 10):
        effects = outbox.handle_timer(float(now), NOW_MS)
        assert sent(effects, A) == []
        at_b = (puts(sent(effects, B)) or [at_b])[-1]
    outbox.closed(A)
    assert outbox.opened(A, 100.0) == []
    rejected = Rejected(SOUL, item(1).key, "Soul is full.")
    assert refuse(outbox, at_b, "Soul is full.", 100.1) == [rejected]
    assert len(outbox) == 0
    assert outbox.next_deadline() is None


def test_a_refusal_by_somebody_else_is_not_believed() -> None:
    """On gun.js any client that receives a put may answer it."""
    outbox = make(relays=1)
    outbox.opened(A, 0.0)
    (at_a,) = puts(sent(outbox.add(item(1), 0.0)))
    _, ask = outbox.acknowledged(at_a, "Unverified data.", 0.1)
    for _ in range(100):
        assert outbox.acknowledged(at_a, "Unverified data.", 0.1) == []
    (asked,) = gets(sent([ask]))
    graph = {SOUL: {item(1).key: (item(1).value, NOW_MS)}}
    assert outbox.read_back(asked, graph, 0.2) == [Stored(SOUL, item(1).key)]


def test_an_ack_after_somebody_elses_refusal_counts() -> None:
    outbox = make()
    outbox.opened(A, 0.0)
    (at_a,) = puts(sent(outbox.add(item(1), 0.0)))
    outbox.acknowledged(at_a, "Unverified data.", 0.1)
    assert outbox.acknowledged(at_a, None, 0.2) == [Stored(SOUL, item(1).key)]


def test_a_refusal_without_an_answer_to_the_question_is_tried_again() -> None:
    outbox = make(relays=1)
    outbox.opened(A, 0.0)
    (at_a,) = puts(sent(outbox.add(item(1), 0.0)))
    outbox.acknowledged(at_a, "Soul is full.", 0.1)
    (again,) = puts(sent(outbox.handle_timer(2.0, NOW_MS)))
    assert outbox.acknowledged(again, None, 2.1) == [Stored(SOUL, item(1).key)]


def test_a_refusal_that_may_pass_is_tried_again() -> None:
    outbox = make(relays=1)
    outbox.opened(A, 0.0)
    (at_a,) = puts(sent(outbox.add(item(1), 0.0)))
    (refused,) = outbox.acknowledged(at_a, "State is too far in the future.", 0.1)
    assert refused == Refused(A, SOUL, item(1).key, "State is too far in the future.", final=False)
    (again,) = puts(sent(outbox.handle_timer(2.0, NOW_MS)))
    assert outbox.acknowledged(again, None, 2.1) == [Stored(SOUL, item(1).key)]


def test_a_relay_that_is_away_is_waited_for_though_the_other_refused() -> None:
    outbox = make()
    outbox.opened(A, 0.0)
    (at_a,) = puts(sent(outbox.add(item(1), 0.0)))
    assert refuse(outbox, at_a, "Soul is full.", 0.1) == []
    (at_b,) = puts(sent(outbox.opened(B, 5.0)))
    assert outbox.acknowledged(at_b, None, 5.1) == [Stored(SOUL, item(1).key)]
    assert len(outbox) == 0


def value(text: str, state: float) -> Item:
    return Item(OWNED, "k", sea.sign_value(OWNED, "k", text, state, OWNER), state, 9e15)


def test_only_the_newest_value_of_a_key_is_kept_and_sent() -> None:
    outbox = make(relays=1)
    outbox.opened(A, 0.0)
    (old,) = puts(sent(outbox.add(value("one", 1), 0.0)))
    outbox.add(value("two", 2), 0.0)
    assert len(outbox) == 1
    assert outbox.acknowledged(old, None, 0.1) == []
    outbox.closed(A)
    (again,) = (message for message in sent(outbox.opened(A, 1.0)) if "put" in message)
    assert again["put"][OWNED]["_"][">"] == {"k": 2}
    assert outbox.acknowledged(again["#"], None, 1.1) == [Stored(OWNED, "k")]


def test_a_newer_value_of_the_owner_at_the_relay_ends_the_tries() -> None:
    outbox = make(relays=1, restored=(value("mine", 5),))
    (asked,) = gets(sent(outbox.opened(A, 0.0)))
    forged, older, newer = ("junk", 9), (value("old", 4).value, 4), (value("new", 6).value, 6)
    for cell in (forged, older):
        assert outbox.read_back(asked, {OWNED: {"k": cell}}, 0.1) == []
    assert outbox.read_back(asked, {OWNED: {"k": newer}}, 0.2) == [Stored(OWNED, "k")]


def test_a_replacement_needs_no_free_place() -> None:
    outbox = make()
    for number in range(module.MAX_ITEMS - 1):
        outbox.add(item(number), 0.0)
    outbox.add(value("one", 1), 0.0)
    outbox.add(value("two", 2), 0.0)
    assert len(outbox) == module.MAX_ITEMS


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


def test_the_same_leaf_again_is_stored_already_while_the_other_relay_is_served() -> None:
    outbox = make()
    outbox.opened(A, 0.0)
    (at_a,) = puts(sent(outbox.add(item(1), 0.0)))
    outbox.acknowledged(at_a, None, 0.1)
    assert outbox.add(item(1), 0.2) == [Stored(SOUL, item(1).key)]


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
