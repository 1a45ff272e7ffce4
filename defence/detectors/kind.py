"""A detector as a value: a feature of images, and a statistic that compares it with that of reference images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ...circuits import Kind
from ...circuits.kinds import Param
from ...circuits.recipe import Scalar, Variant

Features = Float[np.ndarray, "image feature"]
Rows = Int[np.ndarray, "image"]
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Feature:
    """Numbers of each image.

    Attributes:
        read: returns them, given the images, the arrays of `base`, and the parameters by name.
        base: returns the arrays that `read` needs, computed from the reference images; given the images and the
            parameters by name.
        names: returns the name of each feature, given the model and the parameters by name; None if they have none.
        choose: returns which features are used, given those of the reference images, the row of each image's class,
            and the parameters by name; None for all.
        params: its parameters by name.
    """

    read: Callable[..., Features]
    base: Callable[..., dict[str, np.ndarray]] = lambda seen, **params: {}
    names: Callable[..., Sequence[str]] | None = None
    choose: Callable[..., Bool[np.ndarray, "feature"]] | None = None
    params: Mapping[str, Param] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """How suspicious features are, compared with those of reference images.

    Attributes:
        score: returns a number per image, higher for more suspicious; given the arrays of `fit`, the features, the row
            of each image's predicted class, and the parameters by name.
        fit: returns arrays, given the features of the reference images, the row of each image's class, and the
            parameters by name; None if the statistic needs no reference images.
        by_class: whether the score of an image depends on its predicted class, so that an image of a class without
            reference images cannot be scored.
        deviations: returns by how many standard deviations each feature differs from the mean of the predicted class,
            given the arrays, features and rows; None if there is no such mean.
        params: its parameters by name.
    """

    score: Callable[..., Float[np.ndarray, "image"]]
    fit: Callable[..., dict[str, np.ndarray]] | None = None
    by_class: Callable[..., bool] = lambda **params: False
    deviations: Callable[[Arrays, Features, Rows], Features] | None = None
    params: Mapping[str, Param] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DetectorKind(Kind):
    """A kind of detector.

    Attributes:
        feature: what is read from images.
        statistic: how it is compared with that of reference images.
        passes: forward and backward passes per image, given the parameters by name.
    """

    feature: Feature
    statistic: Statistic
    passes: Callable[..., tuple[int | float, int | float]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", {**self.feature.params, **self.statistic.params})


def own_params(part: Feature | Statistic, use: Variant) -> dict[str, Any]:
    """Return the parameters of a detector that belong to its feature or its statistic."""
    params: dict[str, Scalar] = dict(use.params)
    return {name: params[name] for name in part.params if name in params}
