"""What a simulation says when a promise does not hold."""

from __future__ import annotations


class Broken(AssertionError):
    """A promise that did not hold."""


def promise(holds: bool, text: str) -> None:
    """Raises Broken with ``text``; unlike ``assert`` it is there in every build."""
    if not holds:
        raise Broken(text)
