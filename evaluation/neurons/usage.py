"""Which neurons the paths of a class name, how many of them classes share, and how far images of a class agree.

A path names k neurons per layer. Everything here counts on the paths of how many images a neuron is; renumbering the
neurons of a layer changes names only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from ...errors import InputError
from ...results import Exportable, Table


@dataclass(frozen=True, eq=False)
class ClassNeurons(Exportable):
    """The neuron paths of images of several classes. Created by `class_neurons`.

    Attributes:
        paths: the neurons of each image's path.
        labels: class index of each image.
        n_neurons: number of neurons in each layer.
    """

    paths: Int[np.ndarray, "image layer k"]
    labels: Int[np.ndarray, "image"]
    n_neurons: int

    @cached_property
    def classes(self) -> Int[np.ndarray, "class"]:
        """Class indices in ascending order."""
        return np.unique(self.labels)

    @cached_property
    def n_images(self) -> Int[np.ndarray, "class"]:
        """Number of images per class."""
        return np.unique(self.labels, return_counts=True)[1]

    @cached_property
    def counts(self) -> Int[np.ndarray, "class layer neuron"]:
        """Number of images of a class whose path has the neuron."""
        counts = np.zeros((len(self.classes), self.paths.shape[1], self.n_neurons), np.int32)
        rows = np.searchsorted(self.classes, self.labels)
        np.add.at(counts, (rows[:, None, None], np.arange(counts.shape[1])[:, None], self.paths), 1)
        return counts

    @property
    def frequency(self) -> Float[np.ndarray, "class layer neuron"]:
        """Share of the images of a class whose path has the neuron."""
        return self.counts / self.n_images[:, None, None]

    def top(self, k: int = 1) -> Int[np.ndarray, "class layer k"]:
        """Return the k neurons of each layer that are on most images' paths: for k = 1 the mode.

        Neurons that are on as many paths come in ascending order.

        Raises:
            InputError: a number of neurons that a layer does not have.
        """
        if not 0 <= k <= self.n_neurons:
            raise InputError(f"k: expected a number from 0 to {self.n_neurons}, the neurons of a layer, got {k}")
        return np.argsort(-self.counts, axis=2, kind="stable")[:, :, :k]

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `class, layer, neuron, node, frequency`, for neurons on a path; most frequent first."""
        cls, layer, neuron = np.nonzero(self.counts)
        frame = pd.DataFrame({"class": self.classes[cls], "layer": layer, "neuron": neuron})
        frame["node"] = [f"m{l}.n{n}" for l, n in zip(layer, neuron, strict=True)]  # noqa: E741
        frame["frequency"] = self.frequency[cls, layer, neuron]
        order = ["class", "layer", "frequency"]
        return frame.sort_values(order, ascending=[True, True, False], kind="stable", ignore_index=True)

    def __repr__(self) -> str:
        _, layers, k = self.paths.shape
        return (
            f"ClassNeurons({len(self.classes)} classes, {len(self.labels)} paths of {k} neurons in each of {layers} "
            "layers)"
        )


def class_neurons(
    paths: Int[np.ndarray, "image layer k"], labels: Int[np.ndarray, "image"], n_neurons: int
) -> ClassNeurons:
    """Count on the paths of how many images of its class each neuron is.

    Args:
        paths: the neurons of each image's path, such as `neuron_paths` returns; k different ones per layer.
        labels: class index of each image.
        n_neurons: number of neurons in each layer.

    Raises:
        InputError: no image, not one label per image, a neuron that the layer does not have, or one that a path names
            twice.

    Examples:
        >>> paths = np.array([[[3], [1]], [[3], [0]], [[2], [1]]])  # three images, two layers
        >>> found = class_neurons(paths, np.array([7, 7, 7]), n_neurons=4)
        >>> found.top(1).tolist()
        [[[3], [1]]]
        >>> found.to_pandas().head(2)
           class  layer  neuron   node  frequency
        0      7      0       3  m0.n3   0.666667
        1      7      0       2  m0.n2   0.333333
    """
    if paths.ndim != 3 or not np.issubdtype(paths.dtype, np.integer):
        raise InputError(f"paths: expected whole numbers [image, layer, k], got {paths.dtype} of shape {paths.shape}")
    if not len(paths) or len(paths) != len(labels):
        raise InputError(f"labels: expected one class per path ({len(paths)}, at least one), got {len(labels)}")
    wrong = paths[(paths < 0) | (paths >= n_neurons)]
    if wrong.size:
        raise InputError(f"paths: a layer has neurons 0 to {n_neurons - 1}, got {wrong[0]}")
    twice = (np.diff(np.sort(paths, axis=2), axis=2) == 0).any(axis=(1, 2))
    if twice.any():
        raise InputError(
            f"paths: expected different neurons in each layer, but the path of image {np.flatnonzero(twice)[0]} "
            "(counted from 0) names one twice"
        )
    return ClassNeurons(paths, labels, n_neurons)


def neuron_usage(found: ClassNeurons) -> Table:
    """Describe, per layer, how many neurons the paths use and how many of them classes share.

    Returns:
        Columns `layer`; `neurons`, the number in the layer; `used`, the number on at least one path; `shared`, the
        number on paths of at least two classes; `effective`, the exponential of the entropy of all uses: as many
        equally used neurons would have this entropy.

    Examples:
        >>> paths = np.array([[[3], [1]], [[3], [0]], [[3], [0]]])
        >>> neuron_usage(class_neurons(paths, np.array([7, 7, 8]), n_neurons=4)).to_pandas()
           layer  neurons  used  shared  effective
        0      0        4     1       1   1.000000
        1      1        4     2       1   1.889882
    """
    classes, uses = (found.counts > 0).sum(axis=0), found.counts.sum(axis=0)
    return Table(
        pd.DataFrame(
            {
                "layer": np.arange(len(uses)),
                "neurons": found.n_neurons,
                "used": (classes > 0).sum(axis=1),
                "shared": (classes > 1).sum(axis=1),
                "effective": np.exp(_entropy(uses)),
            }
        )
    )


def _entropy(counts: Int[np.ndarray, "*row neuron"]) -> Float[np.ndarray, "*row"]:
    """Return the entropy of each row in nats."""
    share = counts / counts.sum(axis=-1, keepdims=True)
    return -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=-1) + 0.0


def path_stability(found: ClassNeurons) -> Table:
    """Measure, per class and layer, how far the paths of a class's images agree.

    With paths of k neurons, two images agree in the share of the k neurons that both paths have.

    Returns:
        Columns `class, layer, images`; `modal`, the neuron on most paths; `modal_share`, the share of the images whose
        path has it; `agreement`, the mean agreement of two images of the class, Σ n(n − 1) / (k N(N − 1)) if n of N
        images have a neuron (NaN for one image); `agreement_any`, the same for two images of any classes, the level
        without a class; `different`, the number of different neurons; `entropy` in nats.

    Examples:
        >>> paths = np.array([[[3]], [[3]], [[2]], [[2]]])
        >>> table = path_stability(class_neurons(paths, np.array([7, 7, 7, 8]), n_neurons=4))
        >>> table.to_pandas()[["class", "modal", "modal_share", "agreement", "different"]].round(2)
           class  modal  modal_share  agreement  different
        0      7      3         0.67       0.33          2
        1      8      2         1.00        NaN          1
    """
    classes, layers, k = *found.counts.shape[:2], found.paths.shape[2]
    together = agreement(found.counts.sum(axis=0), len(found.labels), k)
    return Table(
        pd.DataFrame(
            {
                "class": np.repeat(found.classes, layers),
                "layer": np.tile(np.arange(layers), classes),
                "images": np.repeat(found.n_images, layers),
                "modal": found.counts.argmax(axis=2).ravel(),
                "modal_share": found.frequency.max(axis=2).ravel(),
                "agreement": agreement(found.counts, found.n_images[:, None], k).ravel(),
                "agreement_any": np.tile(together, classes),
                "different": (found.counts > 0).sum(axis=2).ravel(),
                "entropy": _entropy(found.counts).ravel(),
            }
        )
    )


def agreement(
    counts: Int[np.ndarray, "*row neuron"], images: Int[np.ndarray, "..."] | int, k: int
) -> Float[np.ndarray, "*row"]:
    """Return the mean share of k neurons that two different images have in common; NaN for one image."""
    pairs = np.asarray(k * images * (images - 1.0))
    return (counts * (counts - 1)).sum(axis=-1) / np.where(pairs > 0, pairs, np.nan)
