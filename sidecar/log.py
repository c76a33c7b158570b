"""Structured logs: one JSON object a line, static message text, values as fields.

SDP, candidates, keys and user ids never reach a log line (STYLE, FAULTS P03): a field whose name stands for
one of them is left out and named in ``redacted``, and text that looks like one is blanked in other fields.
Pure: where lines go and what time it is come in through ``configure`` (``sidecar.app.system_log``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "off": 100}

MAX_LINE = 4000
"""Bytes; under PIPE_BUF (4096), so that the lines of several processes on one pipe do not mix."""

MAX_TEXT = 1500
"""Characters of one text field; a longer one is cut."""

SECRET_FIELDS = frozenset(
    {
        "address", "answer", "authorization", "candidate", "candidates", "certificate", "credential",
        "credentials", "display_name", "fingerprint", "friend", "identity", "ip", "key", "keys", "offer",
        "password", "priv", "pub", "public_key", "recipient", "remote_sdp", "sdp", "secret", "sender",
        "shared_secret", "token", "tokens", "ufrag", "user", "user_id", "username",
    }
)  # fmt: skip
"""Names, in snake case, that are never logged at any level."""

PLAIN_FIELDS = frozenset({"call_id", "error_id", "recording_id"})
"""Our own random ids, which a reader needs whole; they identify no person."""

_SECRET_TEXT = (
    r"(?s)v=0\r?\n.*"  # a session description, to its end
    r"|a?=?candidate:[^\r\n]*"  # an ICE candidate
    r"|a=(?:ice-ufrag|ice-pwd|fingerprint):[^\r\n]*"
    r"|\b[0-9a-f]{16}\b"  # a user id or a device id
    r"|\bM[A-Za-z0-9+/]{58,}={0,2}"  # a key in DER, base64
)
_CAMEL = r"(?<=[a-z0-9])(?=[A-Z])"
"""Both are compiled by their first use, which the ready line does not wait for."""


class Settings(NamedTuple):
    """What every logger of the process shares."""

    write: Callable[[bytes], None]
    """Takes one whole line with its newline; never blocks, never raises."""
    now_ms: Callable[[], int]
    threshold: int = LEVELS["info"]


_settings = Settings(write=lambda line: None, now_ms=lambda: 0, threshold=LEVELS["off"])


def configure(write: Callable[[bytes], None], now_ms: Callable[[], int], level: str = "info") -> None:
    """Sends the lines of every logger, also of those made before, to ``write``."""
    global _settings
    _settings = Settings(write, now_ms, LEVELS[level])


def level() -> str:
    """The name of the level in force, for a child process that is to log alike."""
    return next(name for name, threshold in LEVELS.items() if threshold == _settings.threshold)


def get(name: str) -> Logger:
    """The logger of one subsystem: ``get("calls")``."""
    return Logger(name)


class Logger:
    """Writes lines for one subsystem; ``bind`` adds fields to all of them."""

    __slots__ = ("_bound", "_name")

    def __init__(self, name: str, bound: dict[str, Any] | None = None) -> None:
        self._name = name
        self._bound = bound or {}

    def bind(self, **fields: Any) -> Logger:
        """A logger that adds ``fields`` to every line."""
        return Logger(self._name, {**self._bound, **fields})

    def debug(self, message: str, /, **fields: Any) -> None:
        self._log("debug", message, fields)

    def info(self, message: str, /, **fields: Any) -> None:
        self._log("info", message, fields)

    def warning(self, message: str, /, **fields: Any) -> None:
        self._log("warning", message, fields)

    def error(self, message: str, /, **fields: Any) -> None:
        self._log("error", message, fields)

    def _log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        settings = _settings
        if LEVELS[level] < settings.threshold:
            return
        head = {"ts": settings.now_ms(), "level": level, "logger": self._name, "msg": message}
        settings.write(format_line(head, {**self._bound, **fields}))


def format_line(head: dict[str, Any], fields: dict[str, Any]) -> bytes:
    """One JSON line of ``head`` and the redacted ``fields``; a line over ``MAX_LINE`` keeps its head only."""
    body = redact(fields)
    line = _encode({**head, **body, **head})
    if len(line) > MAX_LINE:
        line = _encode({**head, "truncated": sorted(body)[:20]})
    return line


def redact(fields: dict[str, Any]) -> dict[str, Any]:
    """``fields`` without those that name a secret, and with what looks like one blanked in the others."""
    kept: dict[str, Any] = {}
    dropped: list[str] = []
    for name, value in fields.items():
        if re.sub(_CAMEL, "_", name).lower() in SECRET_FIELDS:
            dropped.append(name)
        else:
            kept[name] = value if name in PLAIN_FIELDS and isinstance(value, str) else _blank(value)
    if dropped:
        kept["redacted"] = dropped
    return kept


def _blank(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return redact({str(name): member for name, member in value.items()})
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_blank(member) for member in value]
    return re.sub(_SECRET_TEXT, "[redacted]", str(value))[:MAX_TEXT]


def _encode(members: dict[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
