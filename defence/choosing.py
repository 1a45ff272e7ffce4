"""Choice among edits on selection images: the one with the highest gain, at a bounded loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..circuits import Figures, Proportion, digest
from ..evaluation import Execution
from ..evaluation.interventions import Edit, Gate, GatedEdit
from ..models import ViT
from .answers import Predicted, answers
from .labelled import LabelledImages, joined


@dataclass(frozen=True, eq=False)
class Candidate:
    """An edit that can be chosen.

    Attributes:
        edit: what it does to the model; None for nothing.
        settings: how it differs from the other candidates, such as its number of edges and its strength.
    """

    edit: Edit | None
    settings: Mapping[str, Any] = field(default_factory=dict)


NOTHING = Candidate(None)
"""The unchanged model."""


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


@dataclass(frozen=True, eq=False)
class Tried:
    """A candidate on selection images.

    Attributes:
        candidate: the candidate.
        judged: what its predictions are worth.
        allowed: whether its loss is within the bound.
    """

    candidate: Candidate
    judged: Judgement
    allowed: bool


@dataclass(frozen=True, eq=False)
class Choice:
    """A choice among candidates.

    Attributes:
        chosen: the best candidate.
        tried: all candidates in the order in which they were tried, without those that the best had to beat.
    """

    chosen: Tried
    tried: tuple[Tried, ...]

    @property
    def sweep(self) -> pd.DataFrame:
        """A row per candidate: its settings, its accuracies by group of images, `allowed` and `chosen`."""
        return pd.DataFrame(
            [
                {
                    **one.candidate.settings,
                    **{name: figure.value for name, figure in one.judged.figures.items()},
                    "allowed": one.allowed,
                    "chosen": one is self.chosen,
                }
                for one in self.tried
            ]
        )


class Chooser:
    """Tries edits on selection images.

    Args:
        model: the model.
        images: selection images.
        judge: judges the predicted classes.
        max_loss: maximum loss of the accuracy that must not suffer.
        execution: batch size and progress; progress counts tried edits, out of as many.
    """

    def __init__(
        self,
        model: ViT,
        images: LabelledImages,
        judge: Callable[[Predicted], Judgement],
        max_loss: float,
        execution: Execution,
    ) -> None:
        self._model, self._images, self._judge, self._execution = model, images, judge, execution
        self._max_loss = max_loss + 1e-9  # a loss of exactly the bound is allowed, whatever its rounding
        self._count = 0
        self._known: dict[str, Predicted] = {}
        self._flags: dict[str, np.ndarray] = {}

    @cached_property
    def plain(self) -> Tried:
        """The unchanged model."""
        return Tried(NOTHING, self._judged(None), True)

    def best(self, candidates: Iterable[Candidate], start: Tried | None = None, *, bounded: bool = True) -> Choice:
        """Choose the candidate with the highest gain among those within the maximum loss; the first of equal ones.

        Args:
            candidates: the candidates to try.
            start: what they have to beat; by default the unchanged model.
            bounded: whether the maximum loss counts.
        """
        tried = tuple(self.tried(candidate, bounded=bounded) for candidate in candidates)
        allowed = [one for one in tried if one.allowed]
        return Choice(max([start or self.plain, *allowed], key=lambda one: one.judged.gain), tried)

    def tried(self, candidate: Candidate, *, bounded: bool = True) -> Tried:
        """Run a candidate on the selection images."""
        judged = self._judged(candidate.edit)
        return Tried(candidate, judged, not bounded or judged.kept >= self.plain.judged.kept - self._max_loss)

    def _judged(self, edit: Edit | None) -> Judgement:
        judged = self._judge(self._predicted(edit))
        self._count += 1
        self._execution.report(self._count, self._count)
        return judged

    def _predicted(self, edit: Edit | None) -> Predicted:
        """Return the predicted classes; the same edit runs once, by itself and behind any gate."""
        if isinstance(edit, GatedEdit):
            return np.where(self._flagged(edit.gate), self._predicted(edit.edit), self._predicted(None))
        key = "" if edit is None else digest(edit.intervention.to_dict())
        if key not in self._known:
            self._known[key] = answers(self._model, edit, self._images.images, self._execution).predicted
        return self._known[key]

    def _flagged(self, gate: Gate) -> np.ndarray:
        if gate.id not in self._flags:
            scores = gate.scores(self._model, self._images.images)
            self._flags[gate.id] = np.asarray(scores) > gate.threshold
        return self._flags[gate.id]


def under_attack(
    model: ViT, clean: LabelledImages, attacked: LabelledImages, max_clean_loss: int, execution: Execution
) -> Chooser:
    """Return a chooser that raises the accuracy on attacked images, at a bounded loss of unattacked ones.

    Args:
        model: the model.
        clean: unattacked selection images.
        attacked: attacked selection images.
        max_clean_loss: number of unattacked images that may be lost, net of those that are gained.
        execution: batch size and progress.
    """
    both = joined([clean, attacked])
    labels = both.labels.cpu().numpy()

    def judge(predicted: Predicted) -> Judgement:
        hit = predicted == labels
        figures = {"clean": Proportion.of(hit[: len(clean)]), "attacked": Proportion.of(hit[len(clean) :])}
        return Judgement(figures, figures["clean"].value, (figures["attacked"].value,))

    return Chooser(model, both, judge, max_clean_loss / len(clean), execution)
