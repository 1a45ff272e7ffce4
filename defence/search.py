"""What a correction tries on selection images, and how much it may cost."""

from __future__ import annotations

from dataclasses import dataclass

from ..circuits.kinds import is_number
from ..errors import InputError


@dataclass(frozen=True)
class Search:
    """What is tried on selection images, and how much it may cost.

    Attributes:
        sizes: numbers of edges.
        strengths: strengths of steering.
        max_loss: maximum loss of accuracy on the selection images that must not suffer.
        quantile: quantile of the reference images' projections above which outputs are steered.
    """

    sizes: tuple[int, ...] = (24, 48, 96)
    strengths: tuple[float, ...] = (1.0, 1.5)
    max_loss: float = 0.01
    quantile: float = 0.95

    def __post_init__(self) -> None:
        if not self.sizes or not all(isinstance(n, int) and n > 0 for n in self.sizes):
            raise InputError(f"sizes: expected positive numbers of edges, such as (24, 48), got {self.sizes!r}")
        if not self.strengths or not all(is_number(s) and s > 0 for s in self.strengths):
            raise InputError(f"strengths: expected positive numbers, such as (1, 1.5), got {self.strengths!r}")
        if not is_number(self.max_loss) or not 0 <= self.max_loss < 1:
            raise InputError(f"max_loss: expected a share of images below 1, such as 0.01, got {self.max_loss!r}")


DEFAULT_SEARCH = Search()
