"""Neuron paths of images: some neurons in each MLP, with their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float, Int

from ...results import Exportable

if TYPE_CHECKING:
    import pandas as pd

Score = Literal["jas", "ig"]
"""A score of a path: the joint attribution score, or the path integral, which is complete."""


@dataclass(frozen=True, eq=False)
class NeuronPaths(Exportable):
    """A neuron path per image: `k` neurons in each layer's MLP.

    Attributes:
        paths: index of each neuron in its layer.
        labels: the class whose probability the scores explain.
        n_neurons: number of neurons of each MLP.
        search: description of how the paths were found.
        score: which score `scores` returns.
        jas: joint attribution score of each path.
        parts: each neuron's part of the path integral; they sum to F(1) − F(0), up to the error of the steps.
    """

    paths: Int[np.ndarray, "image layer k"]
    labels: Int[np.ndarray, "image"]
    n_neurons: int
    search: str
    score: Score
    jas: Float[np.ndarray, "image"]
    parts: Float[np.ndarray, "image layer k"]

    @property
    def ig(self) -> Float[np.ndarray, "image"]:
        """The path integral of each path: the sum of its parts."""
        return self.parts.sum(axis=(1, 2))

    @property
    def scores(self) -> Float[np.ndarray, "image"]:
        """The score of each path that `score` names."""
        return self.jas if self.score == "jas" else self.ig

    def nodes(self, image: int) -> tuple[str, ...]:
        """Return the names of a path's neurons, such as `m3.n17`, layer by layer."""
        return tuple(f"m{layer}.n{neuron}" for layer, row in enumerate(self.paths[image]) for neuron in row)

    def __len__(self) -> int:
        return len(self.paths)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per image and neuron: `image, label, node, layer, neuron, part, jas, ig`."""
        import pandas as pd

        images, layers, k = self.paths.shape
        each = layers * k
        columns = {
            "image": np.repeat(np.arange(images), each),
            "label": np.repeat(self.labels, each),
            "node": [name for image in range(images) for name in self.nodes(image)],
            "layer": np.tile(np.repeat(np.arange(layers), k), images),
            "neuron": self.paths.ravel(),
            "part": self.parts.ravel(),
            "jas": np.repeat(self.jas, each),
            "ig": np.repeat(self.ig, each),
        }
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        images, layers, k = self.paths.shape
        return f"NeuronPaths({images} images, {layers} layers × {k} of {self.n_neurons} neurons, by {self.search})"
