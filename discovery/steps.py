"""Number of steps along a path: fixed, or doubled until the scores sum to the expected value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from .conserved import RESIDUAL_LIMIT, Residual

T = TypeVar("T")

FIRST = 5
"""Steps of the first try."""

_TEXT = re.compile(r"auto(?:\(limit (\d+), tolerance (\d+(?:\.\d+)?(?:e-\d+)?)\))?")


@dataclass(frozen=True)
class AutoSteps:
    """Doubles the steps until the residual is within a tolerance.

    Attributes:
        limit: maximum number of steps, at least `FIRST`.
        tolerance: allowed residual, as a share of the metric's difference.
    """

    limit: int = 40
    tolerance: float = RESIDUAL_LIMIT

    @classmethod
    def parse(cls, text: object) -> AutoSteps | None:
        """Parse `auto` or `auto(limit 80, tolerance 0.05)`; None for anything else."""
        found = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            return None
        auto = cls(int(found[1]), float(found[2])) if found[1] else cls()
        return auto if auto.limit >= FIRST and 0 < auto.tolerance < 1 else None

    @property
    def text(self) -> str:
        """Canonical text, as in recipes."""
        return f"auto(limit {self.limit}, tolerance {self.tolerance:g})"

    @property
    def tries(self) -> list[int]:
        """5, 10, 20 … up to the limit."""
        return [FIRST * 2**doubled for doubled in range((self.limit // FIRST).bit_length())]

    @property
    def common(self) -> list[int]:
        """The tries of a typical question; questions of the demo take 21 steps on average, over all tries."""
        return self.tries[:2]

    def first_within(self, attempt: Callable[[int], tuple[T, Residual]]) -> tuple[T, list[tuple[int, Residual]]]:
        """Return the first result whose residual is within the tolerance, or else that of the largest number of steps.

        Returns:
            The result, and each tried number of steps with its residual.
        """
        first, *more = self.tries
        found, residual = attempt(first)
        tried = [(first, residual)]
        for steps in more:
            if residual.within(self.tolerance):
                break
            found, residual = attempt(steps)
            tried.append((steps, residual))
        return found, tried
