"""The circuit and the directions of what sets images apart from other images of their classes.

The images are contrasted with reference images of the same classes, without pairs: scores of the edges with the metric
logit(wrong class) − logit(true class), and directions of unit differences from the mean of the class, see
`fit_group_directions`. What exceeds the projections of the reference images can then be removed on the edges, or at
their senders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from ..circuits import Circuit, EdgeScores, Form
from ..discovery import score_edges
from ..errors import InputError
from ..evaluation import Execution, ImagePairs
from ..evaluation.interventions import (
    Directions,
    SteeredEdges,
    fit_group_directions,
    random_edges,
    steer_edges,
    steer_senders,
)
from ..models import ViT
from .choosing import NOTHING, Candidate
from .labelled import LabelledImages
from .search import Search


@dataclass(frozen=True, eq=False)
class Contrast:
    """What was fitted on images and their reference images.

    Attributes:
        scores: score of each edge for the wrong class.
        directions: sets of directions by name; those of a set apply in turn.
        search: sizes and strengths to try.
    """

    scores: EdgeScores
    directions: Mapping[str, tuple[Directions, ...]]
    search: Search

    def circuits(self) -> list[Circuit]:
        """Return the circuits of all sizes."""
        n_edges = self.scores.universe.n_edges
        return [self.scores.greedy(n) for n in dict.fromkeys(min(n, n_edges) for n in self.search.sizes)]

    def steered_edges(self) -> Iterator[Candidate]:
        """Yield steering of the edges of each circuit, with each set of directions and strength."""
        for circuit in self.circuits():
            for name, directions in self.directions.items():
                for strength in self.search.strengths:
                    settings = {"edges": circuit.n_edges, "directions": name, "strength": strength}
                    yield Candidate(steer_edges(directions, circuit, strength), settings)

    def steered_senders(self) -> Iterator[Candidate]:
        """Yield the same at all readers of the circuits' senders."""
        for circuit in self.circuits():
            graph = circuit.graph
            names = [graph.senders[sender] for sender in np.unique(graph.edge_sender[circuit.members])]
            for name, directions in self.directions.items():
                for strength in self.search.strengths:
                    settings = {"senders": len(names), "directions": name, "strength": strength}
                    yield Candidate(steer_senders(directions, names, strength), settings)

    def random_edges(self, like: Candidate, seed: int, *, outside: bool = False) -> Candidate:
        """Return steering of random edges, as many and in the same way as the chosen ones; nothing if none was chosen.

        Args:
            like: the chosen candidate.
            seed: seed of the draw.
            outside: draw only from edges that are not among the chosen ones.
        """
        edit = like.edit
        if not isinstance(edit, SteeredEdges):
            return NOTHING
        graph = self.scores.graph
        chosen = Circuit(graph, np.isin(graph.edge_names, edit.edges))
        n = min(chosen.n_edges, graph.n_edges - chosen.n_edges) if outside else chosen.n_edges
        if not n:
            return NOTHING
        names = random_edges(graph, n, seed=seed, outside=chosen if outside else None)
        return Candidate(steer_edges(edit.directions, names, edit.strength), {**like.settings, "edges": n})


def contrasting_scores(
    model: ViT,
    images: LabelledImages,
    wrong: Int[torch.Tensor, "image"],
    reference: LabelledImages,
    *,
    form: Form,
    execution: Execution,
) -> EdgeScores:
    """Score edges for logit(wrong class) − logit(true class), with reference images of the same classes in turn.

    Raises:
        InputError: a class with images but without reference images.
    """
    partners = np.empty(len(images), int)
    for label in images.labels.unique().tolist():
        own, others = (np.flatnonzero(of.labels.numpy() == label) for of in (images, reference))
        if not len(others):
            raise InputError(
                f"discovery: {len(own)} images of class {label} to correct, but no reference image of this class; add "
                "some, or leave the class out"
            )
        partners[own] = np.resize(others, len(own))
    pairs = ImagePairs.of(model, images.images, reference[partners].images, images.labels, wrong)
    return score_edges(model, pairs, form=form, metric="logit-diff", execution=execution)


def contrasting_directions(
    model: ViT,
    images: LabelledImages,
    reference: LabelledImages,
    *,
    form: Form,
    quantile: float,
    execution: Execution,
) -> Directions:
    """Fit directions from images, with their offsets from reference images of the same classes."""
    return fit_group_directions(
        model,
        images.images,
        reference.images,
        images.labels,
        reference.labels,
        form=form,
        quantile=quantile,
        execution=execution,
    )
