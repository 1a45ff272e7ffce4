"""How alike the neuron paths of classes are, with halves of a class's images as the noise floor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from ...results import Exportable
from .usage import ClassNeurons

HALVINGS = 20
"""Number of random halvings of the images for the noise floor."""


@dataclass(frozen=True, eq=False)
class NeuronSimilarity(Exportable):
    """Cosines between the neuron frequencies of classes. Created by `neuron_similarity`.

    Attributes:
        classes: class indices.
        matrix: similarity of the classes, from all of their images.
        halves: the same from half of the images of one class and the other half of the other, mean over halvings. The
            diagonal is the noise floor: the similarity of a class with itself. NaN for a class with one image.
    """

    classes: Int[np.ndarray, "class"]
    matrix: Float[np.ndarray, "class class"]
    halves: Float[np.ndarray, "class class"]

    @property
    def floor(self) -> Float[np.ndarray, "class"]:
        """Similarity of two halves of a class's images: what two classes with the same neurons would reach."""
        return np.diag(self.halves)

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `class_a, class_b, similarity, halves, floor`; one row per pair, most alike first.

        `floor` is the mean of the two classes' noise floors. It comes from halves of the images, so compare it with
        `halves`.
        """
        a, b = np.triu_indices(len(self.classes), 1)
        frame = pd.DataFrame({"class_a": self.classes[a], "class_b": self.classes[b], "similarity": self.matrix[a, b]})
        frame["halves"], frame["floor"] = self.halves[a, b], (self.floor[a] + self.floor[b]) / 2
        return frame.sort_values("similarity", ascending=False, kind="stable", ignore_index=True)

    def __repr__(self) -> str:
        between = self.to_pandas()["similarity"]
        mean = f", mean {between.mean():.3g}" if len(between) else ""
        return f"NeuronSimilarity({len(self.classes)} classes{mean})"


def neuron_similarity(found: ClassNeurons, *, halvings: int = HALVINGS, seed: int = 0) -> NeuronSimilarity:
    """Compare classes by the cosine of their rows of neuron frequencies, over all layers.

    The noise floor is the same cosine between random halves of one class's images.

    Args:
        found: the paths of the classes.
        halvings: number of random halvings of each class's images; of an odd number, one image is left out.
        seed: seed of the halvings.

    Examples:
        >>> paths = np.array([[[3]], [[3]], [[3]], [[2]]])
        >>> similar = neuron_similarity(cs.class_neurons(paths, np.array([7, 7, 8, 8]), n_neurons=4))
        >>> similar.to_pandas().round(2)
           class_a  class_b  similarity  halves  floor
        0        7        8        0.71     0.5    0.5
    """
    columns, rows = _columns(found), np.searchsorted(found.classes, found.labels)

    def frequencies(images: Int[np.ndarray, "image"]) -> Float[np.ndarray, "class column"]:
        counts = np.zeros((len(found.classes), columns.max() + 1))
        np.add.at(counts, (rows[images, None], columns[images]), 1)
        return counts

    whole = frequencies(np.arange(len(rows)))
    halves = [_cosines(frequencies(a), frequencies(b)) for a, b in _halved(found, halvings, seed)]
    mean = np.mean(halves, axis=0)
    return NeuronSimilarity(found.classes, _cosines(whole, whole), (mean + mean.T) / 2)


def _columns(found: ClassNeurons) -> Int[np.ndarray, "image entry"]:
    """Number the neurons that are on any path, over all layers."""
    neurons = found.paths + found.n_neurons * np.arange(found.paths.shape[1])[:, None]
    return np.unique(neurons, return_inverse=True)[1].reshape(len(neurons), -1)


def _halved(found: ClassNeurons, halvings: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield random halves of each class's images, joined over classes."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(found.labels == c) for c in found.classes]
    for _ in range(halvings):
        orders = [rng.permutation(images) for images in members]
        first = [order[: len(order) // 2] for order in orders]
        second = [order[len(order) // 2 : len(order) // 2 * 2] for order in orders]
        yield np.concatenate(first), np.concatenate(second)


def _cosines(
    a: Float[np.ndarray, "class column"], b: Float[np.ndarray, "class column"]
) -> Float[np.ndarray, "class class"]:
    """Return the cosines of all pairs of rows; NaN for a row without images."""
    return _unit_rows(a) @ _unit_rows(b).T


def _unit_rows(rows: Float[np.ndarray, "class column"]) -> Float[np.ndarray, "class column"]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, np.nan)
