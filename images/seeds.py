"""Seeded choices from SHA-256, which never change, unlike a library's random stream."""

from __future__ import annotations

import hashlib


def rank(*parts: str | int) -> str:
    """Return a hash to sort by, which puts different `parts` in a pseudorandom order."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


class Draws:
    """A stream of pseudorandom choices that depends only on its arguments (a content hash, a seed, a purpose)."""

    def __init__(self, *parts: str | int) -> None:
        self._parts = parts
        self._count = 0

    def below(self, n: int) -> int:
        """Return the next whole number from 0 to n − 1; its bias is under n / 2^256."""
        self._count += 1
        return int(rank(*self._parts, self._count), 16) % n

    def permutation(self, n: int) -> list[int]:
        """Return the next permutation of 0 … n − 1."""
        self._count += 1
        return sorted(range(n), key=lambda i: rank(*self._parts, self._count, i))
