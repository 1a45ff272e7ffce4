"""Paths that need no search: with these a found path is compared."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...models import neuron_run
from .explained import Explained, batches
from .integral import check_whole
from .prefix import Prefix
from .scores import Paths
from .search import Search


def best(values: Float[Tensor, "row layer neuron"], k: int) -> Paths:
    """Return the `k` largest of each layer, largest first; of equal ones the first."""
    return values.sort(dim=2, descending=True, stable=True).indices[:, :, :k]


@dataclass(frozen=True, kw_only=True)
class Activation(Search):
    """The most active neurons of each layer, summed over the tokens.

    Examples:
        >>> paths = neuron_paths(model, images, labels, Activation(k=5))
    """

    @property
    def text(self) -> str:
        return "activation"

    def find(self, explained: Explained, at_once: int) -> Paths:
        return best(torch.stack([values.sum(dim=1) for values in explained.clean], dim=1), self.k)


@dataclass(frozen=True, kw_only=True)
class InfluencePattern(Search):
    """The neurons with the largest mean gradient while the image goes from normalised pixels of 0 to its own.

    Attributes:
        shared: number of consecutive images that share one path, by the mean of their gradients; the authors of
            NeuronPath have one path per batch.

    Examples:
        >>> paths = neuron_paths(model, images, labels, InfluencePattern(shared=10))
    """

    shared: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("shared", self.shared)

    @property
    def text(self) -> str:
        return "influence pattern" + (f" of {self.shared} images" if self.shared > 1 else "")

    def images(self, at_once: int) -> int:
        return self.shared if self.shared > 1 else super().images(at_once)

    def find(self, explained: Explained, at_once: int) -> Paths:
        shape = len(explained), len(explained.clean), explained.n_neurons
        mean = torch.zeros(shape, dtype=explained.model.exact_dtype, device=explained.stream.device)
        for rows, scale, weight in batches(explained, self, at_once):
            part = explained.at(rows)
            pixels = part.images.to(scale) * scale[..., None]
            for layer, gradient in enumerate(_gradients(part, explained.model.embed(pixels))):
                mean[:, layer].index_add_(0, rows, gradient.sum(dim=1).to(mean) * weight[..., 0])
        if self.shared > 1:
            mean = mean.mean(dim=0, keepdim=True).expand(shape)
        return best(mean, self.k)


def _gradients(explained: Explained, stream: Tensor) -> tuple[Tensor, ...]:
    """Return the gradient of each row's class probability at every neuron."""

    def leaf(_: int, values: Tensor) -> Tensor:
        return values if values.requires_grad else values.requires_grad_()

    with torch.enable_grad():
        run = neuron_run(explained.model, stream, explained.tokens, leaf)
        probability = explained.probability(run.logits).sum()
        return torch.autograd.grad(probability, run.neurons, materialize_grads=True)


@dataclass(frozen=True, kw_only=True)
class PerLayer(Search):
    """The neurons of each layer with the largest path integral while this layer, and no other, is scaled as a whole.

    Examples:
        >>> paths = neuron_paths(model, images, labels, PerLayer(steps=10))
    """

    @property
    def text(self) -> str:
        return "each layer by itself"

    def find(self, explained: Explained, at_once: int) -> Paths:
        layers = Prefix(explained, self, "ig", at_once)
        rows, path = torch.arange(len(explained), device=explained.stream.device), []
        for _ in explained.clean:
            path.append(layers.scores())
            layers.take(rows, rows.new_zeros(len(rows), 0))
        return best(torch.stack(path, dim=1), self.k)


@dataclass(frozen=True, kw_only=True)
class RandomNeurons(Search):
    """Random neurons of each layer, which depend only on the content of the image and the seed.

    Attributes:
        seed: seed of the choice.

    Examples:
        >>> paths = neuron_paths(model, images, labels, RandomNeurons(seed=1))
    """

    seed: int = 0

    @property
    def text(self) -> str:
        return "random"

    def find(self, explained: Explained, at_once: int) -> Paths:
        layers, neurons = len(explained.clean), explained.n_neurons
        ranks = [self._ranks(image, layers * neurons) for image in explained.images.float().cpu().numpy()]
        return best(torch.from_numpy(np.stack(ranks)).unflatten(1, (layers, neurons)), self.k).to(
            explained.stream.device
        )

    def _ranks(self, image: np.ndarray, count: int) -> Float[np.ndarray, "neuron"]:
        content = hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
        drawn = hashlib.shake_256(f"{self.seed}\x1f{content}".encode()).digest(8 * count)
        return (np.frombuffer(drawn, "<u8") >> np.uint64(11)) * 2.0**-53
