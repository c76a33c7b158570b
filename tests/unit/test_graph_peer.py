"""The peer machine: messages of relays reach the right part, bad ones are counted."""

from __future__ import annotations

import json

from sidecar.graph.core.effects import Connect, LeafFound, Ping, ReadDone, Renew, Retire, Stored
from sidecar.graph.core.peer import Peer
from sidecar.graph.core.renewal import OVERLAP_S, RETRY_S
from tests.graph_machines import NOW_MS, SOUL, Seeded, item, leaf, node, put, sent

A, B = "ws://a/gun", "ws://b/gun"


def connected(*urls: str) -> Peer:
    peer = Peer(urls or (A,), Seeded())
    peer.handle_timer(0.0, NOW_MS)
    for url in urls or (A,):
        peer.opened(url, 0.0)
    peer.take()
    return peer


def test_every_relay_is_connected_to_at_once() -> None:
    peer = Peer([A, B], Seeded())
    peer.handle_timer(0.0, NOW_MS)
    assert [effect.url for effect in peer.take() if isinstance(effect, Connect)] == [A, B]


def test_the_handshake_is_answered_with_the_same_pid_on_every_relay() -> None:
    peer = connected(A, B)
    pids = set()
    for url in (A, B):
        peer.received(url, '{"#":"hs","dam":"?","pid":"relay"}', 0.0, NOW_MS)
        (answer,) = sent(peer.take(), url)
        assert (answer["dam"], answer["@"]) == ("?", "hs")
        pids.add(answer["pid"])
    assert len(pids) == 1
    peer.received(A, '{"#":"hs2","@":"x","dam":"?","pid":"relay"}', 0.0, NOW_MS)
    assert peer.take() == []


def test_a_relay_of_ours_is_known_by_its_handshake() -> None:
    peer = connected(A, B)
    peer.received(A, '{"#":"hs","dam":"?","pid":"relay","aleph":1}', 0.0, NOW_MS)
    assert [link.aleph for link in peer.links] == [True, False]


def test_a_leaf_comes_in_and_an_ack_goes_to_the_outbox() -> None:
    peer = connected()
    number = peer.watch(SOUL, 0.0)
    peer.put(item(1), 0.0)
    (message_id,) = (message["#"] for message in sent(peer.take()) if "put" in message)
    peer.received(A, put("p1", SOUL, leaf(7)), 0.1, NOW_MS)
    peer.received(A, json.dumps({"#": "a1", "@": message_id, "ok": True}), 0.1, NOW_MS)
    assert peer.take() == [LeafFound(number, *leaf(7), NOW_MS), Stored(SOUL, item(1).key)]


def test_answers_in_parts_and_out_of_order_are_merged() -> None:
    peer = connected()
    number = peer.read(SOUL, 5.0, 0.0)
    plain, exact = (message["#"] for message in sent(peer.take()))
    peer.received(A, put("r2", SOUL, leaf(3), **{"@": plain}), 0.1, NOW_MS)
    peer.received(A, put("r1", SOUL, leaf(1), leaf(2), **{"@": plain, "%": "r2"}), 0.1, NOW_MS)
    peer.received(A, json.dumps([json.loads(put("r3", SOUL, leaf(1), **{"@": exact}))]), 0.1, NOW_MS)
    peer.handle_timer(1.0, NOW_MS)
    effects = peer.take()
    assert [effect.value for effect in effects if isinstance(effect, LeafFound)] == [
        leaf(3)[1], leaf(1)[1], leaf(2)[1]
    ]  # fmt: skip
    assert ReadDone(number, True) in effects


def test_one_bad_cell_does_not_hide_a_soul() -> None:
    peer = connected()
    peer.watch(SOUL, 0.0)
    peer.take()
    bad = node(SOUL, leaf(1), ("x", [1]), ("y", None))
    bad["_"][">"][leaf(1)[0]] = "zzz"
    peer.received(A, json.dumps({"#": "p", "put": {SOUL: bad, "toString": None}}), 0.0, NOW_MS)
    assert [effect.value for effect in peer.take() if isinstance(effect, LeafFound)] == [leaf(1)[1]]


def test_bad_frames_and_messages_are_counted() -> None:
    peer = connected()
    for text in ("{bad", "5", '[{"#":["x"]},{"get":{"#":{"*":""}}}]', "[]", '{"#":"d","dam":"mob","mob":1}'):
        peer.received(A, text, 0.0, NOW_MS)
    assert peer.take() == []
    assert peer.counters == {"bad-json": 1, "bad-frame": 1, "bad-envelope": 1, "soul-query": 1}


def test_a_relay_that_came_back_is_asked_and_served_again() -> None:
    peer = connected()
    peer.watch(SOUL, 0.0)
    peer.put(item(1), 0.0)
    peer.take()
    peer.closed(A, "gone", 1.0)
    peer.wake(1.0)
    peer.opened(A, 1.1)
    messages = sent(peer.take())
    assert [message.get("get") for message in messages] == [
        {"#": SOUL}, {"#": {"=": SOUL}}, None, {"#": SOUL, ".": item(1).key}
    ]  # fmt: skip


def test_the_next_deadline_is_the_earliest_of_all() -> None:
    peer = connected()
    deadlines = [link.next_deadline() for link in peer.links]
    assert peer.next_deadline() == min(deadline for deadline in deadlines if deadline is not None)
    peer.read(SOUL, 0.5, 0.0)
    assert peer.next_deadline() == 0.5


def named(peer: Peer, url: str) -> str:
    """The pid a relay is told."""
    peer.received(url, '{"#":"hs","dam":"?","pid":"relay"}', 0.0, NOW_MS)
    return sent(peer.take(), url)[-1]["pid"]


def day(peer: Peer, now: float) -> list[type]:
    """The kinds of effects about connections a day later."""
    for url in (A, B):
        peer.ponged(url, now)
    peer.handle_timer(now + 86_400.0, NOW_MS)
    return [type(effect) for effect in peer.take() if isinstance(effect, Renew | Retire | Connect)]


def test_a_connection_to_gun_js_is_renewed_each_day_under_a_new_name() -> None:
    peer = connected(A)
    peer.watch(SOUL, 0.0)
    peer.put(item(1), 0.0)
    before = named(peer, A)
    peer.ponged(A, 0.0)
    peer.handle_timer(86_400.0, NOW_MS)
    assert Renew(A) in peer.take()
    peer.handle_timer(86_401.0, NOW_MS)
    assert Renew(A) not in peer.take()
    peer.renewed(A, 86_402.0)
    effects = peer.take()
    assert Ping(A) in effects
    assert [message.get("get") for message in sent(effects)][:2] == [{"#": SOUL}, {"#": {"=": SOUL}}]
    assert any("put" in message for message in sent(effects))
    assert named(peer, A) != before
    peer.ponged(A, 86_402.1)
    peer.handle_timer(86_402.0 + OVERLAP_S, NOW_MS)
    assert Retire(A) in peer.take()


def test_no_connection_is_exchanged_to_our_relay_or_while_a_call_lives() -> None:
    peer = connected(A, B)
    peer.received(A, '{"#":"hs","dam":"?","pid":"relay","aleph":1}', 0.0, NOW_MS)
    peer.keep_close(True, 0.0)
    peer.take()
    assert day(peer, 86_390.0) == []
    peer.keep_close(False, 86_500.0 * 2)
    assert day(peer, 86_500.0 * 2) == [Renew]
    assert [url for url in (A, B) if peer._renewals[url].next_deadline(allowed=False) is None] == [A, B]


def test_a_renewal_that_fails_leaves_the_connection_and_comes_again() -> None:
    peer = connected(A)
    peer.ponged(A, 0.0)
    peer.handle_timer(86_400.0, NOW_MS)
    peer.take()
    peer.not_renewed(A, 86_401.0)
    peer.ponged(A, 86_401.0)
    assert peer.links[0].up
    peer.handle_timer(86_401.0 + RETRY_S, NOW_MS)
    assert Renew(A) in peer.take()


def test_what_stands_beside_a_connection_goes_with_it() -> None:
    for overlap in (False, True):
        peer = connected(A)
        peer.ponged(A, 0.0)
        peer.handle_timer(86_400.0, NOW_MS)
        if overlap:
            peer.renewed(A, 86_401.0)
        peer.take()
        peer.closed(A, "gone", 86_402.0)
        assert Retire(A) in peer.take()
        peer.renewed(A, 86_403.0)
        peer.not_renewed(A, 86_403.0)
        assert peer.take() == []
        assert not peer.links[0].up


def test_after_a_sleep_every_relay_is_probed_and_asked_again() -> None:
    peer = connected(A, B)
    peer.watch(SOUL, 0.0)
    peer.closed(B, "gone", 1.0)
    peer.take()
    peer.slept(8_000.0)
    effects = peer.take()
    assert Ping(A) in effects
    assert Connect(B) in effects
    assert [message["get"] for message in sent(effects, A)] == [{"#": SOUL}, {"#": {"=": SOUL}}]


def test_the_best_relay_comes_first() -> None:
    peer = connected(A, B)
    peer.ponged(A, 0.3)
    peer.ponged(B, 0.1)
    assert [link.url for link in peer.ranked(1.0)] == [B, A]
    peer.closed(B, "gone", 1.0)
    assert [link.url for link in peer.ranked(1.0)] == [A, B]
