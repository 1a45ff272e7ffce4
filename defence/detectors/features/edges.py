"""Scores of edges on the image itself: which edges carry the logit of the class that the model names.

The label is the predicted class, the corruption is the mean of the reference images, and the scores are those of EAP-IG
or EAP. So an image needs neither a label nor a twin.

A score is a product of a difference of activations and a gradient, so scores of one edge have long tails. Their signed
square root, which has the scale of one factor, is closer to normal; detectors that compare with a mean and a standard
deviation use it by default.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from jaxtyping import Bool

from ....circuits import FORMS, ComputationGraph, Form, MethodUse, ModelInfo
from ....circuits.kinds import ABSENT, choice, number, whole
from ....discovery import METHODS, score_edges
from ....errors import CircuitStoreWarning
from ....evaluation import ImagePairs
from ..classes import class_means
from ..kind import Arrays, Feature, Features, Rows
from ..seen import Seen


def method_use(method: str, steps: int | None = None) -> MethodUse:
    """Return the method that scores edges; None for its default number of steps."""
    return METHODS.resolve(method, {} if steps is None else {"steps": steps})


def _base(seen: Seen, **params: object) -> dict[str, np.ndarray]:
    return {"mean_image": seen.images.double().mean(dim=0).to(seen.images.dtype).cpu().numpy()}


def _read(
    seen: Seen, base: Arrays, *, method: str, form: Form, transform: str, keep: float, steps: int | None = None
) -> Features:
    mean = torch.tensor(base["mean_image"]).to(seen.images).expand_as(seen.images)
    with warnings.catch_warnings():
        # The residual matters little: reference images are scored in the same way.
        warnings.simplefilter("ignore", CircuitStoreWarning)
        pairs = ImagePairs.of(seen.model, seen.images, mean, seen.predicted)
        scores = score_edges(seen.model, pairs, method_use(method, steps), form=form, execution=seen.execution)
    assert scores.per_image is not None
    found = scores.per_image.astype(np.float64)
    return np.sign(found) * np.sqrt(np.abs(found)) if transform == "root" else found


def _names(model: ModelInfo, *, form: Form, **params: object) -> tuple[str, ...]:
    return ComputationGraph(model.n_layers, model.n_heads, form).edge_names


def _choose(features: Features, rows: Rows, *, keep: float, **params: object) -> Bool[np.ndarray, "feature"]:
    """Return the edges with the largest magnitude of a class's mean score."""
    largest = np.abs(class_means(features, rows)).max(axis=0)
    chosen = np.zeros(features.shape[1], bool)
    chosen[np.argsort(-largest, kind="stable")[: max(1, round(keep * len(largest)))]] = True
    return chosen


EDGES = Feature(
    read=_read,
    base=_base,
    names=_names,
    choose=_choose,
    params={
        "method": choice("eap-ig", "eap"),
        "steps": whole(ABSENT),
        "form": choice("split", *(form for form in FORMS if form != "split")),
        "transform": choice("root", "none"),
        "keep": number(1.0, "a share of the edges above 0, at most 1", lambda value: 0 < value <= 1),
    },
)
"""Scores of edges for the predicted class, against the mean of the reference images."""
