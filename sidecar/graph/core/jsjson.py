"""JSON text exactly as JavaScript writes it, because Gun hashes, signs and compares that text.

Source: ECMA-262 Number::toString and JSON.stringify; gun.md section 8. No Python library agrees on numbers
(``1e21``, ``1e-7``, integral floats) or on lone surrogates, so both are written here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring as _quote
from typing import Any

import msgspec

MAX_SAFE_INTEGER = 2**53 - 1
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER_KEY = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")
_LARGEST_INTEGER_KEY = 2**32 - 2
_LITERALS = {None: "null", True: "true", False: "false"}


def number(value: float) -> str:
    """The text of a number as JavaScript prints it; NaN and infinities are ``null``, as in JSON.stringify."""
    if isinstance(value, int):
        if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
            return str(value)
        try:
            value = float(value)
        except OverflowError:
            return "null"
    if not math.isfinite(value):
        return "null"
    if value == 0:
        return "0"
    text = repr(value)
    if "e" not in text:  # between 1e-4 and 1e16 Python writes what JavaScript does, but for the ".0"
        return text.removesuffix(".0")
    return ("-" if value < 0 else "") + _positive(*_shortest_digits(abs(value)))


def _positive(digits: str, exponent: int) -> str:
    point = exponent + 1
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{'+' if exponent > 0 else '-'}{abs(exponent)}"


def _shortest_digits(value: float) -> tuple[str, int]:
    """Significant digits and the exponent of the first one; Python's repr finds the same shortest digits."""
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    power = len(whole) - 1 + (int(exponent) if exponent else 0)
    digits = (whole + ("" if fraction == "0" else fraction)).lstrip("0")
    if whole == "0":
        power = -1 - (len(fraction) - len(fraction.lstrip("0"))) + (int(exponent) if exponent else 0)
    return digits.rstrip("0") or "0", power


def string(text: str) -> str:
    """A string literal: non-ASCII raw, lone surrogates escaped."""
    if text.isascii():
        return _quote(text)
    if _LONE_SURROGATE.search(text):  # two halves that Python holds apart are one character in JavaScript
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", _quote(text))


def stringify(value: Any) -> str:
    """JSON.stringify(value): no spaces, members in insertion order (integer-like names first, as in JS)."""
    return _write(value, sort=False)


def sorted_stringify(value: Any) -> str:
    """As :func:`stringify` with members sorted by UTF-16 code unit: the text behind Gun's ``##``."""
    return _write(value, sort=True)


def _write(value: Any, *, sort: bool) -> str:
    if value is None or isinstance(value, bool):
        return _LITERALS[value]
    if isinstance(value, str):
        return string(value)
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, Mapping):
        names = _js_order(list(value), sort=sort)
        return "{" + ",".join(f"{string(name)}:{_write(value[name], sort=sort)}" for name in names) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(_write(item, sort=sort) for item in value) + "]"
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _js_order(names: list[str], *, sort: bool) -> list[str]:
    """A JavaScript object lists array indices first and in order of number, whatever was inserted when."""
    indices = [name for name in names if _is_array_index(name)]
    if not indices and not sort:
        return names
    others = [name for name in names if not _is_array_index(name)]
    if sort:
        others.sort(key=utf16)
    return sorted(indices, key=int) + others


def _is_array_index(name: str) -> bool:
    return _INTEGER_KEY.match(name) is not None and int(name) <= _LARGEST_INTEGER_KEY


def utf16(text: str) -> bytes:
    """A sort key: JavaScript compares strings by UTF-16 code unit, Python by code point."""
    return text.encode("utf-16-be", "surrogatepass")


def parse(text: str | bytes) -> Any:
    """JSON.parse for text from outside: raises ValueError, also for NaN, lone surrogates and deep nesting."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError("not JSON") from error


def java_hash(text: str) -> int:
    """Gun's ``String.hash``: h = h*31 + unit over UTF-16 code units, as a signed 32-bit integer."""
    units = memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H")
    total = 0
    for unit in units:
        total = (total * 31 + unit) & 0xFFFFFFFF
    return total - 0x1_0000_0000 if total & 0x8000_0000 else total
