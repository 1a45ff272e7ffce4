"""Suppression of neurons: hidden units of MLPs send their clean mean, or at most a quantile of their clean values.

Which neurons to suppress follows from their attack effect: how much the metric of an attacked image would rise, to
first order, if the neuron had its clean value,

    effect_n = Σ_tokens (a_n(clean) − a_n(attacked)) · ∂m/∂a_n at the attacked image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ...circuits import Metric
from ...circuits.kinds import REQUIRED, Param, is_number
from ...circuits.response import Intervention
from ...errors import InputError, check_known, unknown
from ...models import Tokens, ViT, n_neurons, neuron_run, neuron_tokens, runs_model
from ..effects import Effects
from ..execution import DEFAULT, Execution
from ..measured import measure
from ..pairs import ImagePairs, check_images
from .chosen import hash_of
from .edit import Changes, Edit, before
from .kind import COUNT, HASH, InterventionKind

To = Literal["mean", "cap"]
"""What suppressed neurons send: their clean mean, or their own value up to a quantile of their clean values."""

Levels = dict[int, Float[np.ndarray, "token neuron"]]


class NeuronSuppression(Changes):
    """Neurons at a level, or below it.

    Args:
        model: the model.
        neurons: the suppressed neurons of each layer that has some.
        levels: the level of each of them, per token; infinite where it is not suppressed.
        cap: whether they keep values below the level.
    """

    def __init__(self, model: ViT, neurons: dict[int, list[int]], levels: Levels, cap: bool) -> None:
        super().__init__()
        self.layers, self.cap = sorted(neurons), cap
        for layer in self.layers:
            every = torch.full((model.n_tokens, n_neurons(model)), torch.inf, dtype=model.dtype)
            every[:, neurons[layer]] = torch.from_numpy(levels[layer]).to(model.dtype)
            self.register_buffer(f"level{layer}", every.to(model.device))

    def hooks(self, module: Any) -> Iterator[RemovableHandle]:
        for layer in self.layers:
            yield before(module.blocks[layer].mlp.fc2, self._limited, layer)

    def _limited(self, layer: int, values: Float[Tensor, "image token neuron"]) -> Tensor:
        level = self.get_buffer(f"level{layer}")
        limited = torch.minimum(values, level) if self.cap else torch.where(level.isinf(), values, level)
        return self.chosen(limited, values)


@dataclass(frozen=True, eq=False, repr=False)
class SuppressedNeurons(Edit):
    """Suppression of neurons; created by `suppress_neurons`."""

    neurons: tuple[str, ...]
    levels: Levels
    rule: str
    tokens: Tokens

    @property
    def intervention(self) -> Intervention:
        check = sha256()
        for layer in sorted(self.levels):
            check.update(np.ascontiguousarray(self.levels[layer], "<f8").tobytes())
        hashes = {"neurons": hash_of(self.neurons), "levels": check.hexdigest()}
        return SUPPRESS_NEURONS.use(**hashes, n=len(self.neurons), to=self.rule)

    @property
    def text(self) -> str:
        where = "" if self.tokens == "all" else f" at tokens={self.tokens!r}"
        return f"suppress {len(self.neurons)} neurons{where}, {self.rule}"

    def changes(self, model: ViT) -> Changes:
        return NeuronSuppression(model, _by_layer(model, self.neurons), self.levels, self.rule != "mean")


@runs_model
def suppress_neurons(
    model: ViT,
    neurons: Sequence[str],
    images: Float[Tensor, "image channel height width"],
    *,
    to: To = "mean",
    quantile: int | float = 0.95,
    tokens: Tokens = "all",
    execution: Execution = DEFAULT,
) -> SuppressedNeurons:
    """Return the edit in which neurons send their clean mean, or at most a quantile of their clean values.

    Args:
        model: the model.
        neurons: names such as `m2.n13`.
        images: normalised clean images, which give the means and quantiles, token by token.
        to: `mean`, or `cap` to keep values below the quantile.
        quantile: the quantile, 0 to 1.
        tokens: where they are suppressed: at the class token, at the patches, or at all tokens.
        execution: batch size and progress; progress counts images.

    Raises:
        InputError: no neurons, an unknown one, no images or images that do not fit, or a quantile outside of 0 to 1.
        NotRepresentable: an MLP without neurons.

    Examples:
        >>> effects = neuron_attack_effects(model, pairs)
        >>> edit = suppress_neurons(model, largest(effects, 16), pairs.clean, to="cap")
        >>> edit
        SuppressedNeurons(suppress 16 neurons, cap(0.95), model ...)
    """
    check_known("value", to, get_args(To), "to")
    if not is_number(quantile) or not 0 <= quantile <= 1:
        raise InputError(f"quantile: expected a number from 0 to 1, got {quantile!r}")
    check_images("images", images, model)
    chosen, places = _by_layer(model, neurons), neuron_tokens(model, tokens)
    found: dict[int, list[Tensor]] = {layer: [] for layer in chosen}
    size = execution.size(model, "block")
    for start in range(0, len(images), size):
        with torch.no_grad():
            run = neuron_run(model, model.embed(images[start : start + size]), "all")
        for layer, own in chosen.items():
            found[layer].append(run.neurons[layer][:, :, own].to(model.exact_dtype).cpu())
        execution.report(min(start + size, len(images)), len(images))
    levels: Levels = {}
    for layer, parts in found.items():
        values = torch.cat(parts)
        level = values.mean(dim=0) if to == "mean" else torch.quantile(values, quantile, dim=0)
        levels[layer] = np.full(level.shape, np.inf)
        levels[layer][places] = level[places].numpy()
    rule = "mean" if to == "mean" else f"cap({quantile:g})"
    names = tuple(f"m{layer}.n{neuron}" for layer, own in sorted(chosen.items()) for neuron in own)
    return SuppressedNeurons(model.fingerprint, names, levels, rule, tokens)


def _by_layer(model: ViT, names: Sequence[str]) -> dict[int, list[int]]:
    """Return the neurons of each layer that has some, sorted."""
    if isinstance(names, str) or not len(names):
        raise InputError(f"neurons: expected a list of at least one name such as 'm2.n13', got {names!r}")
    width, found = n_neurons(model), dict[int, set[int]]()
    for name in names:
        layer, _, neuron = str(name).removeprefix("m").partition(".n")
        inside = layer.isdecimal() and neuron.isdecimal() and int(layer) < model.n_layers and int(neuron) < width
        if not inside or name != f"m{int(layer)}.n{int(neuron)}":
            raise unknown("neuron", name, [f"m0.n0 to m{model.n_layers - 1}.n{width - 1}"])
        found.setdefault(int(layer), set()).add(int(neuron))
    return {layer: sorted(own) for layer, own in sorted(found.items())}


@runs_model
def neuron_attack_effects(
    model: ViT,
    pairs: ImagePairs,
    *,
    metric: str | Metric = "logit",
    tokens: Tokens = "all",
    execution: Execution = DEFAULT,
) -> Effects:
    """Estimate how much the metric of attacked images would rise if a neuron had its clean value, for all neurons.

    This is attribution patching of neurons: one backward pass per pair.

    Args:
        model: the model.
        pairs: clean images, and as their corrupted images the same images under the attack.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        tokens: the tokens that are summed over.
        execution: batch size and progress; progress counts images.

    Returns:
        Effects per image `[image, neuron]`; positive if the clean value raises the metric.

    Raises:
        InputError: pairs or a metric that do not fit, or pairs without corrupted images.
        NotRepresentable: an MLP without neurons.

    Examples:
        >>> neuron_attack_effects(model, pairs)
        Effects(1024 neurons, 8 images)
    """
    measured, width = measure(model, pairs, metric), n_neurons(model)
    corrupted, size, parts = pairs.corrupted, execution.size(model, "block"), []
    for start in range(0, len(pairs), size):
        some = slice(start, start + size)
        with torch.no_grad():
            clean = neuron_run(model, model.embed(measured.clean[some]), tokens).neurons
        with torch.enable_grad():
            stream = model.embed(corrupted[some]).requires_grad_()
            run = neuron_run(model, stream, tokens, lambda _, values: values)
            total = measured[some].values(run.logits).sum()
            slopes = torch.autograd.grad(total, run.neurons, materialize_grads=True)
        effects = [
            ((new - old.detach()).to(model.exact_dtype) * slope).sum(dim=1)
            for new, old, slope in zip(clean, run.neurons, slopes, strict=True)
        ]
        parts.append(torch.cat(effects, dim=1).double().cpu())
        execution.report(min(start + size, len(pairs)), len(pairs))
    names = tuple(f"m{layer}.n{neuron}" for layer in range(model.n_layers) for neuron in range(width))
    return Effects("neuron", names, torch.cat(parts).numpy())


def largest(effects: Effects, n: int) -> list[str]:
    """Return the names of the `n` parts with the largest mean effect, largest first.

    Raises:
        InputError: `n` is not between 1 and the number of parts.

    Examples:
        >>> largest(neuron_attack_effects(model, pairs), 2)
        ['m...', 'm...']
    """
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= len(effects.names):
        raise InputError(f"n: expected a whole number from 1 to {len(effects.names)}, got {n!r}")
    return [effects.names[i] for i in np.argsort(-effects.mean, kind="stable")[:n]]


SUPPRESS_NEURONS = InterventionKind(
    key="suppress-neurons",
    name="Hidden units of MLPs send their clean mean, or at most a quantile of their clean values",
    function=suppress_neurons,
    params={"neurons": HASH, "levels": HASH, "n": COUNT, "to": Param(REQUIRED, "mean, or cap with its quantile", str)},
)
