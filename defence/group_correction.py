"""Correct a model that trusts a cue: steer the circuit of the cue, chosen by the group with the lowest accuracy.

The circuit comes from a contrast of groups: images with a misleading cue against other images of their class. The
metric is logit(class of the cue) − logit(true class). No pairs of images that differ only in the cue are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..circuits import Form
from ..errors import InputError
from ..evaluation import DEFAULT, Execution
from ..evaluation.interventions import Directions
from ..models import PENALTIES, ViT, mean_outputs, runs_model
from .answers import BATCH, Predicted, answers
from .choosing import Candidate, Chooser, Judgement, Tried
from .components import ablated_by_gain
from .contrast import Contrast, contrasting_directions, contrasting_scores
from .correction import Correction, CorrectionRow
from .cued_images import RELATIONS, CuedImages
from .group_accuracy import GroupAccuracy
from .last_layer import retrained_heads
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
    for name, images in (("discovery", discovery), ("selection", selection), ("report", report)):
        if "misleading" not in images.relations:
            raise InputError(f"{name}: expected some images whose cue goes with another class, got {images}")
    quiet = replace(execution, progress=None, journal=None)
    reference, notes = _reference(discovery)
    contrast = _fit(model, discovery.related("misleading"), reference, search, form, quiet)

    def judge(predicted: Predicted) -> Judgement:
        accuracy = GroupAccuracy.of(selection, predicted)
        bounded = accuracy.related("no cue")
        return Judgement(
            accuracy.summary, bounded.value if bounded.images else 1.0, (accuracy.worst.value, accuracy.mean)
        )

    def row(method: str, chosen: Tried) -> CorrectionRow:
        edit = chosen.candidate.edit
        predicted = answers(model, edit, report.images, quiet).predicted
        figures = GroupAccuracy.of(report, predicted).summary
        return CorrectionRow(method, edit, chosen.judged.figures, figures, predicted)

    chooser = Chooser(model, selection, judge, search.max_loss, execution)
    edges = chooser.best(contrast.steered_edges()).chosen
    constants = mean_outputs(model, reference.images.split(BATCH))
    chosen = {
        "none": chooser.plain,
        "edges": edges,
        "senders": chooser.best(contrast.steered_senders()).chosen,
        "random edges": chooser.best(contrast.random_edges(edges.candidate, seed)).chosen,
        "random non-circuit edges": chooser.best(contrast.random_edges(edges.candidate, seed, outside=True)).chosen,
        "heads and MLPs": ablated_by_gain(chooser, model, constants).chosen,
        "last layer": chooser.best(_last_layers(model, discovery, quiet), bounded=False).chosen,
    }
    return GroupCorrection(tuple(row(*one) for one in chosen.items()), notes, contrast)


def _reference(discovery: CuedImages) -> tuple[CuedImages, tuple[str, ...]]:
    """Return the images that directions start from, and a note if they bear a cue."""
    without = discovery.related("no cue")
    if len(without):
        return without, ()
    return discovery.related("agreeing"), (
        "no discovery image is without a cue: images with the cue of their class are the reference, and no loss is "
        "bounded",
    )


def _fit(
    model: ViT, misleading: CuedImages, reference: CuedImages, search: Search, form: Form, execution: Execution
) -> Contrast:
    """Fit scores, the directions of each cue, and shared ones."""
    scores = contrasting_scores(model, misleading, misleading.cues, reference, form=form, execution=execution)

    def directions(images: CuedImages, without: CuedImages) -> Directions:
        return contrasting_directions(model, images, without, form=form, quantile=search.quantile, execution=execution)

    by_cue = []
    for cue in misleading.cues.unique().tolist():
        images = misleading[misleading.cues.numpy() == cue]
        if len(images) >= MIN_IMAGES:
            by_cue.append(directions(images, reference[reference.cues.numpy() != cue]))
    shared = (directions(misleading, reference),)
    return Contrast(scores, {"by cue": tuple(by_cue), "shared": shared} if by_cue else {"shared": shared}, search)


def _last_layers(model: ViT, discovery: CuedImages, execution: Execution) -> Iterator[Candidate]:
    """Yield last layers that are trained on equally many images of each group."""
    labels = discovery.labels.numpy()
    groups = [
        np.flatnonzero((labels == label) & (discovery.relations == relation))
        for label in np.unique(labels)
        for relation in RELATIONS
    ]
    smallest = min(len(group) for group in groups if len(group))
    balanced = discovery[np.concatenate([group[:smallest] for group in groups])]
    heads = retrained_heads(model, balanced.images, balanced.labels, execution=execution)
    for penalty, head in zip(PENALTIES, heads, strict=True):
        yield Candidate(head, {"penalty": penalty})
