"""A relay that wants to harm its clients: it fails, and they keep their connection (FAULTS S06, S18, S19)."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from sidecar.graph.core import leaves, sea
from tests.fuzz.graph_frames import frame
from tests.graph_machines import Seeded, node
from tests.graph_nodes import SOUL, Heard, graph_client, leaf
from tests.security.relays import bad_relay

MEGABYTE = 1_000_000


def put(message_id: str, soul: str, *cells: tuple[str, Any], state: Any = None) -> str:
    when = time.time() * 1000 if state is None else state
    return json.dumps({"#": message_id, "put": {soul: node(soul, *cells, state=when)}})


def can_be_sent(text: str | bytes) -> bool:
    """A WebSocket carries UTF-8; what is too large for the client ends the connection, as it should."""
    return len(text) < MEGABYTE and (isinstance(text, bytes) or not re.search("[\ud800-\udfff]", text))


async def test_S18_junk_from_a_relay_is_dropped_and_the_connection_stays() -> None:
    key, value = leaf("genuine")
    heard = Heard()
    junk: list[str | bytes] = [
        *(text for text in map(frame, range(600)) if can_be_sent(text)),
        "[" * 1_000 + "]" * 1_000,
        put("null", SOUL, (key, None)),
        put("other", SOUL, (key, "something else")),
        put("number", SOUL, (key, 5)),
        put("link", SOUL, (key, {"#": SOUL})),
        put("far", SOUL, (key, None), state=9e15),
        put("text", SOUL, (key, None), state="9"),
        put("big", SOUL, leaf("x" * MEGABYTE)),
        put("proto", SOUL, ("__proto__", "x"), ("constructor", "y")),
    ]
    async with bad_relay() as relay, graph_client(relay.url, connected=False) as client:
        client.watch_leaves(SOUL, heard)
        await relay.asked(SOUL)
        await relay.say(junk)
        await relay.say([put("good", SOUL, (key, value), (f"{key}x", "bad"))])
        await heard.until(1)
        assert heard.leaves == {key: value}
        await relay.say([put("again", SOUL, (key, None)), put("good again", SOUL, (key, value))])
        second = leaf("second")
        await relay.say([put("second", SOUL, second)])
        await heard.until(2)
        assert heard.leaves == {key: value, second[0]: second[1]}
        assert heard.times_told == 2
        assert relay.connections == 1


async def test_S18_a_relay_cannot_write_into_a_signed_space() -> None:
    owner, other = sea.make_pair(Seeded(1)), sea.make_pair(Seeded(2))
    soul, state = f"~{owner['pub']}/lease", int(time.time() * 1000) - 1_000
    told: list[tuple[str, Any, float]] = []
    heard = Heard()

    def on_value(key: str, value: Any, at: float) -> None:
        told.append((key, value, at))
        heard(key, str(value), int(at))

    def by(pair: dict[str, str], value: Any, at: int, key: str = "k") -> str:
        return sea.sign_value(soul, key, value, at, pair)

    async with bad_relay() as relay, graph_client(relay.url, connected=False) as client:
        client.watch_values(soul, on_value)
        await relay.asked(soul)
        await relay.say(
            [
                put("forged", soul, ("k", by(other, "forged", state)), state=state),
                put("moved", soul, ("k", by(owner, "of another key", state, "j")), state=state),
                put("restated", soul, ("k", by(owner, "newer than signed", state)), state=state + 5),
                put("plain", soul, ("k", "plain"), state=state),
                put("null", soul, ("k", None), state=state + 9),
                put("future", soul, ("k", by(owner, "future", state * 2)), state=state * 2),
                put("new", soul, ("k", by(owner, "new", state)), state=state),
                put("old", soul, ("k", by(owner, "old", state - 5)), state=state - 5),
                put("done", soul, ("end", by(owner, "done", state, "end")), state=state),
            ]
        )
        await heard.until(2)
        assert told == [("k", "new", state), ("end", "done", state)]
        assert relay.connections == 1


async def test_S19_a_client_asks_for_its_own_souls_and_keeps_nothing_else() -> None:
    heard, size = Heard(), 4_000
    fits = leaves.MAX_SOUL_BYTES // (size + len(leaf("")[0]))
    async with bad_relay() as relay, graph_client(relay.url, connected=False) as client:
        client.watch_leaves(SOUL, heard)
        await relay.asked(SOUL)
        await relay.say(
            put(f"o{number}", f"calls/s/{number}#", leaf(f"{number}")) for number in range(20_000)
        )
        await relay.say(put(f"f{number}", SOUL, leaf(f"{number:0{size}}")) for number in range(2 * fits))
        marker = "calls/s/marker#"
        marked = Heard()
        client.watch_leaves(marker, marked)
        await relay.asked(marker)
        await relay.say([put("marker", marker, leaf("after the flood"))])
        await marked.until(1)
        assert len(heard.leaves) == fits
        asked = {
            one["get"]["#"] if isinstance(one["get"]["#"], str) else one["get"]["#"]["="]
            for one in relay.gets
        }
        assert asked == {SOUL, marker}
        assert relay.connections == 1
