"""Bad Gun frames by number: damaged real ones, real ones with odd members, and frames built to be nasty.

The same seed and number always give the same frame, so a failure is repeated alone with ``frame(number)``.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from sidecar.graph.core import sea
from tests.graph_machines import NOW_MS, SOUL, Seeded, leaf, node

SEED = 20261122
VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "gun"
OWNER, WRITER = sea.make_pair(Seeded(1)), sea.make_pair(Seeded(2))
SPACE = f"~{OWNER['pub']}"
Frame = str | bytes

TOKENS = (
    *'{}[],:"\\', "null", "true", "-1", "1e999", "1e308", "NaN", '"_"', '"#"', '">"', '"."', '"@"', '"put"',
    '"get"', '"dam"', '"__proto__"', '"toString"', '"\\ud800"', '"<?1"', '"~a.b"', '"*"', '"a#b"', "\x00",
    "\u2028", "😀", "9" * 400, '{"#":', "[" * 50,
)  # fmt: skip
SOULS = (
    "s", "foo", SOUL, "#", "x#", "a#<?90", "b<?90", "<?", "<?0", "<?1e9", "<?" + "9" * 30, "#<?NaN", SPACE,
    f"{SPACE}/inbox", f"rooms/7{SPACE}", "~", "~@", "~@alice", "~.", "~a.b", "~a.b.c", "~" * 50, "/",
    "__proto__", "toString", "constructor", "hasOwnProperty", "valueOf", "big", "trim", "at", "then", "0",
    "-1", "\x00", "\u2028", "é" * 9, "😀", "s" * 4_096, "s" * 4_097, "", "_", ">", "#" * 99,
)  # fmt: skip
FINE_SOULS = ("s", "foo", SOUL, "x#", SPACE, f"{SPACE}/inbox", "~@alice", "b<?90")
KEYS = (
    "k",
    "_",
    "__proto__",
    "constructor",
    "",
    "#",
    ".",
    ":",
    "*",
    "k" * 4_097,
    "0",
    "pub",
    "alice",
    SPACE,
    "\x7f",
)
SCALARS: tuple[Any, ...] = (
    None, True, False, 0, -0.0, -1, 1.5, 2**53, -(2**63), 10**25, 10**400, 1e308, 5e-324, "", "x", "NaN",
    "\x00", "\u2028\u2029", "SEA{", 'SEA{"m":1,"s":""}', '{":":1,"~":""}', '{":":1,"~":5,"+":[],"*":{}}',
    "{bad", "[[[[", '{"a":' * 500, {"#": "s"}, {"#": ""}, {"#": 5}, {"#": {"#": "s"}}, {"#": "toString"},
    {"#": "s", "x": 1}, {"=": "s"}, {"*": ""}, {"*": 5}, {">": "a", "<": []}, {"-": 1}, [], {}, [1], [[]],
    [{}], ["{}"],
)  # fmt: skip
STATES: tuple[Any, ...] = (
    NOW_MS, NOW_MS - 1e6, NOW_MS + 1, NOW_MS + 30_000, NOW_MS + 1e9, 0, -1, 1e308, 8.64e15, 8.64e15 + 2, "5",
    None, True, [], {}, 1.5, 10**400,
)  # fmt: skip


@cache
def real_frames() -> list[str]:
    """What gun.js really sent, and puts of user space, a certificate's included."""
    frames = [
        frame["raw"]
        for name in ("frames_axe_off", "frames_axe_on", "frames_reconnect")
        for frame in map(json.loads, (VECTORS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())
        if frame["dir"] != "close"
    ]
    space = json.loads((VECTORS / "sea_user_space.json").read_text(encoding="utf-8"))
    puts = [*space["create_puts"], *space["deep"], *space["enc_put"], *space["cert"]["puts"]]
    frames += [json.dumps({"#": f"u{number}", **raw}) for number, raw in enumerate(puts)]
    (key, value), certificate = leaf(1), sea.certify("*", {"*": "inbox"}, OWNER, block="blocked")
    inbox = f"{SPACE}/inbox"
    signed = sea.sign_value(inbox, "k", "v", NOW_MS, WRITER, certificate=certificate)
    frames.append(json.dumps({"#": "leaf", "put": {SOUL: node(SOUL, (key, value))}}))
    frames.append(json.dumps({"#": "signed", "put": {inbox: node(inbox, ("k", signed))}}))
    return frames


def frame(number: int, seed: int = SEED) -> Frame:
    """The frame of this number."""
    rng = random.Random(f"{seed}-{number}")
    kind = rng.choices(KINDS, weights=[weight for _, weight in _WEIGHTED])[0]
    return kind(rng)


def _damaged(rng: random.Random) -> Frame:
    """A real frame with bytes of it cut, replaced, repeated."""
    text = rng.choice(real_frames())
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice([0, 0, 1, 3, 20]))
        text = text[:at] + rng.choice(TOKENS) + text[end:]
    return text[: rng.randrange(len(text) + 1)] if rng.random() < 0.1 else text


def _altered(rng: random.Random) -> Frame:
    """A real frame that is still JSON, with members of it exchanged."""
    raw = json.loads(rng.choice(real_frames()))
    for message in raw if isinstance(raw, list) else [raw]:
        message["#"] = f"{rng.random()}"  # a known id would be dropped before anything else is looked at
    for _ in range(rng.randint(1, 3)):
        raw = _exchange(rng, raw, whole=False)
    return json.dumps(raw)


def _exchange(rng: random.Random, value: Any, *, whole: bool = True) -> Any:
    if not isinstance(value, (dict, list)) or not value or (whole and rng.random() < 0.1):
        return _odd(rng)
    if isinstance(value, list):
        at = rng.randrange(len(value))
        return [*value[:at], _exchange(rng, value[at], whole=whole), *value[at + 1 :]]
    name = rng.choice([*value])
    changed = copy.copy(value)
    member = changed.pop(name)
    kept = rng.choice((*KEYS, *SOULS, "put", "get", "@", "ok")) if rng.random() < 0.2 else name
    changed[kept] = _exchange(rng, member)
    return changed


def _mostly(rng: random.Random, fine: tuple[Any, ...], odd: tuple[Any, ...]) -> Any:
    """One odd part is enough to refuse a message: with many of them nothing behind the checks is tried."""
    return rng.choice(fine if rng.random() < 0.8 else odd)


def _odd(rng: random.Random) -> Any:
    return rng.choice((*SCALARS, *SOULS, *STATES))


def _built(rng: random.Random) -> Frame:
    """A message whose shape is Gun's and whose parts are not."""
    message: dict[str, Any] = {
        "#": rng.choice(("a", "b", 5, "", None, "i" * 200, rng.random(), f"{rng.random()}"))
    }
    for name, make in (("put", _put), ("get", _get)):
        if rng.random() < 0.5:
            message[name] = make(rng)
    for name in ("@", "ok", "err", "dam", "pid", "##", "%", "><", "aleph"):
        if rng.random() < 0.05:
            message[name] = rng.choice((*SCALARS, "?", "off", "!", "mob", "opt", "hi", "a", "b"))
    if rng.random() < 0.2:
        return json.dumps([message, json.dumps(message), _odd(rng)][: rng.randint(1, 3)])
    return json.dumps(message)


def _put(rng: random.Random) -> Any:
    souls = {_mostly(rng, FINE_SOULS, SOULS) for _ in range(rng.choice((1, 1, 1, 3)))}
    return {soul: _node(rng, soul) for soul in sorted(souls)} if rng.random() < 0.95 else _odd(rng)


def _node(rng: random.Random, soul: str) -> Any:
    cells = [(_mostly(rng, ("k", "l", "pub"), KEYS), _value(rng)) for _ in range(rng.choice((0, 1, 1, 3)))]
    if "#" in soul and rng.random() < 0.8:
        cells.clear()
        cells.append(leaf(rng.randrange(50)))
    raw = node(soul, *cells, state=_mostly(rng, (NOW_MS, NOW_MS + 1, NOW_MS + 9_000), STATES))
    if rng.random() < 0.1:
        raw["_"] = rng.choice((None, {}, [], {"#": soul}, {"#": soul, ">": []}, {"#": "other", ">": {}}))
    return raw if rng.random() < 0.95 else _odd(rng)


def _value(rng: random.Random) -> Any:
    if rng.random() < 0.3:
        terms = {name: _odd(rng) for name in ("c", "e", "w", "wb", "r", "rb") if rng.random() < 0.7}
        certificate = {"m": terms, "s": rng.choice(("", 5, "A" * 88))}
        cell = {":": 1, "~": rng.choice(("", None, "A" * 88)), "+": certificate, "*": _odd(rng)}
        return json.dumps(cell)
    return _mostly(rng, ("v", 1, None, True, {"#": "s"}), SCALARS)


def _get(rng: random.Random) -> Any:
    get = {"#": _mostly(rng, ("s", "foo", {"=": "s"}), (*SOULS, {"*": ""}, 5))}
    if rng.random() < 0.6:
        names = rng.sample(("=", "*", ">", "<", "-", "x"), rng.randint(0, 3))
        query = {name: _mostly(rng, ("", "k", 5, True, -1.5), SCALARS) for name in names}
        get["."] = rng.choice((query, query, _odd(rng)))
    if rng.random() < 0.3:
        get["%"] = rng.choice((*SCALARS, 50))
    return get


def _written(rng: random.Random) -> Frame:
    """Texts that no JSON library writes."""
    soul, key = rng.choice(("s", "toString", SOUL)), "k"
    cell = f'{{"_":{{"#":"{soul}",">":{{"k":5}}}},"k":%s}}'
    put = f'{{"#":"a","put":{{"{soul}":%s}}}}'
    frames: tuple[Frame, ...] = (
        "{bad", "[bad", "", " ", "5", '"x"', "null", "[]", "[[]]", "[null]", "\ufeff{}", "{}" * 2, '{"#":"a"',
        put % (cell % "NaN"), put % (cell % "Infinity"), put % (cell % "1e999"), put % (cell % ("9" * 5_000)),
        put % (cell % '"\\ud83d"'), put % (cell % '"\ud83d"'), put % (cell % ("[" * 1_000 + "]" * 1_000)),
        '{"#":"a","#":"b","put":{"s":null},' + put[9:] % (cell % "1"),
        '{"__proto__":{"put":1},"#":"a","get":{"#":"s","__proto__":{".":"k"}}}',
        '{"#":"a","put":' * 1_000 + "1" + "}" * 1_000, "[" * 1_000 + "]" * 1_000, '{"a":' * 100_000,
        json.dumps(["[" * 200 + "]" * 200] * 5), json.dumps(["{}"] * rng.choice((1, 3, 2_001))),
        rng.randbytes(rng.randint(0, 99)), b"\xff\xfe{}", b'{"#":"\xc3"}', b'{"#":"a","get":{"#":"s"}}',
        json.dumps({"#": key * rng.choice((1, 128, 129)), "get": {"#": "s"}}),
    )  # fmt: skip
    return rng.choice(frames)


def _cyclic(rng: random.Random) -> Frame:
    """Links that lead in circles, an own one included."""
    souls = [f"c{number}" for number in range(rng.randint(1, 5))]
    graph = {
        soul: node(soul, ("next", {"#": souls[(at + 1) % len(souls)]}), ("self", {"#": soul}))
        for at, soul in enumerate(souls)
    }
    return json.dumps({"#": f"c{rng.random()}", "put": graph})


def _huge(rng: random.Random) -> Frame:
    """A megabyte of something in the wrong place."""
    much = rng.choice(("x", "😀", '\\"', "9", "{")) * (1_000_000 // rng.choice((1, 2, 8)))
    shapes: tuple[Any, ...] = (
        {"#": "h", "put": {"s": node("s", ("k", much))}}, {"#": "h", "put": {"s": node("s", (much, 1))}},
        {"#": "h", "put": {much: node(much, ("k", 1))}}, {"#": much, "get": {"#": "s"}}, {much: much},
        {"#": "h", "put": {f"{SPACE}/inbox": node(f"{SPACE}/inbox", ("k", much))}},
        {"#": "h", "@": "h", "ok": {"x": much}}, {"#": "h", "get": {"#": "s", ".": {"*": much}}}, [much],
        {"#": "h", "put": {"w": node("w", *((f"k{number}", number) for number in range(9_000)))}},
    )  # fmt: skip
    return json.dumps(rng.choice(shapes))


_WEIGHTED: tuple[tuple[Callable[[random.Random], Frame], float], ...] = (
    (_damaged, 30.0),
    (_altered, 30.0),
    (_built, 30.0),
    (_written, 7.0),
    (_cyclic, 2.9),
    (_huge, 0.1),
)
KINDS = [kind for kind, _ in _WEIGHTED]
