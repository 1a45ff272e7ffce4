"""The last layer trained again on other images: the baseline of every correction.

Kirichenko et al. 2023 (DFR, arXiv 2204.02937): with as many images of each group, logistic regression on the pooled
tokens, which are unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import InputError
from ..evaluation import DEFAULT, Execution
from ..evaluation.interventions import NewHead, replace_head
from ..models import PENALTIES, LinearHead, ViT, fit_head, runs_model
from .answers import BATCH

NEVER = -1e4
"""Bias of a class without images, which is then never predicted."""


@runs_model
def retrained_heads(
    model: ViT,
    images: Float[Tensor, "image channel height width"],
    labels: Int[Tensor, "image"],
    *,
    penalties: Sequence[float] = PENALTIES,
    execution: Execution = DEFAULT,
) -> Iterator[NewHead]:
    """Train the last layer again, once with each penalty.

    Args:
        model: the model.
        images: normalised images to train on.
        labels: index of each image's class.
        penalties: values of scikit-learn's C.
        execution: batch size.

    Returns:
        One edit per penalty. Classes of the model without images are never predicted.

    Raises:
        InputError: images of fewer than two classes.

    Examples:
        >>> images = torch.cat([pairs.clean, pairs.corrupted])
        >>> edits = list(retrained_heads(model, images, torch.tensor([3] * 8 + [5] * 8), penalties=[1.0]))
        >>> with edits[0].applied(model):
        ...     model.logits(images).argmax(dim=1).tolist() == [3] * 8 + [5] * 8
        True
    """
    classes, places = np.unique(labels.cpu().numpy(), return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"labels: expected images of at least two classes, got {len(classes)}")
    size = execution.batch_size or BATCH
    features = torch.cat([model.pooled(batch).float().cpu() for batch in images.split(size)]).numpy()
    names = [str(index) for index in classes]
    return (_replaced(model, fit_head(features, places, names, penalty), classes) for penalty in penalties)


def _replaced(model: ViT, head: LinearHead, classes: Int[np.ndarray, "class"]) -> NewHead:
    weight = torch.zeros(model.n_classes, head.weight.shape[1])
    bias = torch.full((model.n_classes,), NEVER)
    rows = torch.from_numpy(classes)
    weight[rows], bias[rows] = head.weight, head.bias
    return replace_head(model, LinearHead(weight, bias))
