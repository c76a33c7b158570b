"""What a real gun.js relay did when probed (tests/vectors/gun/probes_*.json), asked of ours.

Each probe holds what came back to connection A, which spoke, and to B, which listened. Where ours differs on
purpose, the test says how: it always answers, always acknowledges, and passes nothing on unasked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.graph.core import lex, nodes, rules, sea, wire
from sidecar.graph.core.leaves import make_key
from sidecar.graph.core.router import Limits, Router
from sidecar.graph.store import MemoryStore
from tests.graph_machines import Seeded, node

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "gun"
PROBES: dict[str, dict[str, Any]] = {
    mode: json.loads((VECTORS / f"probes_axe_{mode}.json").read_text(encoding="utf-8"))
    for mode in ("off", "on")
}
MISC: dict[str, Any] = json.loads((VECTORS / "misc.json").read_text(encoding="utf-8"))
OFF = PROBES["off"]
A, B = 1, 2
both_modes = pytest.mark.parametrize("mode", ["off", "on"])


class Relay:
    """Our router with two clients; A's and B's mail since the last look."""

    def __init__(self, now_ms: float) -> None:
        self.router = Router(MemoryStore(), Seeded(1), Limits())
        self.now_ms = now_ms
        self._ids = 0
        for connection in (A, B):
            self.router.opened(connection)
        self.greetings = self.mail()

    def mail(self) -> dict[int, list[dict[str, Any]]]:
        box: dict[int, list[dict[str, Any]]] = {A: [], B: []}
        for effect in self.router.take():
            for connection in effect.connections:
                box[connection] += wire.read_frame(effect.text)
        return box

    def says(self, connection: int, message: dict[str, Any] | str | bytes) -> dict[int, list[dict[str, Any]]]:
        """Everything it leads to, but for the get-backs, which ask and tell nothing."""
        if isinstance(message, dict):
            self._ids += 1
            message = json.dumps({"#": f"m{self._ids}", **message})
        self.router.received(connection, message, 0.0, self.now_ms)
        return {
            name: [mail for mail in box if "get" not in mail or "dam" in mail]
            for name, box in self.mail().items()
        }

    def gets(self, connection: int, soul: str, **more: Any) -> dict[str, Any]:
        (answer,) = self.says(connection, {"get": {"#": soul, **more}})[connection]
        return answer

    def puts(self, connection: int, graph: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
        return self.says(connection, {"put": graph})


def came_to(probe: dict[str, Any], who: str = "A") -> list[dict[str, Any]]:
    """What the probe saw there, but for what an AXE-off relay floods: others' gets."""
    return [line["m"] for line in probe.get(who, []) if "get" not in line["m"]]


def graph_of(probe: dict[str, Any], who: str = "B") -> dict[str, Any]:
    (graph,) = [message["put"] for message in came_to(probe, who)]
    return dict(graph)


def states(graph: dict[str, Any]) -> float:
    return max(state for one in graph.values() for state in one["_"][">"].values())


def relay_after_first_put() -> tuple[Relay, dict[str, Any]]:
    graph = graph_of(OFF["put_first"])
    relay = Relay(states(graph))
    assert kinds(relay.puts(A, graph)[A]) == kinds(came_to(OFF["put_first"])) == ["ok"]
    return relay, graph


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [next((kind for kind in ("ok", "err", "put") if kind in one), "none") for one in messages]


@both_modes
def test_handshake(mode: str) -> None:
    relay = Relay(0)
    (greeting,) = relay.greetings[A]
    (seen,) = came_to(PROBES[mode]["handshake_relay_first"])
    assert {*greeting} == {*seen} | {"aleph"}
    (answer,) = relay.says(A, {"#": "hs", "dam": "?", "pid": "AAA"})[A]
    (seen,) = came_to(PROBES[mode]["handshake_client_asks"])
    assert {*answer} == {*seen} | {"aleph"}
    assert answer["@"] == "hs"
    assert answer["pid"] == greeting["pid"]


@both_modes
def test_gets(mode: str) -> None:
    probes = PROBES[mode]
    relay, graph = relay_after_first_put()
    assert {*relay.gets(A, "missing")} == {*came_to(probes["get_missing_soul"])[0]} == {"#", "@"}
    assert {*relay.gets(B, "ps", **{".": "nokey"})} == {
        *came_to(probes["get_key_missing_on_existing_soul"], "B")[0]
    }
    for again in ("get_soul", "get_soul_again_newid"):
        (seen,) = came_to(probes[again], "B")
        found = relay.gets(B, "ps")["put"]["ps"]
        assert {*found} <= {*seen["put"]["ps"]}  # "c" came between the two probes
        assert nodes.content_hash(nodes.read_graph(seen["put"])) == seen["##"]
    (seen,) = came_to(probes["get_key"], "B")
    found = relay.gets(B, "ps", **{".": "a"})["put"]
    assert found["ps"]["a"] == seen["put"]["ps"]["a"] == graph["ps"]["a"]
    assert [*found["ps"]] == ["_", "a"]


def test_puts_that_change_nothing_are_acknowledged_and_told_to_nobody() -> None:
    """gun.js acknowledges neither (the writer waits 9 s), and floods both with AXE off."""
    relay, graph = relay_after_first_put()
    relay.gets(B, "ps")
    for probe in ("put_identical_again_newid", "put_older_state"):
        told = relay.puts(A, graph_of(OFF[probe]))
        assert (kinds(told[A]), kinds(told[B])) == (["ok"], [])
        assert came_to(OFF[probe]) == []
    assert relay.gets(B, "ps")["put"] == graph


@both_modes
def test_a_put_that_is_partly_old(mode: str) -> None:
    relay, _ = relay_after_first_put()
    relay.gets(B, "ps")
    graph = graph_of(OFF["put_partly_old"])
    relay.now_ms = states(graph)
    told = relay.puts(A, graph)
    assert kinds(told[A]) == kinds(came_to(PROBES[mode]["put_partly_old"])) == ["ok"]
    assert [*told[B][0]["put"]["ps"]] == ["_", "c"]
    (seen,) = came_to(OFF["get_soul"], "B")
    assert relay.gets(B, "ps")["put"] == seen["put"]


@both_modes
def test_puts_go_to_those_who_asked(mode: str) -> None:
    relay, _ = relay_after_first_put()
    relay.gets(B, "ps")
    graph = graph_of(PROBES[mode]["put_after_B_subscribed"])
    relay.now_ms = states(graph)
    told = relay.puts(A, graph)
    assert kinds(told[A]) == ["ok"]
    assert told[B][0]["put"] == graph
    graph = graph_of(OFF["put_unsubscribed_soul"])
    relay.now_ms = states(graph)
    told = relay.puts(A, graph)
    assert (kinds(told[A]), told[B]) == (["ok"], came_to(PROBES["on"]["put_unsubscribed_soul"], "B"))


def test_an_id_counts_once() -> None:
    relay, _ = relay_after_first_put()
    relay.gets(B, "ps")
    graph = graph_of(OFF["dup_msg_id"])
    relay.now_ms = states(graph)
    told = relay.says(A, {"#": "dup", "put": graph})
    assert (kinds(told[A]), kinds(told[B])) == (["ok"], ["put"])
    graph["ps"]["d"] = 2
    told = relay.says(A, {"#": "dup", "put": graph})
    assert (told[A], told[B]) == ([], [])
    (seen,) = OFF["dup_msg_id"]["Bget"]
    assert relay.gets(B, "ps", **{".": "d"})["put"] == seen["m"]["put"]


@both_modes
def test_a_state_in_the_future_is_readable_when_due(mode: str) -> None:
    """As with AXE off a subscriber hears at once; unlike both, the writer is told once it is kept."""
    probe = PROBES[mode]["future_state_2s"]
    (line,) = probe["Bafter"]
    graph = line["m"]["put"]
    due = states(graph)
    relay = Relay(due - 1500)
    relay.gets(B, "ps", **{".": "f"})
    told = relay.puts(A, graph)
    assert kinds(told[A]) == ["ok"]
    assert {*relay.gets(A, "ps", **{".": "f"})} == {"#", "@"}
    relay.now_ms = due
    relay.router.handle_timer(2.0, due)
    assert kinds(relay.mail()[A]) == ["put"]  # its own get subscribed it
    assert relay.gets(B, "ps", **{".": "f"})["put"] == graph


@both_modes
def test_ties_settle_as_in_gun(mode: str) -> None:
    for number, vector in enumerate(PROBES[mode]["ham_tie"]):
        relay, soul, state = Relay(vector["state"]), f"tie{number}", vector["state"]
        for value in (vector["first"], vector["second"]):
            relay.puts(A, {soul: node(soul, ("k", value), state=state)})
        winner = relay.gets(B, soul)["put"][soul]["k"]
        assert (winner, type(winner)) == (vector["winner"], type(vector["winner"]))


def test_invalid_puts_are_refused_with_an_error_and_told_to_nobody() -> None:
    """gun.js answers none of them, floods most, and keeps a state that is text."""
    relay = Relay(1.8e12)
    relay.gets(B, "x")
    seen = {name: graph_of(probe) for name, probe in OFF["invalid_puts"].items() if came_to(probe, "B")}
    bad = {
        **seen,
        "no_meta": {"x": {"a": 1}},
        "soul_mismatch": {"x": node("y", ("a", 1))},
        "null_node": {"x": None},
    }
    fine = bad.pop("huge_num")
    assert {*bad} == {*OFF["invalid_puts"]} - {"huge_num"}
    for graph in bad.values():
        told = relay.puts(A, graph)
        assert (kinds(told[A]), told[B]) == (["err"], [])
    told = relay.puts(A, fine)
    assert (kinds(told[A]), told[B][0]["put"]) == (["ok"], fine)


def test_bad_frames_are_counted_and_the_connection_lives() -> None:
    relay, _ = relay_after_first_put()
    frames: dict[str, str | bytes] = {
        "not_json": "{bad",
        "not_json_arr": "[bad",
        "plain": "hello",
        "empty_arr": "[]",
        "number": "5",
        "unknown_dam": '{"dam":"zzz","#":"ud"}',
        "dam_hi": '{"dam":"hi","#":"dh"}',
        "unknown_field": '{"#":"uf","foo":1}',
        "binary": bytes(range(256)),
    }
    assert {*frames} == {*OFF["bad_frames"]} - {"nested_string", "no_id_get"}
    for name, frame in frames.items():
        told = relay.says(A, frame)
        assert (told[A], told[B]) == ([], []), name
    assert sum(relay.router.counters.values()) == 6  # all but the keep-alive and the two control messages
    nested = json.dumps([json.dumps({"#": "nested", "get": {"#": "ps", ".": "a"}})])
    (seen,) = came_to(OFF["bad_frames"]["nested_string"])
    (answer,) = relay.says(A, nested)[A]
    assert (answer["@"], [*answer["put"]["ps"]]) == ("nested", [*seen["put"]["ps"]])
    (answer,) = relay.says(A, '{"get":{"#":"ps",".":"a"}}')[A]
    assert {"@", "put"} <= {*answer} & {*came_to(OFF["bad_frames"]["no_id_get"])[0]}


def test_a_get_with_the_hash_of_what_is_known_is_still_answered() -> None:
    """gun.js stays silent, and a client of it waits."""
    relay, _ = relay_after_first_put()
    first = OFF["hash_dedupe_get"]["first"]
    assert OFF["hash_dedupe_get"]["with_same_hash"] == []
    assert nodes.content_hash(nodes.read_graph(first["put"])) == first["##"]
    (answer,) = relay.says(A, {"##": first["##"], "get": {"#": "ps", ".": "a"}})[A]
    assert "put" in answer


def test_an_answer_to_anothers_get_reaches_the_asker_and_is_kept() -> None:
    """Ours does not flood the get: the get-back of whoever asks for the soul brings the answer."""
    probe = OFF["get_answered_by_peer"]
    (graph,) = [message["put"] for message in came_to(probe) if "put" in message]
    ((soul, _),) = graph.items()
    relay = Relay(states(graph))
    relay.says(A, {"#": "asked", "get": {"#": soul, ".": "k"}})
    told = relay.says(B, {"#": "answer", "@": "asked", "put": graph})
    assert [message["put"] for message in told[A]] == [graph]
    assert relay.gets(B, soul)["put"] == graph


@both_modes
def test_a_reply_finds_its_way_back(mode: str) -> None:
    probe = PROBES[mode]["ephemeral_ack_route"]
    (graph,) = [line["m"]["put"] for line in probe["B_saw"]]
    relay = Relay(states(graph))
    relay.gets(B, "ps")
    (passed,) = relay.says(A, {"#": "eph", "put": graph})[B]
    note = next(
        line["m"]["ok"] for line in probe["A"] if isinstance(line["m"].get("ok"), dict) and "@" in line["m"]
    )
    (reply,) = relay.says(B, {"#": "r", "@": passed["#"], "ok": note})[A]
    assert (reply["@"], reply["ok"]) == ("eph", note)


KEYS = ("ab", "apple", "apricot", "b", "banana", "blue", "cherry", "z")


@both_modes
def test_queries(mode: str) -> None:
    """With a limit as in gun.js; without one all matches, where gun.js gives the first only."""
    relay = Relay(5.0)
    relay.puts(A, {"lexn": node("lexn", *((key, 1) for key in KEYS), state=1.0)})
    relay.puts(A, {"room/1": node("room/1", ("t", 1), state=1.0)})
    asked = 0
    for vector in PROBES[mode]["lex"]:
        query = dict(vector["q"])
        if isinstance(query["#"], dict):
            (answer,) = relay.says(B, {"get": query | ({"#": {"=": "room/1"}} if "=" in query["#"] else {})})[
                B
            ]
            assert ("put" in answer) is ("=" in query["#"])
            continue
        answer = relay.gets(B, "lexn", **{name: value for name, value in query.items() if name != "#"})
        ours = [key for key in answer["put"]["lexn"] if key != "_"]
        theirs = [
            key for reply in vector["replies"] for keys in reply.get("put", {}).values() for key in keys
        ]
        assert {*theirs} <= {*ours}
        if query.get("%") == 50_000:
            assert {*theirs} == {*ours}
        if query.get(".", {}).get("-"):
            assert ours == sorted(KEYS, reverse=True)
        assert ours == [key for key in KEYS if lex.selects(key, query.get(".", {}))] or "-" in query["."]
        asked += 1
    assert asked == 14


def test_many_keys_come_in_parts_that_merge_to_the_whole() -> None:
    chunks = OFF["many_keys_chunks"]
    assert max(chunk["keys"] for chunk in chunks) == sum(chunk["keys"] for chunk in chunks) / 2
    relay = Relay(5.0)
    cells = [(f"k{number:02}", "x" * 4_000) for number in range(40)]
    for start in range(0, 40, 20):
        relay.puts(A, {"mk": node("mk", *cells[start : start + 20], state=1.0)})
    answers = relay.says(B, {"get": {"#": "mk"}})[B]
    assert len(answers) > 2
    assert [*map(bool, [answer.get("%") for answer in answers])] == [True] * (len(answers) - 1) + [False]
    merged = {key: value for answer in answers for key, value in answer["put"]["mk"].items() if key != "_"}
    assert merged == dict(cells)


def test_the_rules_of_a_relay_at_work() -> None:
    pub = sea.make_pair(Seeded(4))["pub"]
    state = 1_795_335_310_366.0
    relay = Relay(state)

    def told(soul: str, key: str, value: Any, at: float = state) -> str | None:
        relay.gets(B, soul)
        mail = relay.puts(A, {soul: node(soul, (key, value), state=at)})
        assert bool(mail[B]) is ("ok" in mail[A][0])
        return mail[A][0].get("err")

    digest = make_key(bytes(16), "hello").partition("#")[2]
    probes = OFF["sea_unsigned"]
    ours = {
        "user_unsigned": told(f"~{pub}", "name", "x"),
        "user_pub_ok": told(f"~{pub}", "pub", pub),
        "user_pub_bad": told(f"~{pub}", "pub", "other"),
        "user_sub_unsigned": told(f"~{pub}/x", "name", "x"),
        "alias_ok": told("~@alice", f"~{pub}", {"#": f"~{pub}"}),
        "alias_bad": told("~@alice", f"~{pub}", "nope"),
        "alias_list_ok": told("~@", "alice", {"#": "~@alice"}),
        "hash_ok": told("#", digest, "hello"),
        "hash_bad": told("#", digest, "hell0"),
        "hash_suffix_ok": told("x#", f"y#{digest}", "hello"),
        "hash_hex_ok": told(
            "x#", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "hello"
        ),
        "soul_with_expiry_old": told("e<?5", "k", 1, state - 10_000),
        "soul_with_expiry_new": told("e<?5", "k", 2),
    }
    assert {*ours} == {*probes}
    theirs = {
        name: next((m["err"] for m in came_to(probe) if "err" in m), None) for name, probe in probes.items()
    }
    assert ours == theirs | {
        "alias_bad": rules.WRONG_ALIAS,
        "soul_with_expiry_old": "Too old for this soul.",
    }


def test_what_a_client_may_not_make_a_relay_do() -> None:
    """``opt`` opened an outgoing connection and ``mob`` sent clients elsewhere; ours answers neither."""
    relay = Relay(0)
    assert [json.loads(text)["dam"] for _, text in MISC["opt"]] == ["?", "opt"]
    told = relay.says(A, {"#": "o1", "dam": "opt", "opt": {"peers": "http://127.0.0.1:9/gun"}})
    assert (told[A], told[B]) == ([], [])
    told = relay.says(A, {"dam": "mob", "mob": 2, "peers": {"http://127.0.0.1:9/gun": {}}})
    assert (told[A], told[B]) == ([], [])
    assert [reply for _, reply in MISC["mob"]["m2"]][-1] == "CLOSE 1005"


def test_two_connections_of_one_pid_are_both_kept() -> None:
    assert not any("CLOSE" in text for lines in MISC["samepid"].values() for _, text in lines)
    relay = Relay(5.0)
    for connection in (A, B):
        relay.says(connection, {"dam": "?", "pid": "SAME", "@": "x"})
    assert relay.gets(A, "s")
    assert relay.gets(B, "s")
    told = relay.puts(A, {"s": node("s", ("k", 1), state=1.0)})
    assert kinds(told[B]) == ["put"]


def test_an_unknown_message_is_dropped_and_an_id_is_known_for_a_while() -> None:
    """gun.js floods it; ``dup`` shows that its table forgets between 5 and 26 s, on new traffic only."""
    assert (MISC["dup"]["after5s"], MISC["dup"]["after26s"]) == (0, 1)
    relay = Relay(5.0)
    graph = {"s": node("s", ("k", 1), state=1.0)}
    for at, acks in ((0.0, 1), (5.0, 0), (31.0, 1)):
        relay.router.received(A, json.dumps({"#": "dupw", "put": graph}), at, 5.0)
        assert len(relay.mail()[A]) == acks


def test_a_reconnected_client_gets_on() -> None:
    """The transcript of a client that lost its relay, spoken to ours."""
    lines = [*map(json.loads, (VECTORS / "frames_reconnect.jsonl").read_text(encoding="utf-8").splitlines())]
    relay = Relay(1_795_336_330_000.0)
    acknowledged = 0
    for line in lines:
        if line["dir"] == "c>r":
            acknowledged += sum("ok" in mail for mail in relay.says(A, line["raw"])[A])
        elif line["dir"] == "close":
            relay.router.closed(A, 1.0)
            relay.router.opened(A)
            relay.mail()
    assert acknowledged == 2
    assert {key: relay.gets(B, "rc")["put"]["rc"][key] for key in "xy"} == {"x": 1, "y": 2}
