"""When a relay is connected to, pinged and given up: virtual time, every (state, event) pair."""

from __future__ import annotations

import pytest

from sidecar.graph.core import link as module
from sidecar.graph.core.effects import Connect, Disconnect, Effect, LinkChanged, LinkState, Ping
from sidecar.graph.core.link import Link
from tests.graph_machines import Seeded

URL = "ws://relay/gun"


def make(state: LinkState, now: float = 0.0) -> Link:
    link = Link(URL, Seeded())
    if state is not LinkState.DOWN:
        link.handle_timer(now)
    if state is LinkState.UP:
        link.opened(now)
    assert link.state is state
    return link


def kinds(effects: list[Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


TABLE = {
    (LinkState.DOWN, "timer"): (LinkState.CONNECTING, ["LinkChanged", "Connect"]),
    (LinkState.DOWN, "opened"): (LinkState.DOWN, []),
    (LinkState.DOWN, "closed"): (LinkState.DOWN, []),
    (LinkState.DOWN, "wake"): (LinkState.CONNECTING, ["LinkChanged", "Connect"]),
    (LinkState.CONNECTING, "timer"): (LinkState.CONNECTING, []),
    (LinkState.CONNECTING, "opened"): (LinkState.UP, ["LinkChanged", "Ping"]),
    (LinkState.CONNECTING, "closed"): (LinkState.DOWN, ["LinkChanged"]),
    (LinkState.CONNECTING, "wake"): (LinkState.CONNECTING, []),
    (LinkState.UP, "timer"): (LinkState.UP, []),
    (LinkState.UP, "opened"): (LinkState.UP, []),
    (LinkState.UP, "closed"): (LinkState.DOWN, ["LinkChanged"]),
    (LinkState.UP, "wake"): (LinkState.UP, []),
}


@pytest.mark.parametrize(("state", "event"), TABLE, ids=lambda value: getattr(value, "value", value))
def test_every_pair_is_decided(state: LinkState, event: str) -> None:
    link = make(state)
    effects = {
        "timer": lambda: link.handle_timer(0.0),
        "opened": lambda: link.opened(0.0),
        "closed": lambda: link.closed("gone", 0.0),
        "wake": lambda: link.wake(0.0),
    }[event]()
    assert (link.state, kinds(effects)) == TABLE[state, event]


def test_retries_back_off_with_jitter_and_stop_growing() -> None:
    link, now, waits = make(LinkState.DOWN), 0.0, []
    for _ in range(12):
        assert link.handle_timer(now)
        link.closed("refused", now)
        deadline = link.next_deadline()
        assert deadline is not None
        waits.append(deadline - now)
        now = deadline
    for number, wait in enumerate(waits):
        longest = min(module.MAX_RETRY_S, module.FIRST_RETRY_S * 2**number)
        assert longest / 2 <= wait < longest
    assert len(set(waits)) == len(waits)


def test_a_stable_connection_starts_the_backoff_anew() -> None:
    link = make(LinkState.DOWN)
    for _ in range(6):
        link.handle_timer(1e9)
        link.closed("refused", 0.0)
    link.handle_timer(1e9)
    link.opened(100.0)
    link.closed("gone", 100.0 + module.STABLE_S)
    assert (link.next_deadline() or 0) - 100.0 - module.STABLE_S < module.FIRST_RETRY_S


def test_a_ping_measures_and_comes_again() -> None:
    link = make(LinkState.UP)
    link.ponged(0.012)
    assert link.rtt_ms == pytest.approx(12)
    assert link.next_deadline() == pytest.approx(0.012 + module.PING_EVERY_S)
    assert link.handle_timer(0.012 + module.PING_EVERY_S) == [Ping(URL)]


def test_a_relay_that_does_not_pong_is_dropped() -> None:
    link = make(LinkState.UP)
    assert link.handle_timer(module.PONG_WITHIN_S - 0.001) == []
    assert link.handle_timer(module.PONG_WITHIN_S) == [
        Disconnect(URL),
        LinkChanged(URL, LinkState.UP, LinkState.DOWN, "no pong"),
    ]
    assert link.closed("cancelled", module.PONG_WITHIN_S) == []


def test_waking_finds_a_dead_connection_sooner() -> None:
    link = make(LinkState.UP)
    link.ponged(0.0)
    assert link.wake(10.0) == [Ping(URL)]
    assert link.wake(10.1) == []
    assert link.next_deadline() == pytest.approx(10.0 + module.WAKE_PONG_WITHIN_S)


def test_waking_shortens_a_wait_that_runs() -> None:
    link = make(LinkState.DOWN)
    for _ in range(8):
        link.handle_timer(1e9)
        link.closed("refused", 0.0)
    assert link.wake(0.0) == [LinkChanged(URL, LinkState.DOWN, LinkState.CONNECTING, "due"), Connect(URL)]


def test_a_new_connection_knows_nothing_of_the_last_ones_dialect() -> None:
    link = make(LinkState.UP)
    link.aleph = True
    link.closed("gone", 0.0)
    assert not link.aleph


def test_a_relay_is_pinged_more_often_while_a_call_lives() -> None:
    link = make(LinkState.UP)
    link.ponged(0.0)
    link.keep_close(True, 1.0)
    assert link.next_deadline() == pytest.approx(1.0 + module.CLOSE_PING_EVERY_S)
    assert link.handle_timer(11.0) == [Ping(URL)]
    link.ponged(11.01)
    assert link.next_deadline() == pytest.approx(11.01 + module.CLOSE_PING_EVERY_S)
    link.keep_close(False, 12.0)
    link.handle_timer(22.0)
    link.ponged(22.0)
    assert link.next_deadline() == pytest.approx(22.0 + module.PING_EVERY_S)


def test_a_silent_relay_is_replaced_at_once_while_a_call_lives() -> None:
    link = make(LinkState.UP)
    link.ponged(0.0)
    link.keep_close(True, 0.0)
    link.handle_timer(10.0)
    late = 10.0 + module.CLOSE_PONG_WITHIN_S
    assert kinds(link.handle_timer(late)) == ["Disconnect", "LinkChanged"]
    assert kinds(link.handle_timer(late)) == ["LinkChanged", "Connect"]
    link.closed("refused", late)
    assert (link.next_deadline() or 0) > late


def test_after_a_sleep_the_missing_pong_proves_nothing() -> None:
    link = make(LinkState.UP)
    assert link.probe(1_000.0) == [Ping(URL)]
    assert link.handle_timer(1_000.0) == []
    link.ponged(1_000.2)
    assert link.rtt_ms == pytest.approx(200)


def test_relays_are_ranked_by_connection_failures_and_round_trip() -> None:
    up, failing, slow, down = (make(LinkState.UP) for _ in range(4))
    for link in (up, failing, slow):
        link.ponged(0.01)
    slow.rtt_ms = 300.0
    for link in (failing, down):
        link.closed("gone", 1.0)
    failing.handle_timer(2.0)
    failing.opened(2.0)
    failing.ponged(2.01)
    ranked = sorted([down, failing, slow, up], key=lambda link: link.rank(3.0))
    assert ranked == [up, slow, failing, down]
    assert failing.rank(1.0 + module.RECENT_S) < slow.rank(1.0 + module.RECENT_S)
    for _ in range(100):
        down.handle_timer(1e9)
        down.closed("refused", 1.0)
    assert down.rank(1.0)[1] == module.MAX_FAILURES
