"""Activations of all layers: class token and mean patch of the stream before each block and after the last."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ....evaluation.readouts.batched import read_images
from ....models import capture
from ..kind import Feature, Features
from ..seen import Seen


def _read(seen: Seen, base: object) -> Features:
    model, prefix = seen.model, seen.model.module.num_prefix_tokens

    def read(batch: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image feature"]:
        run = capture(model, batch)
        streams = [*run.attention_in, run.final]
        tokens = [stream[:, 0] for stream in streams] if prefix else []
        return torch.cat([*tokens, *(stream[:, prefix:].mean(dim=1) for stream in streams)], dim=1)

    return read_images(model, seen.images, read, seen.execution).astype(np.float64)


LAYERS = Feature(read=_read)
"""Class token, if there is one, and mean patch of the stream before each block and after the last."""
