"""Searches for neuron paths: layer by layer with one path or a beam of paths, and among all paths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import InputError, check_known
from .candidates import Alone, Candidates, Together
from .explained import Explained
from .integral import Integral, check_whole
from .paths import Score
from .prefix import Prefix
from .scores import Paths, scored, total

MOST_PATHS = 1_000_000
"""Maximum number of paths among which `Exhaustive` searches."""


@dataclass(frozen=True, kw_only=True)
class Search(Integral, ABC):
    """A way to choose the neurons of a path, and how the path is scored.

    Attributes:
        score: `jas` or `ig`, see `scores`.
        k: number of neurons per layer.

    Raises:
        InputError: a value that is not one of these.
    """

    score: Score = "jas"
    k: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_known("score", self.score, get_args(Score))
        check_whole("k", self.k)

    @property
    @abstractmethod
    def text(self) -> str:
        """Description, for results."""

    @abstractmethod
    def find(self, explained: Explained, at_once: int) -> Paths:
        """Return a path per image; `at_once` is the maximum number of runs at a time."""

    def images(self, at_once: int) -> int:
        """Return how many images `find` takes at a time."""
        return max(1, at_once // len(self.points[0]))


@dataclass(frozen=True, kw_only=True)
class PathSearch(Search):
    """Builds a path layer by layer: the neurons that give the path so far the best score are its next ones.

    Attributes:
        candidates: `together`: all candidates of a layer are scaled in one run, as the authors of NeuronPath have it;
            `alone`: each in its own run, by the definition of the score, which takes a run per neuron.
        beam: number of paths that are continued in each layer; of the last ones the path with the best score is
            returned. 1 is the greedy search.

    Raises:
        InputError: a value that is not one of these, or several neurons per layer with a beam or with `alone`.

    Examples:
        >>> paths = neuron_paths(model, images, labels, PathSearch(score="ig", beam=4))
    """

    candidates: Literal["together", "alone"] = "together"
    beam: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_known("value", self.candidates, ("together", "alone"), "candidates")
        check_whole("beam", self.beam)
        if self.k > 1 and (self.beam > 1 or self.candidates == "alone"):
            raise InputError(
                f"k: {self.k} neurons per layer need beam=1 and candidates='together', got beam={self.beam} and "
                f"candidates={self.candidates!r}"
            )

    @property
    def text(self) -> str:
        wide = f", beam {self.beam}" if self.beam > 1 else ""
        return f"{self.score} search, candidates {self.candidates}{wide}"

    def find(self, explained: Explained, at_once: int) -> Paths:
        candidates = self._candidates(explained, at_once)
        if self.beam == 1:
            return greedy(candidates, explained, self.k)
        paths, width = _beam(candidates, explained, self.beam)
        images = torch.arange(len(explained), device=paths.device)
        scores = scored(explained.at(images.repeat_interleave(width)), paths, self, at_once)
        best = total(scores, self.score).unflatten(0, (-1, width)).argmax(dim=1)
        return paths.unflatten(0, (-1, width))[images, best]

    def _candidates(self, explained: Explained, at_once: int) -> Candidates:
        if self.candidates == "alone":
            return Alone(explained, self, self.score, at_once)
        summed = self.score == "ig" or explained.clean[0].shape[1] == 1
        return (Prefix if summed else Together)(explained, self, self.score, at_once)


@dataclass(frozen=True, kw_only=True)
class Exhaustive(Search):
    """Scores all paths of one neuron per layer, and returns the best one; for small models.

    Examples:
        >>> Exhaustive(score="ig").text
        'best ig of all paths'
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k > 1:
            raise InputError(f"k: the search among all paths takes one neuron per layer, got k={self.k}")

    @property
    def text(self) -> str:
        return f"best {self.score} of all paths"

    def find(self, explained: Explained, at_once: int) -> Paths:
        every = all_paths(explained.n_neurons, explained.model.n_layers).to(explained.stream.device)
        best = []
        for row in torch.arange(len(explained), device=every.device):
            scores = [
                total(scored(explained.at(row.repeat(len(part))), part, self, at_once), self.score)
                for part in every.split(at_once)
            ]
            best.append(every[torch.cat(scores).argmax()])
        return torch.stack(best)


def all_paths(n_neurons: int, n_layers: int) -> Int[Tensor, "path layer 1"]:
    """Return all paths of one neuron per layer.

    Raises:
        InputError: there are more than `MOST_PATHS`.
    """
    count = n_neurons**n_layers
    if count > MOST_PATHS:
        raise InputError(
            f"search: {n_layers} layers of {n_neurons} neurons have {count:.3g} paths, more than the {MOST_PATHS:,} "
            "that can be scored one by one; use PathSearch, with a beam if needed"
        )
    digits = n_neurons ** torch.arange(n_layers - 1, -1, -1)
    return (torch.arange(count)[:, None] // digits % n_neurons)[:, :, None]


def greedy(candidates: Candidates, explained: Explained, k: int) -> Paths:
    """Return the path that takes the `k` best candidates in each layer; of equal ones the first."""
    path, rows = [], torch.arange(len(explained), device=explained.stream.device)
    for _ in explained.clean:
        path.append(candidates.scores().sort(dim=1, descending=True, stable=True).indices[:, :k])
        candidates.take(rows, path[-1])
    return torch.stack(path, dim=1)


def _beam(candidates: Candidates, explained: Explained, beam: int) -> tuple[Paths, int]:
    """Return the last paths of each image, best first, and their number per image."""
    images, width = len(explained), 1
    first = torch.arange(images, device=explained.stream.device)[:, None]
    paths = explained.labels.new_zeros(images, 0, 1)
    for _ in explained.clean:
        scores = candidates.scores().unflatten(0, (images, width)).flatten(1)
        best = scores.sort(dim=1, descending=True, stable=True).indices[:, :beam]
        rows = (first * width + best // explained.n_neurons).flatten()
        neurons = (best % explained.n_neurons).reshape(-1, 1)
        candidates.take(rows, neurons)
        paths, width = torch.cat([paths[rows], neurons[:, None]], dim=1), best.shape[1]
    return paths, width
