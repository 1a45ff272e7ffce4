"""Scores of all neurons of a layer as the next ones of a path, from whole runs: the readable form of the search.

`Alone` scores each candidate by the definition: the score of the path that ends with it. `Together` scales the layer as
a whole, so that one gradient scores all candidates, as the authors of NeuronPath have it. `prefix.Prefix` computes the
same as `Together` in a fraction of the time where neurons have one position, or the score is the path integral.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .explained import Explained, Neurons, slopes
from .integral import Integral
from .paths import Score
from .scores import Scores, scored, total

Candidate = Float[Tensor, "row neuron"]


class Candidates(ABC):
    """Paths that grow layer by layer, one per row."""

    @abstractmethod
    def scores(self) -> Candidate:
        """Return the score of each neuron of the next layer as the next one of each path."""

    @abstractmethod
    def take(self, rows: Int[Tensor, "new"], neurons: Int[Tensor, "new k"]) -> None:
        """Continue the paths of some rows with neurons of the next layer; the others end."""


Sums = Float[Tensor, "row place"]
"""Sums over the neurons that are on a path already, at each position."""


def with_jas(values: Neurons, gradient: Neurons, earlier_values: Sums, earlier_gradient: Sums) -> Candidate:
    """Return the JAS of each path with one more neuron."""
    return ((values + earlier_values[:, :, None]) * (gradient + earlier_gradient[:, :, None])).sum(dim=1)


def with_ig(values: Neurons, gradient: Neurons, earlier: Float[Tensor, "row"]) -> Candidate:
    """Return the path integral of each path with one more neuron, given the integral of the path."""
    return (values * gradient).sum(dim=1) + earlier[:, None]


class Alone(Candidates):
    """Each candidate is scaled by itself, with the path before it."""

    def __init__(self, explained: Explained, integral: Integral, score: Score, at_once: int) -> None:
        self.explained, self.integral, self.at_once = explained, integral, at_once
        self.score: Score = score
        self.path = explained.labels.new_zeros(len(explained), 0, 1)

    def scores(self) -> Candidate:
        rows, n = len(self.explained), self.explained.n_neurons
        every = torch.arange(rows * n, device=self.path.device)
        found = []
        for part in every.split(max(1, self.at_once)):
            row, neuron = part // n, part % n
            paths = torch.cat([self.path[row], neuron[:, None, None]], dim=1)
            scores: Scores = scored(self.explained.at(row), paths, self.integral, self.at_once)
            found.append(total(scores, self.score))
        return torch.cat(found).unflatten(0, (rows, n))

    def take(self, rows: Int[Tensor, "new"], neurons: Int[Tensor, "new k"]) -> None:
        self.explained = self.explained.at(rows)
        self.path = torch.cat([self.path[rows], neurons[:, None]], dim=1)


class Together(Candidates):
    """The layer of the candidates is scaled as a whole."""

    def __init__(self, explained: Explained, integral: Integral, score: Score, at_once: int) -> None:
        self.explained, self.integral, self.score, self.at_once = explained, integral, score, at_once
        self.path: list[Bool[Tensor, "row neuron"]] = []

    def scores(self) -> Candidate:
        whole = torch.ones_like(self.explained.clean[0][:, 0], dtype=torch.bool)
        *before, last = slopes(self.explained, [*self.path, whole], self.integral, self.at_once)
        *earlier, values = (clean.to(last) for clean in self.explained.clean[: len(self.path) + 1])
        none = last.new_zeros(last.shape[:2])
        if self.score == "ig":
            products = [value * gradient for value, gradient in zip(earlier, before, strict=True)]
            return with_ig(values, last, sum(self._on_path(products), none).sum(dim=1))
        return with_jas(values, last, sum(self._on_path(earlier), none), sum(self._on_path(before), none))

    def _on_path(self, layers: list[Neurons]) -> Iterator[Sums]:
        """Yield the sums over each layer's neurons on the paths."""
        for values, mask in zip(layers, self.path, strict=True):
            yield (values * mask[:, None]).sum(dim=2)

    def take(self, rows: Int[Tensor, "new"], neurons: Int[Tensor, "new k"]) -> None:
        none = torch.zeros(len(rows), self.explained.n_neurons, dtype=torch.bool, device=neurons.device)
        self.explained = self.explained.at(rows)
        self.path = [*(mask[rows] for mask in self.path), none.scatter(1, neurons, True)]
