"""What a model answers to images, with or without an edit."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from ..evaluation import DEFAULT, Execution
from ..evaluation.interventions import Edit
from ..models import ViT

Predicted = Int[ndarray, "image"]
"""Index of the class that is predicted for each image."""

BATCH = 64
"""Number of images per batch, unless the execution names another."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answers to images.

    Attributes:
        logits: the logits, float64.
        seconds: seconds per image.
    """

    logits: Float[ndarray, "image class"]
    seconds: float

    @property
    def predicted(self) -> Predicted:
        """Index of the top class."""
        return self.logits.argmax(axis=1)


def answers(
    model: ViT,
    edit: Edit | None,
    images: Float[Tensor, "image channel height width"],
    execution: Execution = DEFAULT,
) -> Answers:
    """Return what a model answers to images.

    Args:
        model: the model.
        edit: what is done to it; None for nothing.
        images: normalised images, at least one.
        execution: batch size.
    """
    began, size = time.perf_counter(), execution.batch_size or BATCH
    with edit.applied(model) if edit is not None else nullcontext():
        logits = torch.cat([model.logits(batch).double().cpu() for batch in images.split(size)])
    return Answers(logits.numpy(), (time.perf_counter() - began) / len(images))
