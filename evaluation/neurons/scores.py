"""Scores of neuron paths: the joint attribution score (JAS) and the path integral with its parts.

F(a) is the probability of an image's class while the path's neurons are set to a · their clean values ŵ:

    parts_n = Σ_positions ŵ_n · ∫ ∂F/∂w_n da                          (they sum to F(1) − F(0): the path integral, `ig`)
    JAS     = Σ_positions (Σ_n ŵ_n) · (Σ_n ∫ ∂F/∂w_n da)              (as Wang et al. 2025 define it)

JAS is a product of two sums. It adds up to no change of the output, an active neuron that does nothing raises it, and
two negative sums give a positive score.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import InputError
from ...models import ViT, n_neurons, runs_model
from ..execution import DEFAULT, Execution
from ..pairs import Indices, check_images, checked_classes
from .explained import Explained, Neurons, Scaled, slopes
from .integral import PUBLISHED, Integral
from .paths import NeuronPaths, Score

Paths = Int[Tensor, "row layer k"]


@runs_model
def score_paths(
    model: ViT,
    images: Tensor,
    labels: Indices,
    paths: np.ndarray | Tensor,
    *,
    integral: Integral = PUBLISHED,
    execution: Execution = DEFAULT,
) -> NeuronPaths:
    """Score neuron paths of images.

    Args:
        images: normalised images `[image, channel, height, width]`.
        labels: the class whose probability is explained, one per image.
        paths: neurons of each layer, `[image, layer, k]`, or `[layer, k]` for the same path in all images.
        integral: steps, rule, tokens, and what other neurons do.
        execution: batch size (runs at a time) and progress, which counts images.

    Raises:
        InputError: images, labels or paths that do not fit the model.

    Examples:
        >>> paths = np.zeros((4, 1), int)  # the first neuron of each layer
        >>> scored = score_paths(model, pairs.clean, pairs.labels, paths)
        >>> scored.jas.shape, scored.parts.shape
        ((8,), (8, 4, 1))
    """
    classes = checked_images(model, images, labels)
    chosen = checked_paths(paths, len(images), model.n_layers, n_neurons(model))
    found, at_once = [], execution.size(model, "block")
    for rows in torch.arange(len(images)).split(at_once):
        explained = Explained.of(model, images[rows], classes[rows], integral.tokens)
        found.append(scored(explained, chosen[rows].to(explained.stream.device), integral, at_once))
        execution.report(int(rows[-1]) + 1, len(images))
    jas, parts = (torch.cat(values).double().cpu().numpy() for values in zip(*found, strict=True))
    return NeuronPaths(chosen.numpy(), classes.numpy(), n_neurons(model), "given", "jas", jas, parts)


class Scores(NamedTuple):
    """JAS and parts of paths."""

    jas: Float[Tensor, "row"]
    parts: Float[Tensor, "row layer k"]


def scored(explained: Explained, paths: Paths, integral: Integral, at_once: int) -> Scores:
    """Return the scores of paths through the first layers; later layers stay live."""
    gradients = slopes(explained, masks(paths, explained.n_neurons), integral, at_once)
    layers = range(paths.shape[1])
    values = torch.stack([_at(explained.clean[layer], paths[:, layer]) for layer in layers], dim=1).to(gradients[0])
    slope = torch.stack([_at(gradients[layer], paths[:, layer]) for layer in layers], dim=1)
    jas = (values.sum(dim=(1, 3)) * slope.sum(dim=(1, 3))).sum(dim=1)
    return Scores(jas, (values * slope).sum(dim=2))


def total(scores: Scores, score: Score) -> Float[Tensor, "row"]:
    """Return a score of each path."""
    return scores.jas if score == "jas" else scores.parts.sum(dim=(1, 2))


def masks(paths: Paths, n_neurons: int) -> Scaled:
    """Return which neurons of each layer are on the paths."""
    none = torch.zeros(len(paths), n_neurons, dtype=torch.bool, device=paths.device)
    return [none.scatter(1, paths[:, layer], True) for layer in range(paths.shape[1])]


def _at(values: Neurons, neurons: Int[Tensor, "row k"]) -> Float[Tensor, "row place k"]:
    return values.gather(2, neurons[:, None].expand(-1, values.shape[1], -1))


def checked_images(model: ViT, images: Tensor, labels: Indices) -> Int[Tensor, "image"]:
    """Check images against a model, and return their labels as a tensor.

    Raises:
        InputError: images or labels that do not fit.
    """
    check_images("images", images, model)
    return checked_classes("labels", labels, len(images), model).cpu()


def checked_paths(
    paths: np.ndarray | Tensor, n_images: int, n_layers: int, neurons: int
) -> Int[Tensor, "image layer k"]:
    """Return a path per image.

    Raises:
        InputError: other shapes, a layer or neuron that does not exist, or a neuron that is named twice.
    """
    given = torch.as_tensor(paths).cpu()
    shapes = f"[{n_images} images, {n_layers} layers, k] or [{n_layers} layers, k]"
    if given.is_floating_point() or given.dtype == torch.bool or given.ndim not in (2, 3) or not given.numel():
        raise InputError(f"paths: expected whole numbers {shapes}, got {given.dtype} of shape {tuple(given.shape)}")
    every = given.long().expand(n_images, *given.shape[-2:]) if given.ndim == 2 else given.long()
    if every.shape[:2] != (n_images, n_layers):
        raise InputError(f"paths: expected {shapes}, got shape {tuple(given.shape)}")
    wrong = every[(every < 0) | (every >= neurons)].tolist()
    if wrong:
        raise InputError(f"paths: each layer has neurons 0 to {neurons - 1}, got {wrong[0]}")
    if (every.sort(dim=2).values.diff(dim=2) == 0).any():
        raise InputError("paths: a neuron of a layer is named twice; name each once")
    return every.contiguous()
