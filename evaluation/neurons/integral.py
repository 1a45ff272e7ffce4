"""Along which values a neuron path's gradients are integrated: points and weights, and what other neurons do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from ...circuits.kinds import is_whole
from ...errors import InputError, check_known
from ...models import Tokens
from .. import path_points

Rule = Literal["left", "midpoint"]
Others = Literal["frozen", "live"]
Points = Float[np.ndarray, "point"]
Nodes = Float[np.ndarray, "node"]


@dataclass(frozen=True, kw_only=True)
class Integral:
    """How the gradients of a path are integrated while its neurons go from 0 to their clean values.

    The integral is a mean over `steps` points. If there are more steps than `nodes`, the same mean is evaluated by its
    Gauss rule, in one run per node; this is exact for gradients that are polynomials of degree 2 · nodes − 1 in the
    scale. On the demo model 8 nodes give the score of 20 steps up to rounding.

    Attributes:
        steps: number of points.
        rule: `left`, as the authors of NeuronPath have it: 0, 1 / steps, 2 / steps …; or `midpoint`.
        nodes: maximum number of runs that evaluate the mean; None for one run per step.
        others: the other neurons of the layers that a path has reached are `frozen` at their clean values, as the
            authors have it, or `live`: computed in each run.
        tokens: where neurons are read and scaled: at the `class` token, at the `patches`, or at `all` tokens.

    Raises:
        InputError: a value that is not one of these.

    Examples:
        >>> scores = score_paths(model, images, labels, paths, integral=Integral(steps=50, rule="midpoint"))
    """

    steps: int = 20
    rule: Rule = "left"
    nodes: int | None = 8
    others: Others = "frozen"
    tokens: Tokens = "class"

    def __post_init__(self) -> None:
        check_whole("steps", self.steps)
        if self.nodes is not None:
            check_whole("nodes", self.nodes)
        check_known("rule", self.rule, get_args(Rule))
        check_known("value", self.others, get_args(Others), "others")
        check_known("name", self.tokens, get_args(Tokens), "tokens")

    @cached_property
    def points(self) -> tuple[Points, Points]:
        """The scales at which gradients are taken, and their weights, which sum to 1."""
        steps = np.array(path_points.points(self.steps, self.rule))
        if self.nodes is None or self.nodes >= self.steps:
            return steps, np.full(self.steps, 1 / self.steps)
        return gauss(steps, self.nodes)


def gauss(steps: Points, nodes: int) -> tuple[Nodes, Nodes]:
    """Return nodes and weights of the Gauss rule of a mean over steps, by Lanczos' and Golub and Welsch's methods."""
    basis = [np.full(len(steps), len(steps) ** -0.5)]
    diagonal, beside = [], []
    while True:
        new = steps * basis[-1]
        diagonal.append(float(basis[-1] @ new))
        if len(basis) == nodes:
            break
        for _ in range(2):  # twice is enough for rounding errors
            new = new - np.array(basis).T @ (np.array(basis) @ new)
        beside.append(float(np.linalg.norm(new)))
        basis.append(new / beside[-1])
    places, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return places, vectors[0] ** 2


def check_whole(name: str, value: object) -> None:
    """Check that a value is a whole number of at least 1.

    Raises:
        InputError: it is not.
    """
    if not is_whole(value) or value < 1:  # pyright: ignore[reportOperatorIssue]
        raise InputError(f"{name}: expected a whole number of at least 1, got {value!r}")


PUBLISHED = Integral()
"""The integral of NeuronPath's authors, up to rounding."""
