"""A random map: what a map that knows nothing reaches in a comparison of maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import Readout
from ...circuits.kinds import whole
from ...models import ViT
from ..execution import Execution
from ..measured import MeasuredPairs
from .draws import image_rngs
from .kind import ReadoutKind
from .patch_grid import PatchGrid
from .patch_maps import n_map_numbers, patch_map


def _random_map(model: ViT, pairs: MeasuredPairs, *, execution: Execution, seed: int) -> Readout:
    n_patches = len(PatchGrid.of(model))

    def numbers(batch: MeasuredPairs) -> Float[Tensor, "image patch"]:
        drawn = np.stack([rng.random(n_patches) for rng in image_rngs(batch, seed, "random-map")])
        return torch.from_numpy(drawn).to(model.exact_dtype)

    found = patch_map(model, pairs, numbers, RANDOM_MAP.use(seed=seed), execution)
    return replace(found, unit="random number", metric=None)


RANDOM_MAP = ReadoutKind(
    key="random-map",
    name="A uniform random number for each patch",
    function=_random_map,
    passes=lambda model, seed: (0, 0),
    numbers=n_map_numbers,
    params={"seed": whole(0, 0)},
)
