"""Neuron paths in a run: searches by the name and parameters that a spec gives, their items' recipes, and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..circuits import Discovery, MethodUse, Recipe, WorkItem, neurons, path_discovery
from ..circuits.recipe import identity_fields
from ..evaluation import METRICS, Execution, ImagePairs, neuron_paths
from ..evaluation.neurons import Search, resolve_search
from ..images import CORRUPTIONS
from ..models import ViT, n_neurons

VERSION = 1
"""Version of what the searches compute, part of the identity of their answers."""


def search_method(name: str, params: Mapping[str, Any]) -> MethodUse:
    """Return a search with all its parameters, as recipes name it.

    Raises:
        InputError: an unknown search or parameter, or a value that is not allowed.

    Examples:
        >>> search_method("activation", {"k": 2})["k"]
        2
    """
    return MethodUse.of(name, identity_fields(resolve_search(name, params)), VERSION)


def search_of(method: MethodUse) -> Search:
    """Return the search that a recipe names."""
    return resolve_search(method.kind, dict(method.params))


def path_recipe(method: MethodUse, width: int, *, dtype: str, seed: int) -> Recipe:
    """Return the recipe of neuron paths: they explain the probability of the true class, and start at neurons of 0.

    Args:
        method: the search.
        width: number of neurons of each MLP.
        dtype: floating-point type.
        seed: seed of the run.
    """
    over = neurons(width)
    metric, zero = METRICS.resolve("probability"), CORRUPTIONS.resolve("zero")
    return Recipe(method, over.form, metric, zero, dtype=dtype, seed=seed, universe=over)


def find_paths(model: ViT, pairs: ImagePairs, item: WorkItem, execution: Execution) -> Discovery:
    """Return the answer to an item that asks for neuron paths, from its discovery images.

    Raises:
        InputError: the search is not possible on this model.
    """
    found = neuron_paths(model, pairs.clean, pairs.labels, search_of(item.recipe.method), execution=execution)
    return path_discovery(item, pairs.hashes, found.paths, jas=found.jas, parts=found.parts)


def path_runs(model: ViT, method: MethodUse) -> int:
    """Return an upper bound of the forward and of the backward passes of a search, per image."""
    search = search_of(method)
    width, scored = getattr(search, "beam", 1), len(search.points[0])
    candidates = n_neurons(model) if getattr(search, "candidates", "together") == "alone" else 1
    return scored * (1 + width * candidates * model.n_layers)
