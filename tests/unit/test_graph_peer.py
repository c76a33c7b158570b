"""The peer machine: messages of relays reach the right part, bad ones are counted."""

from __future__ import annotations

import json

from sidecar.graph.core.effects import Connect, LeafFound, ReadDone, Stored
from sidecar.graph.core.peer import Peer
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
