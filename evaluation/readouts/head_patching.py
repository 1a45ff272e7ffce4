"""Activation patching of heads: the effect of each head, and of what each head sends to each later head.

Both are exact patching with everything downstream recomputed: of nodes (`patch_nodes`), and of edges in the `head` form
(`patch_edges`), which carry what the receiver's q, k and v read together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...circuits import Axis, Metric, Readout
from ...circuits.kinds import choice
from ...circuits.recipe import DIRECTIONS, Direction
from ...errors import InputError
from ...models import ViT
from ..edges import FORWARDS_PER_EDGE, patch_edges
from ..execution import DEFAULT, Execution
from ..measured import measure
from ..nodes import patch_nodes
from ..pairs import ImagePairs
from .batched import head_axis, image_axis, layer_axis
from .kind import ReadoutKind, of_measured


def patch_heads(
    model: ViT,
    pairs: ImagePairs,
    *,
    metric: str | Metric = "logit",
    direction: Direction = "noising",
    execution: Execution = DEFAULT,
) -> Readout:
    """Patch each head at all tokens.

    Args:
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        direction: `noising` (clean run, a head corrupted) or `denoising` (corrupted run, a head restored).
        execution: batch size and progress; progress counts runs of all images.

    Returns:
        Effects `[image, layer, head]`, in units of the metric; positive if the head raises it.

    Raises:
        InputError: pairs or a metric that do not fit, or `denoising` without corrupted images.

    Examples:
        >>> patch_heads(model, pairs).mean().values.shape
        (4, 4)
    """
    found = patch_nodes(
        model, pairs, nodes=_heads(model), metric=metric, direction=direction, execution=execution
    ).per_image
    axes = (image_axis(len(pairs)), layer_axis(model), head_axis(model))
    kept = measure(model, pairs, metric).metric
    values = found.reshape(len(pairs), model.n_layers, model.n_heads).astype(_type(model))
    return Readout(HEAD_PATCHING.use(direction=direction), axes, values, unit=kept.text, metric=kept)


def patch_head_pairs(
    model: ViT,
    pairs: ImagePairs,
    *,
    metric: str | Metric = "logit",
    direction: Direction = "noising",
    execution: Execution = DEFAULT,
) -> Readout:
    """Patch what each head sends to each head of a later layer, one edge at a time.

    Args:
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        direction: `noising` (clean run, an edge corrupted) or `denoising` (corrupted run, an edge restored).
        execution: batch size.

    Returns:
        Effects `[image, sender, receiver]`, in units of the metric; positive if the edge raises it, 0 where there is
        no edge.

    Raises:
        InputError: a model of one layer, pairs or a metric that do not fit, or `denoising` without corrupted images.

    Examples:
        >>> found = patch_head_pairs(model, pairs)
        >>> found.select(image=0, sender="a0.h1", receiver="a2.h0").values.shape
        ()
    """
    if model.n_layers < 2:
        raise InputError(f"model: heads send to heads of later layers, so expected two layers, {model.name} has one")
    names = _heads(model)
    places = [(s, r) for s in range(len(names)) for r in range(len(names)) if s // model.n_heads < r // model.n_heads]
    edges = [f"{names[sender]}->{names[receiver]}" for sender, receiver in places]
    found = patch_edges(model, pairs, edges, form="head", metric=metric, direction=direction, execution=execution)
    values = np.zeros((len(pairs), len(names), len(names)), _type(model))
    values[:, *np.array(places, int).reshape(-1, 2).T] = found.per_image
    axes = (image_axis(len(pairs)), Axis("sender", tuple(names)), Axis("receiver", tuple(names)))
    kept = measure(model, pairs, metric).metric
    return Readout(HEAD_PAIRS.use(direction=direction), axes, values, unit=kept.text, metric=kept)


def _passes_of_pairs(model: ViT, direction: str) -> tuple[float, int]:
    return 2 + FORWARDS_PER_EDGE * model.n_heads**2 * model.n_layers * (model.n_layers - 1) / 2, 0


def _type(model: ViT) -> type[np.floating]:
    return np.float64 if model.dtype == torch.float64 else np.float32


def _heads(model: ViT) -> Sequence[str]:
    return [f"a{layer}.h{head}" for layer in range(model.n_layers) for head in range(model.n_heads)]


HEAD_PATCHING = ReadoutKind(
    key="head-patching",
    name="Effect of patching each head at all tokens",
    source="Vig et al. 2020, arXiv 2004.12265",
    function=of_measured(patch_heads),
    passes=lambda model, direction: (2 + model.n_layers * model.n_heads / 2, 0),
    numbers=lambda model, direction: model.n_layers * model.n_heads,
    params={"direction": choice(*DIRECTIONS)},
    reads_metric=True,
)
HEAD_PAIRS = ReadoutKind(
    key="head-pairs",
    name="Effect of patching what each head sends to each later head",
    source="Wang et al. 2023, arXiv 2211.00593",
    function=of_measured(patch_head_pairs),
    passes=_passes_of_pairs,
    numbers=lambda model, direction: (model.n_layers * model.n_heads) ** 2,
    params={"direction": choice(*DIRECTIONS)},
    reads_metric=True,
)
