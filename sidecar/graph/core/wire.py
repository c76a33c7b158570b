"""Gun's frames and messages (gun.md sections 1, 2 and 7): text in, checked messages out, and back.

A frame is one message object, a batch (a JSON array whose elements are objects or strings holding objects),
or ``[]``, the keep-alive. :func:`read_frame` and :func:`read_message` raise only RemoteError.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sidecar.errors import RemoteError
from sidecar.graph.core import jsjson
from sidecar.graph.core.nodes import Graph, check_key, check_soul, read_graph, salvage_graph, write_graph

MAX_FRAME = 1024 * 1024
"""Bytes of one frame that a relay of ours handles; gun.js takes 100 MiB and stalls on it. A gun.js client
answers for a whole node in one frame."""
MAX_READ = 4 * MAX_FRAME
"""Bytes of one frame that are read at all: what is larger than a frame may be is dropped, and told."""
MAX_BATCH = 2_000
MAX_ID = 128
MAX_NOTE = 4_096
"""Bytes of an ``ok`` passed on: it may carry anything, gun.js programs use it for small answers."""
MAX_ACKS = 32
KEEP_ALIVE = "[]"
_ID_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 12
_TO_LETTERS = bytes(ord(_ID_LETTERS[byte % len(_ID_LETTERS)]) for byte in range(256))


class Get(msgspec.Struct, frozen=True):
    """What is asked: one soul, and a key, a key query or all keys. ``exact``: the form ``{"=": soul}``."""

    soul: str
    key: str | None = None
    keys: Mapping[str, Any] | None = None
    limit: int | None = None
    exact: bool = False


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One checked message. ``id`` is empty if the sender left it out, ``more``: further parts follow."""

    id: str = ""
    at: str | None = None
    put: Graph | None = None
    get: Get | None = None
    ok: Any = None
    err: str | None = None
    dam: str | None = None
    pid: str | None = None
    aleph: bool = False
    more: bool = False


def read_frame(text: str | bytes, *, max_bytes: int = MAX_FRAME) -> list[dict[str, Any]]:
    """The raw messages of a frame. Strings in a batch are parsed; what is no object there is left out."""
    if len(text) > max_bytes:
        raise RemoteError("frame-too-large")
    parsed = _parse(text)
    if isinstance(parsed, dict):
        return [parsed]
    if not isinstance(parsed, list):
        raise RemoteError("bad-frame", "a frame is an object or an array")
    if len(parsed) > MAX_BATCH:
        raise RemoteError("batch-too-large")
    raws = [raw for item in parsed if isinstance(raw := _element(item), dict)]
    if parsed and not raws:
        raise RemoteError("bad-frame", "a batch holds messages")
    return raws


def _element(item: Any) -> Any:
    """A message of a batch; what is none is left out, and the others do not suffer."""
    try:
        return _parse(item) if isinstance(item, str) else item
    except RemoteError:
        return None


class _Unsound(dict[str, Any]):
    """A message that holds half a surrogate pair: JavaScript sends a text that was cut inside an emoji so."""


def _parse(text: str | bytes) -> Any:
    try:
        return jsjson.parse(text)
    except ValueError as error:
        parsed = _parse_unsound(text)
        if parsed is None:
            raise RemoteError("bad-json") from error
        return parsed


def _parse_unsound(text: str | bytes) -> Any:
    """Messages with halves of surrogate pairs, marked, beside sound ones that must not suffer; None if this
    is no JSON for another reason."""
    if ("\\u" if isinstance(text, str) else b"\\u") not in text:  # type: ignore[operator]
        return None
    try:
        parsed = json.loads(text, parse_int=_whole)
        if isinstance(parsed, list):
            return [_marked(item) for item in parsed]
        return _marked(parsed)
    except (ValueError, RecursionError):
        return None


def _marked(item: Any) -> Any:
    written = json.dumps(item, ensure_ascii=False, allow_nan=False)
    sound = written.isascii() or written.encode("utf-8", "replace").decode() == written
    return _Unsound(item) if not sound and isinstance(item, dict) else item if sound else None


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < 16 else float(digits)


def read_message(raw: Mapping[str, Any], *, salvage: bool = False) -> Message:
    """Check one message; the error's details hold its id, so that the sender can be told.

    ``salvage``: keep what is usable of its put instead of refusing the whole (a reader of leaves).
    """
    message_id = _text(raw, "#", MAX_ID) or ""
    if isinstance(raw, _Unsound):
        known = {"id": message_id} if message_id.isascii() else {}
        raise RemoteError("half-surrogate", "a text holds half a surrogate pair", details=known)
    try:
        return Message(
            id=message_id,
            at=_text(raw, "@", MAX_ID),
            put=None if raw.get("put") is None else _graph_reader(salvage)(raw["put"]),
            get=_read_get(raw["get"]) if raw.get("get") is not None else None,
            ok=_note(raw.get("ok")),
            err=_error_text(raw.get("err")),
            dam=_text(raw, "dam", 32),
            pid=_text(raw, "pid", MAX_ID),
            aleph=raw.get("aleph") == 1,
            more=bool(raw.get("%")),
        )
    except RemoteError as error:
        raise RemoteError(error.reason, error.message, details={"id": message_id}) from error


def _graph_reader(salvage: bool) -> Callable[[Any], Graph]:
    return salvage_graph if salvage else read_graph


def _text(raw: Mapping[str, Any], name: str, longest: int) -> str | None:
    """A member that names something; gun.js programs also send numbers as ids."""
    value = raw.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = jsjson.number(value)
    if not isinstance(value, str) or len(value) > longest:
        raise RemoteError("bad-envelope", f"{name} is a short string")
    return value


def _error_text(raw: Any) -> str | None:
    if raw is None or raw is False or raw == 0:
        return None
    return raw[:MAX_NOTE] if isinstance(raw, str) else "error"


def _note(raw: Any) -> Any:
    if isinstance(raw, (dict, list, str)) and len(msgspec.json.encode(raw)) > MAX_NOTE:
        raise RemoteError("note-too-large")
    return raw


def _read_get(raw: Any) -> Get:
    if not isinstance(raw, dict):
        raise RemoteError("bad-get", "get is an object")
    soul, key, limit = raw.get("#"), raw.get("."), raw.get("%")
    exact = isinstance(soul, dict)
    if isinstance(soul, dict):
        if set(soul) != {"="}:
            raise RemoteError("soul-query", "queries over souls are refused")
        soul = soul["="]
    if isinstance(key, dict):
        if not all(isinstance(bound, (str, int, float, bool)) for bound in key.values()):
            raise RemoteError("bad-get", "a query holds strings")
        keys: Mapping[str, Any] | None = key
        key = None
    else:
        keys = None
        key = check_key(key) if key is not None and key != "" else None
    size = int(limit) if isinstance(limit, (int, float)) and 0 < limit < 2**53 else None
    return Get(check_soul(soul), key, keys, size, exact)


def make_id(random_bytes: bytes) -> str:
    """A message id or pid from 12 random bytes, letters and digits as gun.js makes them."""
    return random_bytes[:_ID_LENGTH].translate(_TO_LETTERS).decode("ascii")


def write(message: Mapping[str, Any]) -> str:
    """The frame of one message."""
    return msgspec.json.encode(message).decode()


def write_put(
    message_id: str, graph: Graph, *, at: str | None = None, more: bool = False, acks: int | None = None
) -> str:
    """A put, or with ``at`` the answer to a get; ``more`` tells that further parts follow.

    ``acks``: 1 if the receiver is to acknowledge, 0 if not; to gun.js it is a chance of ``@`` in ``/``.
    """
    message: dict[str, Any] = {"#": message_id}
    if at is not None:
        message["@"] = at
    message["put"] = write_graph(graph)
    if more:
        message["%"] = 1
    if acks is not None:
        message["ok"] = {"@": acks, "/": 1}
    return write(message)


def wanted_acks(ok: Any) -> int:
    """How many receivers the writer of a put wants to hear from, beside the relay that takes it."""
    count = ok.get("@") if isinstance(ok, dict) else 0
    return min(int(count) - 1, MAX_ACKS) if isinstance(count, (int, float)) and 1 < count < 2**53 else 0


def write_get(
    message_id: str, soul: str, key: str | None = None, *, exact: bool = False, digest: int | None = None
) -> str:
    """Ask for a soul or one key of it.

    ``exact`` uses the form that a restarted gun.js answers in full; ``digest`` is the hash of what is known,
    for which an equal answer is left out.
    """
    get: dict[str, Any] = {"#": {"=": soul} if exact else soul}
    if key is not None:
        get["."] = key
    message: dict[str, Any] = {"#": message_id, "get": get}
    if digest is not None:
        message["##"] = digest
    return write(message)


def write_ack(message_id: str, at: str, *, err: str | None = None) -> str:
    """What the writer of a put waits for."""
    return write({"#": message_id, "@": at, "err": err} if err else {"#": message_id, "@": at, "ok": True})


def write_reply(message_id: str, at: str, *, ok: Any, err: str | None) -> str:
    """Somebody's answer to somebody else's message, as it came."""
    message: dict[str, Any] = {"#": message_id, "@": at}
    if ok is not None:
        message["ok"] = ok
    if err is not None:
        message["err"] = err
    return write(message)


def write_not_found(message_id: str, at: str) -> str:
    """The answer to a get of something unknown: neither put nor ok."""
    return write({"#": message_id, "@": at})


def write_hello(message_id: str, pid: str, *, at: str | None = None, aleph: bool = False) -> str:
    """The ``?`` handshake. ``aleph`` tells our own peers that this relay answers each get once and whole."""
    message: dict[str, Any] = {"#": message_id, "dam": "?", "pid": pid}
    if at is not None:
        message["@"] = at
    if aleph:
        message["aleph"] = 1
    return write(message)


def write_alarm(message_id: str, err: str) -> str:
    """An error that answers no message; gun.js shows it."""
    return write({"#": message_id, "dam": "!", "err": err})


def write_off(message_id: str, soul: str) -> str:
    """End a subscription (DESIGN D9); gun.js ignores control messages it does not know."""
    return write({"#": message_id, "dam": "off", "get": {"#": soul}})
