"""What is tried on selection images, and how the best is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..circuits.kinds import is_number
from ..errors import InputError
from ..evaluation import Execution
from ..evaluation.interventions import Edit
from ..models import ViT
from .proportion import Proportion

Predicted = Int[np.ndarray, "image"]
Figures = Mapping[str, Proportion]
"""Accuracies by the name of a group of images."""

BATCH = 64
"""Number of images per batch, unless the execution names another."""


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


class Judgement(NamedTuple):
    """What predictions for selection images are worth.

    Attributes:
        figures: accuracies by group of images.
        kept: the accuracy that must not suffer.
        gain: what is raised, the most important number first.
    """

    figures: Figures
    kept: float
    gain: tuple[float, ...]


class Candidate(NamedTuple):
    """An edit that was tried on selection images; None is the unchanged model."""

    edit: Edit | None
    judged: Judgement


class Chooser:
    """Tries edits on selection images.

    Args:
        model: the model.
        images: normalised selection images.
        judge: judges the predicted classes.
        max_loss: maximum loss of the accuracy that must not suffer.
        execution: batch size and progress; progress counts tried edits, out of as many.
    """

    def __init__(
        self,
        model: ViT,
        images: Float[Tensor, "image channel height width"],
        judge: Callable[[Predicted], Judgement],
        max_loss: float,
        execution: Execution,
    ) -> None:
        self._model, self._images, self._judge, self._execution = model, images, judge, execution
        self._count = 0
        self.plain = self.tried(None)
        self._floor = self.plain.judged.kept - max_loss - 1e-9

    def tried(self, edit: Edit | None) -> Candidate:
        """Run an edit on the selection images."""
        found = Candidate(edit, self._judge(predict(self._model, self._images, edit, self._execution)))
        self._count += 1
        self._execution.report(self._count, self._count)
        return found

    def best(self, edits: Iterable[Edit], start: Candidate | None = None, *, bounded: bool = True) -> Candidate:
        """Return the candidate with the highest gain among those within the maximum loss; the first of equal ones.

        Args:
            edits: the edits to try.
            start: what they have to beat; by default the unchanged model.
            bounded: whether the maximum loss counts.
        """
        found = [one for one in map(self.tried, edits) if one.judged.kept >= self._floor or not bounded]
        return max([start or self.plain, *found], key=lambda one: one.judged.gain)


def predict(
    model: ViT, images: Float[Tensor, "image channel height width"], edit: Edit | None, execution: Execution
) -> Predicted:
    """Return the classes that a model predicts with an edit; None is no edit."""
    size = execution.batch_size or BATCH

    def run() -> Predicted:
        return torch.cat([model.logits(batch).argmax(dim=1).cpu() for batch in images.split(size)]).numpy()

    if edit is None:
        return run()
    with edit.applied(model):
        return run()
