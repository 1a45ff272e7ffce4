"""Images whose class probability neurons explain, and the gradients of runs in which neurons are scaled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...models import Tokens, ViT, neuron_run, neuron_tokens
from .integral import Integral

Neurons = Float[Tensor, "row place neuron"]
Scaled = Sequence[Bool[Tensor, "row neuron"]]
"""Which neurons of each layer are scaled, from the first layer on; later layers are not reached and stay live."""


@dataclass(frozen=True)
class Explained:
    """Images, one per row, with their clean runs.

    Attributes:
        model: the model.
        images: normalised images.
        stream: what enters block 0.
        labels: the class whose probability is explained.
        tokens: where neurons are read and scaled.
        clean: the neurons' values in the clean run, per layer.
    """

    model: ViT
    images: Float[Tensor, "row channel height width"]
    stream: Float[Tensor, "row token d_model"]
    labels: Int[Tensor, "row"]
    tokens: Tokens
    clean: list[Neurons]

    @classmethod
    def of(
        cls, model: ViT, images: Float[Tensor, "row channel height width"], labels: Int[Tensor, "row"], tokens: Tokens
    ) -> Explained:
        """Run the model on images."""
        stream = model.embed(images)
        with torch.no_grad():
            clean = neuron_run(model, stream, tokens).neurons
        return cls(model, images, stream, labels.to(stream.device), tokens, clean)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def places(self) -> slice:
        """The positions of the tokens."""
        return neuron_tokens(self.model, self.tokens)

    @property
    def n_neurons(self) -> int:
        return self.clean[0].shape[-1]

    def at(self, rows: Int[Tensor, "new"]) -> Explained:
        """Return some rows, each as often as requested."""
        clean = [values[rows] for values in self.clean]
        images = self.images[rows.to(self.images.device)]
        return replace(self, images=images, stream=self.stream[rows], labels=self.labels[rows], clean=clean)

    def probability(self, logits: Float[Tensor, "row class"]) -> Float[Tensor, "row"]:
        """Return the probability of each row's class."""
        return logits.to(self.model.exact_dtype).softmax(dim=1).gather(1, self.labels[:, None])[:, 0]


def slopes(explained: Explained, scaled: Scaled, integral: Integral, at_once: int) -> list[Neurons]:
    """Return ∫ ∂F/∂w da of every neuron in the layers reached, where F is the class probability at scale a.

    Args:
        explained: images.
        scaled: the neurons that are set to a · their clean values.
        integral: points, and what the other neurons of these layers do.
        at_once: maximum number of runs at a time.
    """
    total = [torch.zeros_like(values, dtype=explained.model.exact_dtype) for values in explained.clean[: len(scaled)]]
    for rows, scale, weight in batches(explained, integral, at_once):
        part = explained.at(rows)
        found = _slopes(part, [mask[rows] for mask in scaled], scale, integral.others == "frozen")
        for into, gradient in zip(total, found, strict=True):
            into.index_add_(0, rows, gradient.to(into.dtype) * weight)
    return total


Column = Float[Tensor, "run 1 1"]


def batches(
    explained: Explained, integral: Integral, at_once: int
) -> Iterator[tuple[Int[Tensor, "run"], Column, Column]]:
    """Yield the runs of all rows at all points, a limited number at a time: row, scale and weight of each."""
    device, dtype = explained.stream.device, explained.model.exact_dtype
    points, weights = (torch.from_numpy(values).to(device, dtype) for values in integral.points)
    runs = torch.arange(len(explained) * len(points), device=device)
    for part in runs.split(at_once):
        point = part % len(points)
        yield part // len(points), points[point, None, None], weights[point, None, None]


def _slopes(explained: Explained, scaled: Scaled, scale: Column, frozen: bool) -> Sequence[Tensor]:
    def change(layer: int, values: Tensor) -> Tensor:
        if layer >= len(scaled):
            return values
        clean = explained.clean[layer]
        new = torch.where(scaled[layer][:, None], scale.to(clean) * clean, clean if frozen else values)
        return new if new.requires_grad else new.requires_grad_()

    with torch.enable_grad():
        run = neuron_run(explained.model, explained.stream, explained.tokens, change)
        total = explained.probability(run.logits).sum()
        return torch.autograd.grad(total, run.neurons[: len(scaled)], materialize_grads=True)
