"""A baseline of defences: the model's last layer, trained again on clean and attacked images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.hooks import RemovableHandle

from ..circuits import Intervention
from ..errors import InputError
from ..evaluation.interventions import Edit
from ..evaluation.interventions.edit import Changes
from ..models import ViT
from .sample import Sample

NEVER = -1e4
"""Logit of classes without training images: they are never predicted."""


class _NewHead(Changes):
    """The hook that replaces what the last layer returns."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def hooks(self, module: Any) -> Iterator[RemovableHandle]:
        yield module.head.register_forward_hook(self._head)

    def _head(self, _: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        if self.off:
            return out
        weight, bias = (getattr(self, name).to(out) for name in ("weight", "bias"))
        return self.chosen(linear(args[0], weight, bias), out)


@dataclass(frozen=True, eq=False, repr=False)
class RetrainedLastLayer(Edit):
    """Another last layer; created by `retrain_last_layer`.

    Attributes:
        weight: its weights.
        bias: its biases.
        penalty: C of the logistic regression.
    """

    weight: Float[np.ndarray, "class width"] = field(repr=False)
    bias: Float[np.ndarray, "class"] = field(repr=False)
    penalty: float

    @property
    def intervention(self) -> Intervention:
        content = sha256(b"".join(np.ascontiguousarray(v, "<f4").tobytes() for v in (self.weight, self.bias)))
        return Intervention.of("last-layer", {"weights": content.hexdigest(), "penalty": self.penalty})

    @property
    def text(self) -> str:
        return f"last layer trained again, C = {self.penalty:g}"

    def changes(self, model: ViT) -> Changes:
        return _NewHead(*(torch.from_numpy(v).to(model.device) for v in (self.weight, self.bias)))


def retrain_last_layer(model: ViT, images: Sample, penalty: float = 1.0) -> RetrainedLastLayer:
    """Train the last layer again by logistic regression on a model's pooled tokens (scikit-learn).

    Args:
        model: the model.
        images: clean and attacked images with their true classes. Classes without images are never predicted.
        penalty: C, the inverse of the penalty on large weights; features are standardised.

    Raises:
        InputError: images of fewer than two classes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(images.labels)
    if len(classes) < 2:
        raise InputError(f"a last layer needs images of at least two classes, got {len(classes)}")
    batches = (model.preprocess.normalise(images.views[i : i + 64]) for i in range(0, len(images), 64))
    features = torch.cat([model.pooled(batch).double().cpu() for batch in batches]).numpy()
    mean, std = features.mean(axis=0), features.std(axis=0)
    std[std == 0] = 1
    fitted = LogisticRegression(C=penalty, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # selection images choose among penalties
        fitted.fit((features - mean) / std, images.labels)
    rows, shifts = fitted.coef_ / std, fitted.intercept_
    if len(classes) == 2:  # scikit-learn has one row, the difference of two logits
        rows, shifts = np.concatenate([-rows, rows]) / 2, np.concatenate([-shifts, shifts]) / 2
    weight = np.zeros((model.n_classes, features.shape[1]), np.float32)
    bias = np.full(model.n_classes, NEVER, np.float32)
    weight[classes], bias[classes] = rows, shifts - rows @ mean
    return RetrainedLastLayer(model.fingerprint, weight, bias, penalty)
