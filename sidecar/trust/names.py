"""Names and words that people give themselves, made fit to be shown to others."""

from __future__ import annotations

NAME_MAX = 64
"""Characters of a name (DESIGN section 6)."""


def claimed(text: str, limit: int = NAME_MAX) -> str:
    """Somebody's words: cut, and without control characters that could disguise them."""
    return "".join(c for c in text[: 4 * limit] if c.isprintable())[:limit]
