"""Gun's query objects: ``=`` exact, ``*`` prefix, ``>`` ``<`` range (both ends included)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sidecar.graph.core.jsjson import utf16

_CONDITIONS = ("=", "*", ">", "<")


def match(text: Any, lex: Any) -> bool:
    """Gun's ``String.match``, quirks included: what a gun.js client filters with (vectors: primitives.json).

    The quirks: any condition equal to the whole text matches at once; an empty prefix matches nothing; a
    lower bound also works as a prefix; of a prefix and a range either is enough. What is no query, and
    somebody else may have written it, matches nothing.
    """
    conditions = {"=": lex} if isinstance(lex, str) else lex
    if not isinstance(text, str) or not isinstance(conditions, Mapping):
        return False
    if text == _js_or(conditions, _CONDITIONS):
        return True
    if "=" in conditions:
        return False
    prefix = _js_or(conditions, ("*", ">"))
    begins = isinstance(prefix, str) and text.startswith(prefix)
    if begins or "*" in conditions:
        return begins
    low, high = conditions.get(">"), conditions.get("<")
    if low is not None and high is not None:
        return _at_least(text, low) and _at_most(text, high)
    return (low is not None and _at_least(text, low)) or (high is not None and _at_most(text, high))


def selects(text: str, lex: Mapping[str, Any]) -> bool:
    """What a relay answers a key query with: every condition given must hold; an empty prefix always does."""
    exact, prefix, low, high = (lex.get(name) for name in _CONDITIONS)
    return (
        (exact is None or text == exact)
        and (prefix is None or (isinstance(prefix, str) and text.startswith(prefix)))
        and (low is None or _at_least(text, low))
        and (high is None or _at_most(text, high))
    )


def _js_or(conditions: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """``a || b || c`` of JavaScript: the first truthy member, else the last one, None where it is missing."""
    truthy = (conditions[name] for name in names if is_truthy(conditions.get(name)))
    return next(truthy, conditions.get(names[-1]))


def is_truthy(value: Any) -> bool:
    """As JavaScript sees a JSON value: empty arrays and objects are."""
    return value not in (None, False, 0, "")


def _at_least(text: str, bound: Any) -> bool:
    return isinstance(bound, str) and utf16(text) >= utf16(bound)


def _at_most(text: str, bound: Any) -> bool:
    return isinstance(bound, str) and utf16(text) <= utf16(bound)
