"""Images as one model sees them: what every feature of a detector is read from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ...evaluation import DEFAULT, Execution
from ...evaluation.readouts.batched import read_images
from ...models import ViT


@dataclass(frozen=True, eq=False)
class Seen:
    """Images and the model that sees them, whose logits are computed once.

    Attributes:
        model: the model.
        images: normalised images.
        execution: batch size and progress.
    """

    model: ViT
    images: Float[Tensor, "image channel height width"]
    execution: Execution = DEFAULT

    @cached_property
    def logits(self) -> Float[np.ndarray, "image class"]:
        """The model's logits."""
        quiet = Execution(self.execution.batch_size)  # a small share of the cost of most features
        return read_images(self.model, self.images, self.model.logits, quiet).astype(np.float64)

    @property
    def predicted(self) -> Int[np.ndarray, "image"]:
        """The class with the highest logit."""
        return self.logits.argmax(axis=1)
