"""Seeded choices from SHA-256 and SHAKE-256, which never change, unlike a library's random stream."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from jaxtyping import Float, Int8, UInt8
from scipy.special import ndtri


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

    def signs(self, *shape: int) -> Int8[np.ndarray, "..."]:
        """Return the next array of −1 and 1, each with probability ½."""
        count = math.prod(shape)
        bits = np.unpackbits(self._bytes(-(-count // 8)))[:count]
        return (2 * bits.astype(np.int8) - 1).reshape(shape)

    def uniform(self, *shape: int) -> Float[np.ndarray, "..."]:
        """Return the next array of numbers in [0, 1), multiples of 2^-53."""
        bits = self._bytes(8 * math.prod(shape)).view("<u8").reshape(shape)
        return (bits >> np.uint64(11)) * 2.0**-53

    def normal(self, *shape: int) -> Float[np.ndarray, "..."]:
        """Return the next array of normal values, as 65,536 equally probable quantiles: at most 4.3 in magnitude."""
        ranks = self._bytes(2 * math.prod(shape)).view("<u2").reshape(shape)
        return ndtri((ranks + 0.5) / 65536)

    def _bytes(self, count: int) -> UInt8[np.ndarray, "byte"]:
        self._count += 1
        text = "\x1f".join(map(str, (*self._parts, self._count)))
        return np.frombuffer(hashlib.shake_256(text.encode()).digest(count), np.uint8)
