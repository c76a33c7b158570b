"""Which souls are surely not on disk, in one megabyte however many there are (a Bloom filter).

Most puts that make a node are for a soul nobody has, and looking for it costs a relay more than all the rest:
each call into SQLite hands the interpreter to the writer thread and waits to get it back.
"""

from __future__ import annotations

MAX_SOULS = 1_000_000
"""Beyond it too many answers would be wrong, and all become "perhaps". At it, three in a hundred are."""
_BITS = 1 << 23
_MASK = _BITS - 1


class SoulFilter:
    """Souls are added, never taken away: one that has ended is looked for in vain, which harms nobody."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)
        self._souls = 0

    def add(self, soul: str) -> None:
        """Remember a soul; adding it again counts again."""
        self._souls += 1
        for place in _places(soul):
            self._bits[place >> 3] |= 1 << (place & 7)

    def may_hold(self, soul: str) -> bool:
        """False: it was never added."""
        if self._souls > MAX_SOULS:
            return True
        bits = self._bits
        return all(bits[place >> 3] >> (place & 7) & 1 for place in _places(soul))


def _places(soul: str) -> tuple[int, int, int]:
    """Python's hash is keyed anew by each process, so nobody outside can choose souls that collide."""
    number = hash(soul)
    return number & _MASK, number >> 20 & _MASK, number >> 40 & _MASK
