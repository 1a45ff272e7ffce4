"""Removal and enhancement of neurons: the values that a run computes for them, multiplied by a factor.

Everything else is computed as usual, including later neurons, which may compensate. NeuronPath (Wang et al. 2025,
arXiv 2503.09046) changes the neurons of a path at the class token, by factors 0 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from numbers import Real

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import InputError
from ...models import Tokens, ViT, n_neurons, neuron_run, runs_model
from ...models.neuron_runs import Change
from ..execution import DEFAULT, Execution
from ..pairs import Indices
from .deviations import NeuronEffects
from .scores import checked_images, checked_paths


@runs_model
def edit_neurons(
    model: ViT,
    images: Tensor,
    labels: Indices,
    paths: np.ndarray | Tensor,
    *,
    factor: int | float = 0,
    tokens: Tokens = "class",
    execution: Execution = DEFAULT,
) -> NeuronEffects:
    """Multiply the values of each image's neurons by a factor, and compare the model's answers with those before.

    Costs two forward passes.

    Args:
        images: normalised images `[image, channel, height, width]`.
        labels: index of the class whose probability is compared, one per image.
        paths: neurons of each layer, `[image, layer, k]`, such as `neuron_paths` finds, or `[layer, k]` for the same in
            all images.
        factor: 0 removes the neurons, 2 enhances them, 1 changes nothing.
        tokens: where the neurons are changed: at the class token, at the patches, or at all tokens.
        execution: batch size and progress; progress counts images.

    Raises:
        InputError: images or labels that do not fit the model, paths of another number of images or layers, a neuron
            or a class token that the model does not have, or a factor that is not finite.

    Examples:
        >>> paths = np.zeros((4, 1), int)  # the first neuron of each layer
        >>> removed = edit_neurons(model, pairs.clean, pairs.labels, paths)
        >>> removed
        NeuronEffects(neurons × 0 at tokens='class': probability ... over 8 images)
        >>> removed.summary().to_pandas()["measure"].tolist()
        ['probability', 'pooled', 'median', 'logit', 'accuracy', 'balanced_accuracy']
    """
    classes = checked_images(model, images, labels)
    neurons = checked_paths(paths, len(images), model.n_layers, n_neurons(model)).to(model.device)
    if not isinstance(factor, Real) or not isfinite(factor):
        raise InputError(f"factor: expected a finite number, such as 0 to remove and 2 to enhance, got {factor!r}")

    def scaled(some: slice) -> Change:
        return lambda layer, values: values * _factors(values, neurons[some, layer], factor)

    before, after = changed_logits(model, images, tokens, [None, scaled], execution)
    return NeuronEffects(f"neurons × {factor:g} at tokens={tokens!r}", classes.numpy(), before, after)


def _factors(
    values: Float[Tensor, "image place neuron"], neurons: Int[Tensor, "image k"], factor: int | float
) -> Float[Tensor, "image 1 neuron"]:
    """Return the factor for each image's neurons and 1 for the others."""
    return torch.ones_like(values[:, :1]).scatter_(2, neurons[:, None], factor)


@torch.no_grad()
def changed_logits(
    model: ViT,
    images: Tensor,
    tokens: Tokens,
    changes: Sequence[Callable[[slice], Change] | None],
    execution: Execution,
) -> Float[np.ndarray, "change image class"]:
    """Return the logits of the images under each change of the neurons.

    Args:
        model: the model.
        images: normalised images.
        tokens: where the neurons are changed.
        changes: functions that return the change for a slice of the images; None changes nothing.
        execution: batch size and progress.
    """
    size, parts = execution.size(model, "block"), []
    for start in range(0, len(images), size):
        some = slice(start, min(start + size, len(images)))
        stream = model.embed(images[some])
        runs = [neuron_run(model, stream, tokens, change and change(some)) for change in changes]
        parts.append(torch.stack([run.logits for run in runs]).to(model.exact_dtype).cpu().numpy())
        execution.report(some.stop, len(images))
    return np.concatenate(parts, axis=1)
