"""Answers about neuron paths: the share of the images whose path a neuron is on, and the path of a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from .circuit import Circuit
from .discovery import Discovery
from .neurons import NEURONS, Neurons, Paths
from .recipe import WorkItem
from .record import CircuitRecord, Extraction
from .scores import EdgeScores
from .universes import universe_of


def path_shares(universe: Neurons, paths: Paths) -> EdgeScores:
    """Return the score of each neuron: 1 for the images whose path it is on, so the mean is its share of the images.

    Raises:
        InputError: no images, or paths that do not fit.

    Examples:
        >>> paths = np.array([[[2], [0]], [[2], [1]]])  # of two images through two MLPs
        >>> path_shares(Neurons(2, 3), paths).mean.tolist()
        [0.0, 0.0, 1.0, 0.5, 0.5, 0.0]
    """
    return EdgeScores.from_images(universe, universe.on_path(paths).astype(np.float32))


def class_path(universe: Neurons, shares: Float[np.ndarray, "edge"], k: int) -> Circuit:
    """Return the path of a class: the `k` neurons of each layer that are on most images' paths, of equals the first.

    Args:
        universe: the neurons.
        shares: share of the images whose path each neuron is on.
        k: number of neurons of each layer.

    Examples:
        >>> shares = path_shares(Neurons(2, 3), np.array([[[2], [0]], [[2], [1]]])).mean
        >>> class_path(Neurons(2, 3), shares, k=1).edges
        ('m0.n2->m1', 'm1.n0->logits')
    """
    order = np.argsort(-shares.reshape(universe.n_layers, universe.width), axis=1, kind="stable")[:, :k]
    members = np.zeros((universe.n_layers, universe.width), bool)
    np.put_along_axis(members, order, True, axis=1)
    return Circuit.pruned(universe, np.flatnonzero(members), size_requested=int(members.sum()), extraction="found")


def asks_for_paths(item: WorkItem) -> bool:
    """Return whether an item asks for neuron paths.

    Examples:
        >>> asks_for_paths(store.circuit(store.circuits()["id"][0]).item)
        False
    """
    return item.recipe.over.kind == NEURONS


def path_discovery(
    item: WorkItem,
    images: tuple[str, ...],
    paths: Paths,
    *,
    jas: Float[np.ndarray, "image"],
    parts: Float[np.ndarray, "image layer k"],
    provenance: Mapping[str, Any] | None = None,
) -> Discovery:
    """Return the answer to an item that asks for neuron paths.

    Its members are the path of the class, its trace has the path of each image with its scores.

    Args:
        item: the question.
        images: content hashes of the images.
        paths: index of each neuron in its layer.
        jas: joint attribution score of each path.
        parts: each neuron's part of the path integral.
        provenance: device, versions, warnings and seconds.

    Raises:
        InputError: no images, or paths that do not fit the model.

    Examples:
        >>> from circuitstore.testing.factories import make_item, path_item
        >>> item = path_item(make_item(n_layers=2), width=3)
        >>> paths, parts = np.array([[[2], [0]]]), np.array([[[0.5], [0.25]]])
        >>> path_discovery(item, ("3f2a81",), paths, jas=np.array([0.1]), parts=parts).circuit.nodes
        ('m0', 'm0.n2', 'm1', 'm1.n0', 'logits')
    """
    universe = universe_of(item.model, item.recipe.over)
    assert isinstance(universe, Neurons)
    scores = path_shares(universe, paths)
    members = class_path(universe, scores.mean, paths.shape[2]).members
    trace = {"paths": paths.tolist(), "jas": jas.tolist(), "parts": parts.tolist()}
    return Discovery(item, scores, images, members, trace, provenance or {})


def path_record(discovery: Discovery) -> CircuitRecord:
    """Return the path of a class as the store has it; the scores of its edges are the shares of its neurons.

    Examples:
        >>> from circuitstore.testing.factories import make_item, make_paths, path_item
        >>> found, _ = make_paths(path_item(make_item(), width=8))
        >>> path_record(found).to_pandas()["receiver"].tolist()
        ['m1', 'm2', 'm3', 'logits']
    """
    return CircuitRecord(
        item=discovery.item,
        extraction=Extraction.of("found"),
        circuit=discovery.circuit,
        n_images=len(discovery.images),
        evaluation=None,
        notes=tuple(text for kind in ("image_warnings", "warnings") for text in discovery.provenance.get(kind, ())),
    )
