"""How the neuron paths of images differ from those of their twins, such as natural and attacked images."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from ...errors import InputError
from ...results import Table
from .usage import ClassNeurons, agreement


def path_changes(before: ClassNeurons, after: ClassNeurons) -> Table:
    """Compare the paths of images with those of their twins, such as natural and attacked images.

    Args:
        before: paths of the images.
        after: paths of their twins, in the same order.

    Returns:
        Columns `class, layer, images`; `same`, the mean share of the neurons of an image's path that its twin's path
        also has; `others`, the same for the twin of another image of the class (NaN for one image); `agreement`, that
        of two different images before: the level without a change; `modal_before` and `modal_after`, the neurons on
        most paths; `similarity`, the cosine of the frequencies before and after.

    Raises:
        InputError: not the same classes in the same order, or paths of another shape.

    Examples:
        >>> natural = cs.class_neurons(np.array([[[3]], [[3]], [[2]]]), np.array([7, 7, 7]), n_neurons=4)
        >>> attacked = cs.class_neurons(np.array([[[3]], [[1]], [[1]]]), np.array([7, 7, 7]), n_neurons=4)
        >>> path_changes(natural, attacked).to_pandas().round(2).iloc[0, 3:].tolist()
        [0.33, 0.17, 0.33, 3.0, 1.0, 0.4]
    """
    _check_twins(before, after)
    frames = [_of_class(before, after, row) for row in range(len(before.classes))]
    return Table(pd.concat(frames, ignore_index=True))


def _check_twins(before: ClassNeurons, after: ClassNeurons) -> None:
    equal = np.array_equal(before.labels, after.labels)
    if not equal or before.paths.shape != after.paths.shape or before.n_neurons != after.n_neurons:
        raise InputError(
            "paths: expected those of the same model for images and their twins in the same order, got paths of shapes "
            f"{before.paths.shape} and {after.paths.shape} in layers of {before.n_neurons} and {after.n_neurons} "
            f"neurons, with {'equal' if equal else 'different'} labels"
        )


def _of_class(before: ClassNeurons, after: ClassNeurons, row: int) -> pd.DataFrame:
    """Return the rows of one class."""
    images = before.labels == before.classes[row]
    a, b, same = before.counts[row], after.counts[row], _kept(before, after)[images]
    n, k = len(same), before.paths.shape[2]
    others = n * (n - 1) or np.nan
    return pd.DataFrame(
        {
            "class": before.classes[row],
            "layer": np.arange(len(a)),
            "images": n,
            "same": same.mean(axis=0),
            "others": ((a * b).sum(axis=1) / k - same.sum(axis=0)) / others,
            "agreement": agreement(a, n, k),
            "modal_before": a.argmax(axis=1),
            "modal_after": b.argmax(axis=1),
            "similarity": (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1),
        }
    )


def _kept(before: ClassNeurons, after: ClassNeurons) -> Float[np.ndarray, "image layer"]:
    """Return the share of an image's neurons that its twin's path also has."""
    return (before.paths[..., :, None] == after.paths[..., None, :]).any(axis=-1).mean(axis=-1)
