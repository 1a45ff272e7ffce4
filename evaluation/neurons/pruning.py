"""Pruning to a few neurons: some neurons of each layer keep their values, all or a random share of the others are 0.

At the class token only, as published (Wang et al. 2025, NeuronPath, arXiv 2503.09046), the MLPs of the patch tokens
keep all of their neurons. A mask that is chosen with the label leaks it: it may raise the label's probability on images
of any class. So `prune_by_class` also runs a class's mask on the images of the other classes, and compares it with
masks of random neurons and of none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import softmax
from torch import Tensor

from ...errors import InputError
from ...models import Tokens, ViT, n_neurons, runs_model
from ...models.neuron_runs import Change
from ...results import Table
from ..execution import DEFAULT, Execution
from ..pairs import Indices
from .deviations import NeuronEffects
from .edits import changed_logits
from .scores import checked_images

Kept = Int[np.ndarray, "layer k"]
Pruned = Bool[np.ndarray, "layer neuron"]


@runs_model
def prune_neurons(
    model: ViT,
    images: Tensor,
    labels: Indices,
    keep: Kept,
    *,
    fraction: int | float = 1,
    tokens: Tokens = "class",
    depth: int | None = None,
    seed: int = 0,
    execution: Execution = DEFAULT,
) -> NeuronEffects:
    """Set neurons outside a mask to 0, the same on all images, and compare the model's answers with those before.

    Costs two forward passes.

    Args:
        images: normalised images `[image, channel, height, width]`.
        labels: class index of each image.
        keep: the neurons of each layer that keep their values, as many in each layer, possibly none.
        fraction: share of the other neurons of a layer that are set to 0, from 0 to 1. They are drawn at random; a
            larger share contains those of a smaller one.
        tokens: where: at the class token, at the patches, or at all tokens.
        depth: only in this number of first layers; None for all.
        seed: seed of the draw.
        execution: batch size and progress; progress counts images (in `prune_by_class` classes).

    Raises:
        InputError: images or labels that do not fit the model, a neuron, a layer or a class token that it does not
            have, or a number out of range.

    Examples:
        >>> keep = np.arange(20).reshape(4, 5)  # five neurons in each of four layers
        >>> prune_neurons(model, pairs.clean, pairs.labels, keep, fraction=0.5)
        NeuronEffects(5 neurons kept, 0.5 of the others 0 at tokens='class': probability ... over 8 images)
    """
    classes = checked_images(model, images, labels)
    _check_kept("keep", keep, model)
    draw = _Draw(model, fraction, depth, seed)
    before, after = changed_logits(model, images, tokens, [None, _silenced(model, draw.pruned(keep))], execution)
    change = f"{keep.shape[1]} neurons kept, {fraction:.3g} of the others 0 at tokens={tokens!r}"
    return NeuronEffects(change, classes.numpy(), before, after)


def _check_kept(name: str, keep: Kept, model: ViT) -> None:
    if keep.ndim != 2 or len(keep) != model.n_layers or not np.issubdtype(keep.dtype, np.integer):
        raise InputError(
            f"{name}: expected whole numbers [{model.n_layers} layers, k], got {keep.dtype} of shape {keep.shape}"
        )
    wrong = keep[(keep < 0) | (keep >= n_neurons(model))]
    if wrong.size:
        raise InputError(f"{name}: each layer has neurons 0 to {n_neurons(model) - 1}, got {wrong[0]}")


def _silenced(model: ViT, pruned: Pruned) -> Callable[[slice], Change]:
    """Return the change that sets neurons to 0 on all images."""
    mask = torch.as_tensor(pruned, device=model.device)
    return lambda _: lambda layer, values: values.masked_fill(mask[layer], 0)


class _Draw:
    """Draws which of the neurons outside a mask are set to 0: the first ones of a random order, in the first layers."""

    def __init__(self, model: ViT, fraction: int | float, depth: int | None, seed: int) -> None:
        if not isinstance(fraction, Real) or not 0 <= fraction <= 1:
            raise InputError(f"fraction: expected a share of the other neurons, from 0 to 1, got {fraction!r}")
        if depth is not None and (not isinstance(depth, Integral) or not 0 <= depth <= model.n_layers):
            raise InputError(f"depth: expected a number of layers from 0 to {model.n_layers}, got {depth!r}")
        self.fraction, self.depth = fraction, model.n_layers if depth is None else depth
        self.shape = model.n_layers, n_neurons(model)
        self.rng = np.random.default_rng(seed)
        self.order = self._orders()

    def _orders(self) -> Int[np.ndarray, "layer neuron"]:
        """Return a random order of the neurons of each layer."""
        layers, neurons = self.shape
        return np.stack([self.rng.permutation(neurons) for _ in range(layers)])

    def pruned(self, keep: Kept) -> Pruned:
        """Return which neurons are set to 0."""
        pruned = np.zeros(self.shape, bool)
        for layer in range(self.depth):
            others = self.order[layer][~np.isin(self.order[layer], keep[layer])]
            pruned[layer, others[: round(self.fraction * len(others))]] = True
        return pruned

    def random(self, k: int) -> Kept:
        """Return k random neurons of each layer."""
        return self._orders()[:, :k]


@runs_model
def prune_by_class(
    model: ViT,
    images: Tensor,
    labels: Indices,
    keep: Mapping[int, Kept],
    *,
    fraction: int | float = 1,
    tokens: Tokens = "class",
    depth: int | None = None,
    seed: int = 0,
    execution: Execution = DEFAULT,
) -> Table:
    """Prune the model to the neurons of each class, and count how often it then reads other images as this class.

    The masks should come from other images than these. Costs 2 forward passes, and 2 for each class.

    Args:
        images: normalised images `[image, channel, height, width]` of at least two classes.
        labels: class index of each image.
        keep: the neurons of each layer that are kept, by class index, such as `class_neurons(…).top(5)`.

    The other arguments are those of `prune_neurons`.

    Returns:
        One row per class and mask. Columns `class`; `kept`: `all` (the whole model), `class` (the class's neurons),
        `random` (as many random ones) or `none`; `probability`, the mean probability of the class on its images;
        `accuracy`, the share of its images that are read as it; `leak`, the share of the images of other classes that
        are read as it; `balanced_accuracy`, the mean of `accuracy` and 1 − `leak`.

    Raises:
        InputError: a class without an image, or without images of other classes, and as for `prune_neurons`.

    Examples:
        >>> other = cs.image_pairs(source, model, "eight", n=8)
        >>> images, labels = torch.cat([pairs.clean, other.clean]), torch.cat([pairs.labels, other.labels])
        >>> keep = {3: np.arange(20).reshape(4, 5), 8: np.arange(20, 40).reshape(4, 5)}
        >>> table = prune_by_class(model, images, labels, keep)
        >>> table.to_pandas()[["class", "kept"]].values.tolist()[:4]
        [[3, 'all'], [3, 'class'], [3, 'random'], [3, 'none']]
    """
    classes = checked_images(model, images, labels).numpy()
    draw = _Draw(model, fraction, depth, seed)
    for cls, neurons in keep.items():
        _check_kept(f"keep[{cls}]", neurons, model)
        if (classes == cls).all() or not (classes == cls).any():
            raise InputError(
                f"images: expected some of class {cls} and some of other classes, got {len(images)} images"
            )
    quiet = replace(execution, progress=None)
    none = np.zeros((model.n_layers, 0), int)

    def run(*masks: Kept | None) -> Float[np.ndarray, "mask image class"]:
        changes = [None if mask is None else _silenced(model, draw.pruned(mask)) for mask in masks]
        return changed_logits(model, images, tokens, changes, quiet)

    whole, empty = run(None, none)
    rows = []
    for done, (cls, neurons) in enumerate(keep.items(), 1):
        own, drawn = run(neurons, draw.random(neurons.shape[1]))
        by_mask = {"all": whole, "class": own, "random": drawn, "none": empty}
        rows += [{"class": cls, "kept": kept} | _reading(logits, classes, cls) for kept, logits in by_mask.items()]
        execution.report(done, len(keep))
    return Table(pd.DataFrame(rows))


def _reading(logits: Float[np.ndarray, "image class"], classes: Int[np.ndarray, "image"], cls: int) -> dict[str, float]:
    """Return how well a run's answers tell the images of a class from the others."""
    own, read = classes == cls, logits.argmax(axis=1) == cls
    accuracy, leak = float(read[own].mean()), float(read[~own].mean())
    probability = softmax(logits[own].astype(np.float64), axis=1)[:, cls].mean()
    balanced = (accuracy + 1 - leak) / 2
    return {"probability": probability, "accuracy": accuracy, "leak": leak, "balanced_accuracy": balanced}
