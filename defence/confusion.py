"""Correct a look-alike confusion: images of one class that a model reads as another.

The edges that carry the wrong logit come from a contrast within the class: confused images against images that are read
well, with the metric logit(wrong class) − logit(true class). They are steered by the excess over the images that are
read well, or fixed at the mean of these images. The two classes trade: an edit that takes images from the wrong class
also takes some of its own, so the accuracies of both are reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..circuits import Figures, Form, confusion_figures
from ..errors import InputError
from ..evaluation import DEFAULT, Execution
from ..evaluation.interventions import ablate_edges
from ..models import ViT, mean_outputs, runs_model
from .answers import BATCH, Predicted, answers
from .choosing import Candidate, Choice, Chooser, Judgement
from .contrast import Contrast
from .correction import Correction
from .labelled import LabelledImages
from .problem import STEERING, Contrasted, Method, Problem, correction_rows
from .search import DEFAULT_SEARCH, Search

MIN_IMAGES = 2
"""Minimum number of confused images that directions are fitted on."""


class Confusion(NamedTuple):
    """Images of a class that a model reads as another.

    Attributes:
        true: index of their class.
        read: index of the class that they are read as.
        images: number of these images.
    """

    true: int
    read: int
    images: int


def most_confused(labels: Int[np.ndarray, "image"], predicted: Predicted) -> Confusion:
    """Return the most frequent confusion; of equal ones the first by class index.

    Args:
        labels: true classes.
        predicted: predicted classes.

    Raises:
        InputError: every image is read well.

    Examples:
        >>> most_confused(np.array([0, 0, 1, 1]), np.array([1, 1, 1, 0]))
        Confusion(true=0, read=1, images=2)
    """
    wrong = labels != predicted
    if not wrong.any():
        raise InputError("labels: every image is read well, so there is no confusion to correct")
    pairs, counts = np.unique(np.stack([labels[wrong], predicted[wrong]]), axis=1, return_counts=True)
    first = int(counts.argmax())
    return Confusion(int(pairs[0, first]), int(pairs[1, first]), int(counts[first]))


@dataclass(frozen=True, eq=False)
class ConfusionCorrection(Correction):
    """What `correct_confusion` returns: a row per method, and what was fitted on discovery images.

    Attributes:
        confusion: the pair of classes, with the number of confused selection images.
        contrast: scores of the edges for the wrong class, and one set of directions.
    """

    confusion: Confusion
    contrast: Contrast

    def __repr__(self) -> str:
        before, after = (self.row(method).report["true class"] for method in ("none", "edges"))
        pair = f"{self.confusion.true} read as {self.confusion.read}"
        return f"ConfusionCorrection({pair}: true class {before} % → {after} % by edges, {len(self.rows)} methods)"


@runs_model
def correct_confusion(
    model: ViT,
    discovery: LabelledImages,
    selection: LabelledImages,
    report: LabelledImages,
    *,
    search: Search = DEFAULT_SEARCH,
    form: Form = "split",
    seed: int = 0,
    execution: Execution = DEFAULT,
) -> ConfusionCorrection:
    """Correct the confusion of two classes that is most frequent on selection images.

    Rows: `none`; `edges` and `senders`, steered by the excess over the images of the class that are read well; `edges
    at the mean`, fixed at the mean of these images; `random edges` and `random non-circuit edges`, as many and steered
    in the same way. Each row is what raises the mean accuracy of the two classes on selection images most, among what
    costs at most `search.max_loss` of the accuracy on all of them. Report images choose nothing.

    Args:
        model: the model.
        discovery: images that circuit and directions are fitted on.
        selection: images that choose the pair of classes, sizes and strengths.
        report: images that the returned accuracies are of: of the class (`true class`), of the class that it is read as
            (`other class`), of the remaining classes (`all others`), of all images, and the share
            of the class that is still read as the other (`confused`).
        search: what is tried.
        form: form of the graph.
        seed: seed of the random edges.
        execution: batch size and progress; progress counts tried edits.

    Raises:
        InputError: images of another model, no confused selection image, or fewer than two confused or no well-read
            discovery images of the class.

    Examples:
        >>> sevens = cs.image_pairs(source, model, "seven", n=8)
        >>> upright = torch.cat([pairs.clean, sevens.clean])
        >>> turned, labels = torch.rot90(upright, 1, (2, 3)), [3] * 8 + [7] * 8
        >>> images = LabelledImages.of(model, torch.cat([upright, turned]), labels + labels)
        >>> found = correct_confusion(model, images, images, images, search=Search(sizes=(24,), strengths=(1.0,)))
        >>> found.confusion
        Confusion(true=3, read=..., images=...)
    """
    problem = ConfusionProblem(model, discovery, selection, search, form, execution)
    contrast = problem.contrast()
    rows = correction_rows(problem, contrast, report, seed)
    return ConfusionCorrection(tuple(rows), problem.notes, problem.confusion, contrast)


class ConfusionProblem(Problem):
    """A model that reads images of a class as another; see `correct_confusion`.

    Attributes:
        confusion: the most frequent confusion on the selection images.

    Raises:
        InputError: as for `correct_confusion`.
    """

    def __init__(
        self,
        model: ViT,
        discovery: LabelledImages,
        selection: LabelledImages,
        search: Search,
        form: Form,
        execution: Execution,
    ) -> None:
        super().__init__(model, discovery, selection, search, form, execution)
        predicted = [answers(model, None, of.images, self.quiet).predicted for of in (selection, discovery)]
        self.confusion = most_confused(selection.labels.cpu().numpy(), predicted[0])
        self.confused, self.well_read = _divided(discovery, predicted[1], self.confusion)

    @property
    def wrong(self) -> tuple[Contrasted, Int[Tensor, "image"]]:
        read = torch.full((len(self.confused),), self.confusion.read)
        return Contrasted(self.confused, self.well_read), read

    @property
    def sets(self) -> Mapping[str, tuple[Contrasted, ...]]:
        return {"shared": (Contrasted(self.confused, self.well_read),)}

    @property
    def pair(self) -> tuple[int, int]:
        return self.confusion.true, self.confusion.read

    def judge(self, predicted: Predicted) -> Judgement:
        """The mean accuracy of the two classes is raised; the accuracy on all images must not suffer."""
        figures = self.figures(self.selection, predicted)
        both = [figures[name].value for name in ("true class", "other class") if figures[name].images]
        return Judgement(figures, figures["all"].value, (float(np.mean(both)),))

    def figures(self, images: LabelledImages, predicted: Predicted) -> Figures:
        labels = images.labels.cpu().numpy()
        return confusion_figures(labels, predicted == labels, predicted == self.confusion.read, self.pair)

    @property
    def methods(self) -> tuple[Method, ...]:
        return METHODS


def _at_the_mean(problem: Problem, contrast: Contrast, chooser: Chooser) -> Choice:
    reference = problem.wrong[0].reference
    constants = mean_outputs(problem.model, reference.images.split(BATCH))
    return chooser.best(
        Candidate(ablate_edges(problem.model, circuit, constants, form=problem.form), {"edges": circuit.n_edges})
        for circuit in contrast.circuits()
    )


METHODS: tuple[Method, ...] = (
    *STEERING,
    Method("edges at the mean", "fix the circuit's edges at their means over images that are read well", _at_the_mean),
)
"""The methods against a confusion."""


def _divided(
    images: LabelledImages, predicted: Predicted, confusion: Confusion
) -> tuple[LabelledImages, LabelledImages]:
    """Return the confused images of the class, and those that are read well."""
    own = images.labels.cpu().numpy() == confusion.true
    confused, well_read = (images[own & (predicted == c)] for c in (confusion.read, confusion.true))
    if len(confused) < MIN_IMAGES or not len(well_read):
        raise InputError(
            f"discovery: expected at least {MIN_IMAGES} images of class {confusion.true} that are read as "
            f"{confusion.read} and one that is read well, got {len(confused)} and {len(well_read)}; add images of it"
        )
    return confused, well_read
