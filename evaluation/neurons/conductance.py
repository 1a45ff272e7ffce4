"""Conductance of neurons: the part of the metric's change that each carries as the image goes from corrupted to clean.

    C(h) = Σ_k (h(z_{k+1}) − h(z_k)) · ∂m/∂h(z_{k+½}) ,   z_k = z' + (k/S)(z − z') ,   summed over tokens

z is the input stream of block 0. This is integrated gradients seen at a hidden unit (Dhamdhere et al. 2018, arXiv
1805.12233) with midpoint gradients. The neurons of a layer do not carry everything, since the stream passes around
their MLP: C summed over a layer, plus the conductance of the stream around it, is m(x) − m(x') in the limit of many
steps (the error is of order 1/S²). For any number of steps, the sum over a layer is what the method `conductance` gives
for all edges out of the layer's MLP together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...circuits import Metric
from ...errors import InputError
from ...models import Tokens, ViT, neuron_run, runs_model
from ...models.neuron_runs import Change
from ...models.vit import installed
from ...results import Exportable, Table
from ..edge_sets import require_whole_number
from ..execution import DEFAULT, Execution
from ..measured import MeasuredPairs, measure
from ..pairs import ImagePairs

Stream = Float[Tensor, "image token d_model"]


@dataclass(frozen=True, eq=False)
class NeuronConductance(Exportable):
    """The conductance of every neuron, in units of the metric; positive if the neuron raises it.

    Attributes:
        per_image: conductance of each neuron, summed over the tokens.
        around: what passes the layer outside these neurons and tokens: in the stream around its MLP and, if the tokens
            are not all tokens, through the neurons at the other ones.
        total: m(x) − m(x').
        tokens: where the neurons were read.
    """

    per_image: Float[np.ndarray, "image layer neuron"]
    around: Float[np.ndarray, "image layer"]
    total: Float[np.ndarray, "image"]
    tokens: Tokens

    @property
    def mean(self) -> Float[np.ndarray, "layer neuron"]:
        """Mean over images."""
        return self.per_image.mean(axis=0)

    @property
    def residual(self) -> Float[np.ndarray, "layer"]:
        """Error of the steps: the mean of neurons and stream around them − the mean total, as a share of this.

        NaN if the total is 0.
        """
        total = self.total.mean()
        carried = self.mean.sum(axis=1) + self.around.mean(axis=0)
        return (carried - total) / (total or np.nan)

    def paths(self, k: int = 1) -> Int[np.ndarray, "image layer k"]:
        """Return the k neurons of each layer with the highest conductance, for each image.

        Raises:
            InputError: a number of neurons that a layer does not have.
        """
        if not 0 <= k <= self.per_image.shape[2]:
            raise InputError(f"k: expected a number from 0 to {self.per_image.shape[2]}, got {k}")
        return np.argsort(-self.per_image, axis=2, kind="stable")[:, :, :k]

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `node, layer, neuron, score, std`, highest mean first; `std` over images (ddof 1)."""
        layers, neurons = self.mean.shape
        layer, neuron = np.repeat(np.arange(layers), neurons), np.tile(np.arange(neurons), layers)
        frame = pd.DataFrame({"layer": layer, "neuron": neuron, "score": self.mean.ravel()})
        frame.insert(0, "node", [f"m{a}.n{b}" for a, b in zip(layer, neuron, strict=True)])
        frame["std"] = self.per_image.std(axis=0, ddof=1).ravel() if len(self.total) > 1 else np.nan
        return frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def by_layer(self) -> Table:
        """Return what each layer's neurons carry, and what passes by.

        Returns:
            Columns `layer, neurons, around, total, residual`, as means over images.
        """
        columns = {"neurons": self.mean.sum(axis=1), "around": self.around.mean(axis=0)}
        frame = pd.DataFrame(columns).rename_axis("layer").reset_index()
        return Table(frame.assign(total=self.total.mean(), residual=self.residual))

    def __repr__(self) -> str:
        images, layers, neurons = self.per_image.shape
        off = np.abs(self.residual).max()
        return (
            f"NeuronConductance({layers} × {neurons} neurons at tokens={self.tokens!r}, {images} images, residual "
            f"{off:.1%})"
        )


@runs_model
def neuron_conductance(
    model: ViT,
    pairs: ImagePairs,
    *,
    metric: str | Metric = "logit",
    steps: int = 10,
    tokens: Tokens = "all",
    execution: Execution = DEFAULT,
) -> NeuronConductance:
    """Score every neuron by the part of the metric's change that it carries from the corrupted to the clean image.

    The corrupted image is the baseline, such as another class's image, an unattacked twin or a mean image. Costs 2
    `steps` + 1 forward and `steps` backward passes.

    Args:
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        steps: number of steps between the images.
        tokens: where the neurons are read: at the class token, at the patches, or at all tokens.
        execution: batch size and progress; progress counts images.

    Raises:
        InputError: pairs or a metric that do not fit, no corrupted images, fewer than one step, or a class token that
            the model does not have.

    Examples:
        >>> scores = neuron_conductance(model, pairs, steps=5)
        >>> scores.to_pandas().columns.tolist()
        ['node', 'layer', 'neuron', 'score', 'std']
        >>> scores.paths(k=2).shape
        (8, 4, 2)
    """
    measured = measure(model, pairs, metric)
    steps = require_whole_number("steps", steps, 1)
    parts, done = [], 0
    for batch in measured.batches(execution.size(model, "block")):
        parts.append(_of_batch(model, batch, steps, tokens))
        execution.report(done := done + len(batch), len(pairs))
    neurons, around, total = (torch.cat(part).double().cpu().numpy() for part in zip(*parts, strict=True))
    return NeuronConductance(neurons, around, total, tokens)


def _of_batch(model: ViT, batch: MeasuredPairs, steps: int, tokens: Tokens) -> tuple[Tensor, Tensor, Tensor]:
    """Return the conductance of the neurons, that of what passes around them, and the difference of the metric."""
    corrupted, clean = model.embed(batch.corrupted), model.embed(batch.clean)
    neurons: Tensor | float = 0.0
    through: Tensor | float = 0.0
    now = start = _plain(model, batch, corrupted, tokens)
    for step in range(steps):
        at_neurons, at_streams = _gradients(model, batch, torch.lerp(corrupted, clean, (step + 0.5) / steps), tokens)
        before, now = now, _plain(model, batch, torch.lerp(corrupted, clean, (step + 1) / steps), tokens)
        neurons = neurons + torch.stack(list(_flows(before.neurons, now.neurons, at_neurons)), dim=1)
        streams = torch.stack(list(_flows(before.streams, now.streams, at_streams)), dim=1)
        through = through + streams.sum(dim=2)
    assert isinstance(neurons, Tensor), "there is at least one step"
    return neurons, through - neurons.sum(dim=2), now.values - start.values


@dataclass(frozen=True)
class _Run:
    """One run: neurons at the tokens and outputs of blocks, per layer, and the metric per image."""

    neurons: list[Float[Tensor, "image place neuron"]]
    streams: list[Stream]
    values: Float[Tensor, "image"]

    @classmethod
    def of(cls, model: ViT, batch: MeasuredPairs, stream: Stream, tokens: Tokens, change: Change | None) -> _Run:
        streams: list[Tensor] = []
        hooks = [block.register_forward_hook(lambda _, __, out: streams.append(out)) for block in model.blocks]
        with installed(*hooks):
            run = neuron_run(model, stream, tokens, change)
        return cls(run.neurons, streams, batch.values(run.logits))


@torch.no_grad()
def _plain(model: ViT, batch: MeasuredPairs, stream: Stream, tokens: Tokens) -> _Run:
    return _Run.of(model, batch, stream, tokens, None)


def _gradients(
    model: ViT, batch: MeasuredPairs, stream: Stream, tokens: Tokens
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return the metric's gradients at the neurons and at the outputs of blocks, per layer."""
    with torch.enable_grad():
        run = _Run.of(model, batch, stream.requires_grad_(), tokens, lambda _, values: values)
        found = torch.autograd.grad(run.values.sum(), [*run.neurons, *run.streams], materialize_grads=True)
    return found[: model.n_layers], found[model.n_layers :]


def _flows(
    before: Sequence[Tensor], after: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Iterator[Float[Tensor, "image width"]]:
    """Yield (after − before) · gradient per layer, summed over tokens."""
    for old, new, gradient in zip(before, after, gradients, strict=True):
        dtype = torch.promote_types(gradient.dtype, torch.float32)  # bfloat16 loses small differences of large numbers
        yield ((new.to(dtype) - old.to(dtype)) * gradient.to(dtype)).sum(dim=1)
