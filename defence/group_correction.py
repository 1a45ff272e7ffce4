"""Correct a model that trusts a cue: steer the circuit of the cue, chosen by the group with the lowest accuracy.

The circuit comes from a contrast of groups: images with a misleading cue against other images of their class. The
metric is logit(class of the cue) − logit(true class). No pairs of images that differ only in the cue are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from torch import Tensor

from ..circuits import RELATIONS, Figures, Form, GroupAccuracy
from ..errors import InputError
from ..evaluation import DEFAULT, Execution
from ..models import PENALTIES, ViT, mean_outputs, runs_model
from .answers import BATCH, Predicted
from .choosing import Candidate, Choice, Chooser, Judgement
from .components import ablated_by_gain
from .contrast import Contrast
from .correction import Correction
from .cued_images import CuedImages
from .labelled import LabelledImages
from .last_layer import retrained_heads
from .problem import STEERING, Contrasted, Method, Problem, correction_rows
from .search import DEFAULT_SEARCH, Search

MIN_IMAGES = 2
"""Minimum number of images with a misleading cue that a direction is fitted on."""


@dataclass(frozen=True, eq=False)
class GroupCorrection(Correction):
    """What `correct_groups` returns: a row per method, and what was fitted on discovery images.

    Attributes:
        contrast: scores of the edges for the cue, and two sets of directions: `by cue`, one of each cue, which apply in
            turn, and `shared` by all cues.
    """

    contrast: Contrast

    def __repr__(self) -> str:
        before, after = (self.row(method).report["worst group"] for method in ("none", "edges"))
        return f"GroupCorrection(worst group {before} % → {after} % by edges, {len(self.rows)} methods)"


@runs_model
def correct_groups(
    model: ViT,
    discovery: CuedImages,
    selection: CuedImages,
    report: CuedImages,
    *,
    search: Search = DEFAULT_SEARCH,
    form: Form = "split",
    seed: int = 0,
    execution: Execution = DEFAULT,
) -> GroupCorrection:
    """Correct a model that trusts a cue, and compare with simpler corrections from the same images.

    Rows: `none`; `edges` and `senders`, steered by the excess over the reference images; `random edges` and `random
    non-circuit edges`, as many and steered in the same way; `heads and MLPs`, at most three, fixed at their mean;
    `last layer`, trained again on equally many images of each group. Each row is what raises the lowest accuracy of a
    group of selection images most, among what costs at most `search.max_loss` on those without a cue. Report images
    choose nothing. The loss of `last layer` is not bounded, because it has no strength that could be reduced.

    Args:
        model: the model.
        discovery: images that circuit, directions and last layer are fitted on: a few with a misleading cue of each
            class, and images of the same classes without a cue, the reference. If no image is without a cue, those
            whose cue agrees with their class are the reference, and no loss is bounded.
        selection: images that choose sizes, strengths, components and the penalty of the last layer.
        report: images that the returned accuracies are of.
        search: what is tried.
        form: form of the graph.
        seed: seed of the random edges.
        execution: batch size and progress; progress counts tried edits.

    Raises:
        InputError: images of another model, images of which none has a misleading cue, or a class with such images but
            without reference images.

    Examples:
        >>> sevens = cs.image_pairs(source, model, "seven", n=8)
        >>> images, labels = torch.cat([pairs.clean, sevens.clean]), [3] * 8 + [7] * 8
        >>> cued = CuedImages.in_groups(model, images, labels, ["plain", "bar"] * 8, {"bar": 5})
        >>> found = correct_groups(model, cued, cued, cued, search=Search(sizes=(24,), strengths=(1.0,)))
        >>> [row.method for row in found.rows]
        ['none', 'edges', 'senders', 'random edges', 'random non-circuit edges', 'heads and MLPs', 'last layer']
        >>> found.to_pandas().columns.tolist()
        ['method', 'edit', 'group', 'images', 'accuracy', 'low', 'high']
    """
    problem = GroupProblem(model, discovery, selection, search, form, execution)
    check_misleading("report", report)
    contrast = problem.contrast()
    return GroupCorrection(tuple(correction_rows(problem, contrast, report, seed)), problem.notes, contrast)


class GroupProblem(Problem):
    """A model that trusts a cue, with images in groups; see `correct_groups`.

    Raises:
        InputError: as for `correct_groups`.
    """

    discovery: CuedImages
    selection: CuedImages

    def __init__(
        self,
        model: ViT,
        discovery: CuedImages,
        selection: CuedImages,
        search: Search,
        form: Form,
        execution: Execution,
    ) -> None:
        super().__init__(model, discovery, selection, search, form, execution)
        check_misleading("discovery", discovery)
        check_misleading("selection", selection)
        self.misleading, self.reference = discovery.related("misleading"), discovery.related("no cue")
        if not len(self.reference):
            self.reference = discovery.related("agreeing")
            self.notes = (
                "no discovery image is without a cue: images with the cue of their class are the reference, and no "
                "loss is bounded",
            )

    @property
    def wrong(self) -> tuple[Contrasted, Int[Tensor, "image"]]:
        return Contrasted(self.misleading, self.reference), self.misleading.cues

    @property
    def sets(self) -> Mapping[str, tuple[Contrasted, ...]]:
        """Directions `by cue`, one of each cue, and one that is `shared` by all."""
        by_cue = []
        for cue in self.misleading.cues.unique().tolist():
            images = self.misleading[self.misleading.cues.cpu().numpy() == cue]
            if len(images) >= MIN_IMAGES:
                by_cue.append(Contrasted(images, self.reference[self.reference.cues.cpu().numpy() != cue]))
        shared = {"shared": (Contrasted(self.misleading, self.reference),)}
        return {"by cue": tuple(by_cue), **shared} if by_cue else shared

    @property
    def pair(self) -> None:
        return None

    def judge(self, predicted: Predicted) -> Judgement:
        """The worst group is raised, then the mean over groups; accuracy without a cue must not suffer."""
        accuracy = _accuracy(self.selection, predicted)
        bounded = accuracy.related("no cue")
        kept = bounded.value if bounded.images else 1.0
        return Judgement(accuracy.summary, kept, (accuracy.worst.value, accuracy.mean))

    def figures(self, images: LabelledImages, predicted: Predicted) -> Figures:
        assert isinstance(images, CuedImages)
        return _accuracy(images, predicted).summary

    @property
    def methods(self) -> tuple[Method, ...]:
        return METHODS


def check_misleading(name: str, images: CuedImages) -> None:
    """Check that images show the error.

    Raises:
        InputError: none of them has a misleading cue.
    """
    if "misleading" not in images.relations:
        raise InputError(f"{name}: expected some images whose cue goes with another class, got {images}")


def _accuracy(images: CuedImages, predicted: Predicted) -> GroupAccuracy:
    labels = images.labels.cpu().numpy()
    return GroupAccuracy.of(labels, images.cues.cpu().numpy(), predicted == labels)


def _components(problem: Problem, contrast: Contrast, chooser: Chooser) -> Choice:
    reference = problem.wrong[0].reference
    return ablated_by_gain(chooser, problem.model, mean_outputs(problem.model, reference.images.split(BATCH)))


def _last_layer(problem: Problem, contrast: Contrast, chooser: Chooser) -> Choice:
    """Choose among last layers that are trained on equally many images of each group."""
    discovery = problem.discovery
    assert isinstance(discovery, CuedImages)
    labels, relations = discovery.labels.cpu().numpy(), discovery.relations
    groups = [
        np.flatnonzero((labels == label) & (relations == relation))
        for label in np.unique(labels)
        for relation in RELATIONS
    ]
    smallest = min(len(group) for group in groups if len(group))
    balanced = discovery[np.concatenate([group[:smallest] for group in groups])]
    heads = retrained_heads(problem.model, balanced.images, balanced.labels, execution=problem.quiet)
    candidates = [Candidate(head, {"penalty": c}) for head, c in zip(heads, PENALTIES, strict=True)]
    return chooser.best(candidates, bounded=False)


METHODS: tuple[Method, ...] = (
    *STEERING,
    Method("heads and MLPs", "at most three whole heads or MLPs, fixed at their means, chosen greedily", _components),
    Method(
        "last layer", "logistic regression on equally many images of each group; its loss is not bounded", _last_layer
    ),
)
"""The methods against a misleading cue."""
