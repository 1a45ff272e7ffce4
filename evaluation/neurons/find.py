"""Find neuron paths of images, and score them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError, check_known
from ...models import ViT, n_neurons, runs_model
from ..execution import DEFAULT, Execution
from ..pairs import Indices
from .baselines import Activation, InfluencePattern, PerLayer, RandomNeurons
from .explained import Explained
from .paths import NeuronPaths
from .scores import checked_images, scored
from .search import Exhaustive, PathSearch, Search

SEARCHES: Mapping[str, Search] = MappingProxyType(
    {
        "neuron-path": PathSearch(),
        "per-layer": PerLayer(),
        "activation": Activation(),
        "influence-pattern": InfluencePattern(),
        "random": RandomNeurons(),
        "exhaustive": Exhaustive(),
    }
)
"""Searches and baselines by name, with their default values."""


@runs_model
def neuron_paths(
    model: ViT,
    images: Tensor,
    labels: Indices,
    search: Search | str = "neuron-path",
    *,
    execution: Execution = DEFAULT,
    **params: Any,
) -> NeuronPaths:
    """Find a neuron path for each image, by a search or as a baseline, and score it.

    Args:
        images: normalised images `[image, channel, height, width]`.
        labels: the class whose probability is explained, one per image.
        search: a key of `SEARCHES`, or a value such as `PathSearch(score="ig", beam=4)` or `Activation(k=5)`.
        execution: batch size (runs at a time) and progress, which counts images.
        params: fields of the search to change, such as `score="ig", beam=4`.

    Raises:
        InputError: images or labels that do not fit, an unknown search or field, more neurons per layer than there
            are, or the class token of a model whose classifier does not read it.
        NotRepresentable: the model has MLPs without neurons, see `models.n_neurons`.

    Examples:
        >>> paths = neuron_paths(model, pairs.clean, pairs.labels, steps=5, rule="midpoint")
        >>> paths
        NeuronPaths(8 images, 4 layers × 1 of 256 neurons, by jas search, candidates together)
        >>> paths.nodes(0)
        ('m0.n...', 'm1.n...', 'm2.n...', 'm3.n...')
        >>> neuron_paths(model, pairs.clean, pairs.labels, "activation").paths.shape
        (8, 4, 1)
    """
    classes, chosen = checked_images(model, images, labels), resolve_search(search, params)
    if chosen.k > n_neurons(model):
        raise InputError(f"k: expected at most the {n_neurons(model)} neurons of a layer, got {chosen.k}")
    found, at_once = [], execution.size(model, "block")
    for rows in torch.arange(len(images)).split(chosen.images(at_once)):
        explained = Explained.of(model, images[rows], classes[rows], chosen.tokens)
        paths = chosen.find(explained, at_once)
        found.append((paths.cpu(), *scored(explained, paths, chosen, at_once)))
        execution.report(int(rows[-1]) + 1, len(images))
    paths, jas, parts = (torch.cat(values).cpu() for values in zip(*found, strict=True))
    scores = jas.double().numpy(), parts.double().numpy()
    return NeuronPaths(paths.numpy(), classes.numpy(), n_neurons(model), chosen.text, chosen.score, *scores)


def resolve_search(search: Search | str, params: Mapping[str, Any]) -> Search:
    """Return a search with other values of some fields.

    Args:
        search: a key of `SEARCHES`, or a value.
        params: values by field.

    Raises:
        InputError: an unknown search or field, or a value that is not allowed.

    Examples:
        >>> resolve_search("activation", {"k": 5})
        Activation(steps=20, rule='left', nodes=8, others='frozen', tokens='class', score='jas', k=5)
    """
    if isinstance(search, str):
        check_known("search", search, SEARCHES)
        search = SEARCHES[search]
    if not isinstance(search, Search):
        raise InputError(f"search: expected a name or a value, such as PathSearch(), got {search!r}")
    names = [field.name for field in fields(search)]
    for name in params:
        check_known("field", name, names, search.text)
    return replace(search, **params)
