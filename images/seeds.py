"""Seeded choices that stay the same for ever: read off SHA-256, not off a library's random stream."""

from __future__ import annotations

import hashlib


def rank(*parts: str | int) -> str:
    """A hash to sort by: any order of `parts` that differ is as good as random."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


class Draws:
    """A stream of choices fixed by what it is made from (a content hash, a seed, a purpose)."""

    def __init__(self, *parts: str | int) -> None:
        self._parts = parts
        self._count = 0

    def below(self, n: int) -> int:
        """The next whole number from 0 to n − 1; its bias is under n / 2^256."""
        self._count += 1
        return int(rank(*self._parts, self._count), 16) % n

    def permutation(self, n: int) -> list[int]:
        """The next order of 0 … n − 1."""
        self._count += 1
        return sorted(range(n), key=lambda i: rank(*self._parts, self._count, i))
