"""Correct a look-alike confusion: images of one class that a model reads as another.

The edges that carry the wrong logit come from a contrast within the class: confused images against images that are read
well, with the metric logit(wrong class) − logit(true class). They are steered by the excess over the images that are
read well, or fixed at the mean of these images. The two classes trade: an edit that takes images from the wrong class
also takes some of its own, so the accuracies of both are reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from ..circuits import Form, Proportion
from ..errors import InputError
from ..evaluation import DEFAULT, Execution
from ..evaluation.interventions import ablate_edges
from ..models import ViT, mean_outputs, runs_model
from .answers import BATCH, Predicted, answers
from .choosing import Candidate, Chooser, Figures, Judgement, Tried
from .contrast import Contrast, contrasting_directions, contrasting_scores
from .correction import Correction, CorrectionRow
from .labelled import LabelledImages
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
    quiet = replace(execution, progress=None, journal=None)
    confusion = most_confused(selection.labels.numpy(), answers(model, None, selection.images, quiet).predicted)
    confused, well_read = _divided(discovery, answers(model, None, discovery.images, quiet).predicted, confusion)
    wrong = torch.full((len(confused),), confusion.read)
    scores = contrasting_scores(model, confused, wrong, well_read, form=form, execution=quiet)
    options: dict[str, Any] = {"form": form, "quantile": search.quantile, "execution": quiet}
    contrast = Contrast(scores, {"shared": (contrasting_directions(model, confused, well_read, **options),)}, search)

    def judge(predicted: Predicted) -> Judgement:
        figures = _figures(selection, predicted, confusion)
        pair = [figures[name].value for name in ("true class", "other class") if figures[name].images]
        return Judgement(figures, figures["all"].value, (float(np.mean(pair)),))

    def row(method: str, chosen: Tried) -> CorrectionRow:
        edit = chosen.candidate.edit
        predicted = answers(model, edit, report.images, quiet).predicted
        return CorrectionRow(method, edit, chosen.judged.figures, _figures(report, predicted, confusion), predicted)

    def at_the_mean() -> Iterator[Candidate]:
        constants = mean_outputs(model, well_read.images.split(BATCH))
        for circuit in contrast.circuits():
            yield Candidate(ablate_edges(model, circuit, constants, form=form), {"edges": circuit.n_edges})

    chooser = Chooser(model, selection, judge, search.max_loss, execution)
    edges = chooser.best(contrast.steered_edges()).chosen
    chosen = {
        "none": chooser.plain,
        "edges": edges,
        "senders": chooser.best(contrast.steered_senders()).chosen,
        "edges at the mean": chooser.best(at_the_mean()).chosen,
        "random edges": chooser.best(contrast.random_edges(edges.candidate, seed)).chosen,
        "random non-circuit edges": chooser.best(contrast.random_edges(edges.candidate, seed, outside=True)).chosen,
    }
    return ConfusionCorrection(tuple(row(*one) for one in chosen.items()), (), confusion, contrast)


def _divided(
    images: LabelledImages, predicted: Predicted, confusion: Confusion
) -> tuple[LabelledImages, LabelledImages]:
    """Return the confused images of the class, and those that are read well."""
    own = images.labels.numpy() == confusion.true
    confused, well_read = (images[own & (predicted == c)] for c in (confusion.read, confusion.true))
    if len(confused) < MIN_IMAGES or not len(well_read):
        raise InputError(
            f"discovery: expected at least {MIN_IMAGES} images of class {confusion.true} that are read as "
            f"{confusion.read} and one that is read well, got {len(confused)} and {len(well_read)}; add images of it"
        )
    return confused, well_read


def _figures(images: LabelledImages, predicted: Predicted, confusion: Confusion) -> Figures:
    labels = images.labels.numpy()
    right, own, other = labels == predicted, labels == confusion.true, labels == confusion.read
    return {
        "true class": Proportion.of(right, own),
        "other class": Proportion.of(right, other),
        "all others": Proportion.of(right, ~own & ~other),
        "all": Proportion.of(right),
        "confused": Proportion.of(predicted == confusion.read, own),
    }
