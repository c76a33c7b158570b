"""The relay machine: what it answers, keeps, passes on and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sidecar.graph.core import leaves, rules
from sidecar.graph.core.router import ANSWERED_BYTES, Limits, Router
from sidecar.graph.store import Cells, MemoryStore, OnDone
from tests.graph_machines import NOW_MS, SOUL, Seeded, leaf, node, put


class Net:
    """A router with connections 1 to 4; ``say`` returns what each of them gets."""

    def __init__(self, store: MemoryStore | None = None, **limits: int) -> None:
        self.store = store or MemoryStore()
        self.router = Router(self.store, Seeded(), Limits(**limits))
        for connection in (1, 2, 3, 4):
            self.router.opened(connection)
        self.drain()
        self.now = 0.0
        self.now_ms = NOW_MS

    def drain(self) -> list[tuple[int, dict[str, Any]]]:
        return [
            (connection, json.loads(effect.text))
            for effect in self.router.take()
            for connection in effect.connections
        ]

    def say(self, connection: int, text: str | dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
        frame = text if isinstance(text, str) else json.dumps(text)
        self.router.received(connection, frame, self.now, self.now_ms)
        return self.drain()

    def get(self, connection: int, soul: str, **more: Any) -> list[dict[str, Any]]:
        """Ask, and return the answers; the relay's own question back is left out."""
        self.now += 0.001
        message = {"#": f"get{connection}-{self.now}", "get": {"#": soul, **more}}
        return [answer for to, answer in self.say(connection, message) if "@" in answer and to == connection]


def values(answers: list[dict[str, Any]], soul: str) -> dict[str, Any]:
    return {
        key: value
        for answer in answers
        for key, value in answer.get("put", {}).get(soul, {}).items()
        if key != "_"
    }


def ack(messages: list[tuple[int, dict[str, Any]]], at: str) -> tuple[int, Any]:
    ((connection, message),) = [entry for entry in messages if entry[1].get("@") == at]
    return connection, message.get("err") or message["ok"]


def test_a_connection_is_greeted() -> None:
    net = Net()
    net.router.opened(9)
    ((connection, hello),) = net.drain()
    assert (connection, hello["dam"], hello["aleph"]) == (9, "?", 1)
    ((_, answer),) = net.say(1, {"#": "hs", "dam": "?", "pid": "x"})
    assert (answer["@"], answer["pid"]) == ("hs", hello["pid"])
    assert net.say(1, {"#": "hs2", "dam": "?", "pid": "x", "@": "y"}) == []


def test_a_put_is_kept_passed_on_and_acknowledged() -> None:
    net = Net()
    net.get(2, "s")
    messages = net.say(1, put("p", "s", ("k", "v")))
    assert messages[0] == (2, {"#": "p", "put": {"s": node("s", ("k", "v"))}})
    assert ack(messages, "p") == (1, True)
    assert values(net.get(3, "s"), "s") == {"k": "v"}


def test_puts_go_to_those_who_asked_and_to_nobody_else() -> None:
    net = Net()
    net.get(2, "s", **{".": "k"})
    net.get(3, "t")
    assert [to for to, message in net.say(1, put("p", "s", ("k", 1))) if "put" in message] == [2]
    assert [to for to, message in net.say(1, put("q", "s", ("other", 1))) if "put" in message] == []
    assert [to for to, message in net.say(2, put("r", "s", ("k", 2))) if "put" in message] == []


def test_a_put_of_several_souls_is_cut_for_each_listener() -> None:
    net = Net()
    net.get(2, "s")
    net.get(3, "s")
    net.get(3, "t")
    both = {"#": "p", "put": {"s": node("s", ("k", 1)), "t": node("t", ("k", 1))}}
    souls = {to: set(message["put"]) for to, message in net.say(1, both) if "put" in message}
    assert souls == {2: {"s"}, 3: {"s", "t"}}


def test_unchanged_old_and_partly_old_puts_are_acknowledged_too() -> None:
    net = Net()
    net.say(1, put("p", "s", ("k", "new"), state=5))
    for message_id, state in (("same", 5), ("old", 4)):
        messages = net.say(1, put(message_id, "s", ("k", "new" if state == 5 else "old"), state=state))
        assert ack(messages, message_id) == (1, True)
    net.get(2, "s")
    partly = {"#": "q", "put": {"s": {"_": {"#": "s", ">": {"k": 1, "l": 6}}, "k": "old", "l": "new"}}}
    messages = net.say(1, partly)
    assert messages[0][1]["put"]["s"] == {"_": {"#": "s", ">": {"l": 6}}, "l": "new"}
    assert values(net.get(2, "s"), "s") == {"k": "new", "l": "new"}


def test_an_ack_comes_after_the_commit_and_delivery_before_it() -> None:
    class Slow(MemoryStore):
        done: list[OnDone] = []  # noqa: RUF012  (one store in this test)

        def write(self, changes: Mapping[str, Cells], on_done: OnDone) -> None:
            super().write(changes, lambda _: self.done.append(on_done))

    woken: list[bool] = []
    store = Slow()
    router = Router(store, Seeded(), Limits(), lambda: woken.append(True))
    router.opened(1)
    router.opened(2)
    router.received(2, '{"#":"g","get":{"#":"s"}}', 0.0, NOW_MS)
    router.take()
    router.received(1, put("p", "s", ("k", 1)), 0.0, NOW_MS)
    assert [effect.connections for effect in router.take()] == [(2,)]
    store.done.pop()(True)
    (effect,) = router.take()
    assert (effect.connections, json.loads(effect.text)["ok"], woken) == ((1,), True, [True])


def test_R13_a_write_that_was_lost_is_told() -> None:
    class Full(MemoryStore):
        def write(self, changes: Mapping[str, Cells], on_done: OnDone) -> None:
            on_done(False)

    net = Net(Full())
    assert ack(net.say(1, put("p", "s", ("k", 1))), "p") == (1, "Not stored.")
    assert net.router.failing
    assert net.get(1, "s")[0].keys() == {"#", "@"}


def test_R13_an_unchanged_put_does_not_say_that_the_disk_is_well() -> None:
    class Full(MemoryStore):
        full = False

        def write(self, changes: Mapping[str, Cells], on_done: OnDone) -> None:
            if self.full and changes:
                on_done(False)
            else:
                super().write(changes, on_done)

    store = Full()
    net = Net(store)
    net.say(1, put("p", "s", ("k", 1)))
    store.full = True
    net.say(1, put("q", "s", ("k", 2)))
    assert ack(net.say(1, put("r", "s", ("k", 1))), "r") == (1, True)
    assert net.router.failing


def test_every_get_is_answered_also_about_nothing() -> None:
    net = Net()
    net.say(1, put("p", "s", ("k", 1)))
    for more in ({}, {".": "k"}, {".": {"*": "k"}}):
        assert values(net.get(2, "s", **more), "s") == {"k": 1}
    for soul, more in (("t", {}), ("s", {".": "x"}), ("s", {".": {"*": "x"}})):
        (answer,) = net.get(2, soul, **more)
        assert answer.keys() == {"#", "@"}


def test_an_exact_get_answers_and_does_not_subscribe() -> None:
    net = Net()
    messages = net.say(2, {"#": "g", "get": {"#": {"=": "s"}}})
    assert [message["@"] for _, message in messages] == ["g"]
    assert [to for to, message in net.say(1, put("p", "s", ("k", 1))) if "put" in message] == []


def test_key_queries() -> None:
    net = Net()
    names = ["ab", "apple", "apricot", "b", "banana", "blue", "cherry", "z"]
    net.say(1, put("p", "s", *((name, "x" * 100) for name in names)))

    def ask(query: dict[str, Any], **more: Any) -> list[str]:
        return list(values(net.get(2, "s", **{".": query}, **more), "s"))

    assert ask({"*": "ap"}) == ["apple", "apricot"]
    assert ask({">": "b", "<": "c"}) == ["b", "banana", "blue"]
    assert ask({"*": "b", ">": "bl"}) == ["blue"]
    assert ask({"*": "", "-": 1}) == names[::-1]
    assert ask({"*": ""}, **{"%": 150}) == ["ab", "apple"]


def test_a_long_answer_comes_in_parts_that_say_so() -> None:
    net = Net(reply_bytes=1_000)
    for number in range(10):
        net.say(1, put(f"p{number}", "s", (f"k{number}", "x" * 400)))
    answers = net.get(2, "s")
    assert [answer.get("%") for answer in answers] == [1, 1, 1, None]
    assert len(values(answers, "s")) == 10


def test_replies_go_to_the_asker_alone() -> None:
    net = Net()
    net.get(2, "s")
    net.say(1, put("question", "s", ("k", 1)))
    messages = net.say(2, {"#": "r", "@": "question", "ok": {"rtc": {"hello": "B"}}})
    assert messages == [(1, {"#": "r", "@": "question", "ok": {"rtc": {"hello": "B"}}})]
    assert net.say(2, {"#": "r2", "@": "unknown", "ok": 1}) == []
    net.now += 60
    assert net.say(2, {"#": "r3", "@": "question", "ok": 1}) == []


def test_a_duplicate_message_is_handled_once() -> None:
    net = Net()
    net.get(2, "s")
    assert net.say(1, put("p", "s", ("k", 1)))
    assert net.say(3, put("p", "s", ("k", 2))) == []
    assert values(net.get(3, "s"), "s") == {"k": 1}


def test_messages_without_id_get_one() -> None:
    net = Net()
    ((_, message),) = net.say(1, {"put": {"s": node("s", ("k", 1))}})
    assert message["ok"] is True


def test_the_asker_is_asked_back_once_with_the_hash_of_what_is_known() -> None:
    net = Net()
    net.say(1, put("p", "s", ("k", 1), state=5))
    asked = [message for _, message in net.say(2, {"#": "g", "get": {"#": "s"}}) if "get" in message]
    assert [(message["get"], message["##"]) for message in asked] == [({"#": "s"}, asked[0]["##"])]
    assert [message for _, message in net.say(2, {"#": "h", "get": {"#": "s"}}) if "get" in message] == []
    net.get(3, "s")
    answer = json.loads(put("r", "s", ("offline", "words"), state=6)) | {"@": asked[0]["#"]}
    assert [(to, message["put"]["s"]["offline"]) for to, message in net.say(2, answer)] == [(3, "words")]
    assert [message for _, message in net.say(2, {"#": "i", "get": {"#": SOUL}}) if "get" in message] == []


def test_a_state_slightly_ahead_is_delivered_now_and_readable_when_due() -> None:
    net = Net()
    net.get(2, "s")
    messages = net.say(1, put("p", "s", ("k", 1), state=NOW_MS + 500))
    assert [to for to, message in messages if "put" in message] == [2]
    assert ack(messages, "p") == (1, True), "it is on disk, so nobody has to wait"
    assert values(net.get(3, "s"), "s") == {}
    assert net.router.next_due_ms() == NOW_MS + 500
    net.router.handle_timer(1.0, NOW_MS + 499)
    assert net.drain() == []
    net.router.handle_timer(1.0, NOW_MS + 500)
    messages = net.drain()
    assert sorted(to for to, message in messages if "put" in message) == [2, 3]
    net.now_ms += 500
    assert values(net.get(4, "s"), "s") == {"k": 1}
    assert net.router.next_due_ms() is None


def test_a_deferred_put_loses_against_what_came_meanwhile() -> None:
    net = Net()
    net.say(1, put("p", "s", ("k", "a"), state=NOW_MS + 500))
    net.now_ms += 600
    net.say(1, put("q", "s", ("k", "b"), state=NOW_MS + 550))
    net.router.handle_timer(1.0, net.now_ms)
    assert values(net.get(2, "s"), "s") == {"k": "b"}


def test_one_put_may_be_accepted_and_deferred_by_parts() -> None:
    net = Net()
    net.get(2, "s")
    states = {"k": NOW_MS, "l": NOW_MS + 500}
    messages = net.say(1, {"#": "p", "put": {"s": {"_": {"#": "s", ">": states}, "k": 1, "l": 2}}})
    assert [message["put"]["s"] for _, message in messages if "put" in message] == [
        {"_": {"#": "s", ">": states}, "k": 1, "l": 2}
    ]
    assert ack(messages, "p") == (1, True)
    assert values(net.get(3, "s"), "s") == {"k": 1}
    net.router.handle_timer(1.0, NOW_MS + 500)
    net.now_ms += 500
    assert values(net.get(3, "s"), "s") == {"k": 1, "l": 2}


def test_S09_the_far_future_is_refused_and_the_near_one_bounded() -> None:
    net = Net(deferred=3)
    assert ack(net.say(1, put("far", "s", ("k", 1), state=NOW_MS + 300_001)), "far")[1] == (
        "State is too far in the future."
    )
    for number in range(10):
        net.say(1, put(f"p{number}", f"s{number}", ("k", 1), state=NOW_MS + 300_000))
    assert len(net.store.deferred()) == 3
    assert net.router.counters["refused"] == 8


def test_S06_a_leaf_cannot_be_changed_by_anybody() -> None:
    net = Net()
    key, value = leaf(1)
    net.say(1, put("p", SOUL, (key, value)))
    net.get(2, SOUL)
    for number, forged in enumerate([None, "junk", 5, {"#": "x"}]):
        for state in (NOW_MS - 5, NOW_MS, NOW_MS + 5_000):
            message_id = f"forged{number}{state}"
            messages = net.say(3, put(message_id, SOUL, (key, forged), state=state))
            assert messages[0][1]["err"] == rules.NOT_ITS_HASH
            assert len(messages) == 1
    assert values(net.get(4, SOUL), SOUL) == {key: value}


def test_good_and_bad_in_one_message_are_refused_together() -> None:
    net = Net()
    messages = net.say(1, put("p", SOUL, leaf(1), (leaf(2)[0], "junk")))
    assert ack(messages, "p") == (1, rules.NOT_ITS_HASH)
    assert values(net.get(2, SOUL), SOUL) == {}


def test_time_limited_souls_end() -> None:
    net = Net()
    assert (
        ack(net.say(1, put("old", SOUL, leaf(1), state=NOW_MS - 90_001)), "old")[1]
        == "Too old for this soul."
    )
    net.say(1, put("p", SOUL, leaf(2)))
    assert values(net.get(2, SOUL), SOUL) == dict([leaf(2)])
    net.now_ms += 90_001
    assert values(net.get(2, SOUL), SOUL) == {}
    net.store.expire(net.now_ms)
    assert net.store.size(SOUL) == 0


def test_a_full_soul_takes_no_new_leaf_and_keeps_the_old() -> None:
    net = Net(leaf_soul_bytes=1_000, soul_bytes=1_000)
    first, second = leaf(1, size=600), leaf(2, size=600)
    assert ack(net.say(1, put("p", SOUL, first)), "p") == (1, True)
    assert ack(net.say(1, put("q", SOUL, second)), "q") == (1, "Soul is full.")
    assert ack(net.say(1, put("r", SOUL, first, state=NOW_MS + 0)), "r") == (1, True)
    assert values(net.get(2, SOUL), SOUL) == dict([first])
    assert ack(net.say(1, put("t", "public", ("k", "x" * 900))), "t") == (1, True)
    assert ack(net.say(1, put("u", "public", ("l", "x" * 900))), "u") == (1, "Soul is full.")
    assert ack(net.say(1, put("v", "public", ("k", "y" * 900), state=NOW_MS)), "v") == (1, True)


def test_S18_prototype_souls_are_refused_and_go_nowhere() -> None:
    net = Net()
    messages = net.say(1, put("p", "toString", ("k", 1)))
    assert len(messages) == 1
    assert "prototype" in ack(messages, "p")[1]
    ((_, answer),) = net.say(1, {"#": "g", "get": {"#": "toString"}})
    assert "err" in answer


def test_S19_nobody_lists_the_store() -> None:
    net = Net()
    net.say(1, put("p", "s", ("k", 1)))
    for query in ({"*": ""}, {">": "a"}):
        messages = net.say(2, {"#": f"g{query}", "get": {"#": query, "%": 50_000}})
        assert [list(message) for _, message in messages] == [["#", "@", "err"]]


def test_S19_subscriptions_over_the_bound_are_still_answered() -> None:
    net = Net(subscriptions=2)
    net.say(1, put("p", "s3", ("k", 1)))
    for number in range(5):
        answers = net.get(2, f"s{number}")
        assert len(answers) == 1
    assert [to for to, message in net.say(1, put("q", "s4", ("k", 1))) if "put" in message] == []


@pytest.mark.parametrize(
    "message",
    [
        {"#": "x", "dam": "hi"},
        {"#": "x", "dam": "opt", "opt": {"peers": "http://127.0.0.1:1/gun"}},
        {"#": "x", "dam": "mob", "mob": 1, "peers": {}},
        {"#": "x", "dam": "!", "err": "no"},
        {"#": "x", "signaling": "sdp", "to": "y"},
        {"#": "x"},
    ],
    ids=lambda message: str(message.get("dam")),
)
def test_other_messages_are_neither_answered_nor_passed_on(message: dict[str, Any]) -> None:
    assert Net().say(1, message) == []


@pytest.mark.parametrize("text", ["{bad", "[bad", "5", "[]", "[5]"])
def test_frames_that_hold_nothing(text: str) -> None:
    assert Net().say(1, text) == []


def test_a_batch_of_objects_and_strings_is_handled_in_order() -> None:
    net = Net()
    first, second = put("p", "s", ("k", 1), state=5), put("q", "s", ("k", 2), state=6)
    messages = net.say(1, json.dumps([json.loads(first), second, {"#": "bad", "put": 5}]))
    assert [(message["@"], "err" in message) for _, message in messages] == [
        ("p", False), ("q", False), ("bad", True)
    ]  # fmt: skip
    assert values(net.get(2, "s"), "s") == {"k": 2}


def test_two_writes_of_one_key_in_one_frame_end_with_the_newer() -> None:
    net = Net()
    newer, older = put("p", "s", ("k", "newer"), state=6), put("q", "s", ("k", "older"), state=5)
    net.say(1, json.dumps([newer, older]))
    assert values(net.get(2, "s"), "s") == {"k": "newer"}


def test_a_subscription_ends_on_request() -> None:
    net = Net()
    net.get(2, "s")
    assert net.say(2, {"#": "off", "dam": "off", "get": {"#": "s"}}) == []
    assert [to for to, message in net.say(1, put("p", "s", ("k", 1))) if "put" in message] == []


def test_a_client_that_does_not_ask_again_is_known_by_its_pid() -> None:
    net = Net()
    net.say(2, {"#": "hs", "dam": "?", "pid": "bob", "@": "x"})
    net.get(2, "s")
    net.router.closed(2, net.now)
    assert [to for to, message in net.say(1, put("p", "s", ("k", 1))) if "put" in message] == []
    net.router.opened(7)
    net.say(7, {"#": "hs2", "dam": "?", "pid": "bob", "@": "x"})
    assert [to for to, message in net.say(1, put("q", "s", ("k", 2))) if "put" in message] == [7]


def test_nothing_is_sent_to_a_connection_that_is_gone() -> None:
    net = Net()
    done: list[Callable[[bool], None]] = []
    net.store.write = lambda changes, on_done: done.append(on_done)
    net.say(1, put("p", "s", ("k", 1)))
    net.router.closed(1, 0.0)
    done[0](True)
    assert net.drain() == []


def test_a_soul_of_the_largest_size_is_answered_whole() -> None:
    net = Net()
    sent = dict(leaf(number, size=16_000) for number in range(30))
    for number, cell in enumerate(sent.items()):
        net.say(1, put(f"p{number}", SOUL, cell))
    assert sum(map(len, sent.values())) < leaves.MAX_SOUL_BYTES
    assert values(net.get(2, SOUL), SOUL) == sent


@pytest.mark.parametrize("named_first", [True, False])
def test_a_client_that_does_not_ask_again_is_told_what_it_missed_and_asked_for_what_it_wrote(
    named_first: bool,
) -> None:
    net = Net()
    first, then = {"dam": "?", "pid": "one", "@": "x", "#": "h1"}, {"#": "g", "get": {"#": "s"}}
    for message in (first, then) if named_first else (then, first):
        net.say(1, message)
    net.router.closed(1, 1.0)
    net.say(2, put("p", "s", ("k", "new")))
    net.router.opened(9)
    messages = net.say(9, {"dam": "?", "pid": "one", "@": "x", "#": "h2"})
    told = [message for to, message in messages if to == 9 and "put" in message]
    assert [message["put"]["s"]["k"] for message in told] == ["new"]
    assert {"#": "s"} in [message["get"] for to, message in messages if to == 9 and "get" in message]
    assert [to for to, message in net.say(2, put("q", "s", ("k", "z"))) if "put" in message] == [9]


def test_writes_that_wait_for_a_stalled_disk_are_bounded() -> None:
    class Stalled(MemoryStore):
        def write(self, changes, on_done) -> None:
            waiting.append(on_done)

    waiting: list = []
    router = Router(Stalled(), Seeded(), Limits(unwritten_bytes=1_000))
    router.opened(1)
    for number in range(50):
        router.received(1, put(f"p{number}", f"s{number}", ("k", "x" * 100)), 1.0, NOW_MS)
    assert len(waiting) < 15
    assert router.failing
    for on_done in waiting:
        on_done(True)
    router.received(1, put("last", "s", ("k", 1)), 1.0, NOW_MS)
    waiting[-1](True)
    assert not router.failing


def test_one_small_frame_of_questions_is_answered_some_megabytes_at_most() -> None:
    net = Net()
    for number in range(20):
        net.say(1, put(f"p{number}", "large", (f"k{number}", "x" * 20_000)))
    asked = json.dumps([{"#": f"g{number}", "get": {"#": "large"}} for number in range(1_000)])
    cost = net.router.received(2, asked, 1.0, NOW_MS)
    sent = net.router.take()
    assert sum(len(effect.text) for effect in sent) < ANSWERED_BYTES + 2_000_000
    refused = [effect for effect in sent if "Too much asked at once." in effect.text]
    answered = {json.loads(effect.text)["@"] for effect in sent if '"@"' in effect.text}
    assert len(answered) == 1_000, "each question hears something"
    assert len(refused) == net.router.counters["too-much-asked"] > 900
    assert cost == 1_000
    assert 5 < net.router.received(2, json.dumps({"#": "one", "get": {"#": "large"}}), 2.0, NOW_MS) < 10
    assert net.router.take()


def test_a_client_whose_frame_was_too_large_hears_it_and_is_asked_nothing_more() -> None:
    net = Net(frame_bytes=5_000)
    net.say(1, {"dam": "?", "pid": "p"})
    asked = net.say(2, {"#": "g", "get": {"#": "s"}})
    assert any(to == 1 for to, _ in asked), "what is missing is asked of others"
    ((to, alarm),) = net.say(1, {"#": "a", "@": "g", "put": {}, "x": "x" * 5_000})
    assert (to, alarm["dam"], alarm["err"]) == (1, "!", "Message too big!")
    net.now += 5
    assert all(to == 2 for to, _ in net.say(2, {"#": "h", "get": {"#": "t"}}))
    assert ack(net.say(1, put("p", "s", ("k", 1))), "p") == (1, True)
