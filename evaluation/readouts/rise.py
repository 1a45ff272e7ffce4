"""RISE: the mean metric over random masks that keep a patch, minus the mean over all masks.

    effect of a patch p = E[m | p kept] − E[m]

A mask keeps each patch with the same probability; the other patches show the baseline. Masks depend on the image and
the seed only. In a model that is linear in the patches, the expectation is (1 − keep) times the effect of the patch.

Petsiuk, Das & Saenko 2018, arXiv 1806.07421, with masks of whole patches, not enlarged and shifted ones.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...circuits import Readout
from ...circuits.kinds import number, whole
from ...models import ViT
from ..execution import Execution
from ..measured import MeasuredPairs
from .baseline_images import BASELINE, against
from .draws import image_rngs
from .filled_runs import filled_runs
from .kind import ReadoutKind
from .patch_grid import PatchGrid
from .patch_maps import n_map_numbers, patch_map


def _rise(
    model: ViT, pairs: MeasuredPairs, *, execution: Execution, baseline: str, masks: int, keep: float, seed: int
) -> Readout:
    n_patches, at_once = len(PatchGrid.of(model)), execution.size(model, "block")

    def effects(batch: MeasuredPairs) -> Float[Tensor, "image patch"]:
        kept = random_masks(batch, masks, n_patches, keep, seed)
        values = filled_runs(model, batch, kept, at_once)
        weights = kept.to(values)
        return torch.einsum("ri,rip->ip", values - values.mean(dim=0), weights) / weights.sum(dim=0).clamp(min=1)

    use = RISE.use(baseline=baseline, masks=masks, keep=keep, seed=seed)
    return patch_map(model, against(model, pairs, baseline), effects, use, execution)


def random_masks(
    batch: MeasuredPairs, masks: int, n_patches: int, keep: float, seed: int
) -> Bool[Tensor, "run image patch"]:
    """Return the patches that each image's masks keep."""
    drawn = [rng.random((masks, n_patches)) < keep for rng in image_rngs(batch, seed, "rise")]
    return torch.from_numpy(np.stack(drawn, axis=1))


RISE = ReadoutKind(
    key="rise",
    name="Mean metric over random masks that keep a patch, minus the mean over all masks",
    source="Petsiuk, Das & Saenko 2018, arXiv 1806.07421",
    function=_rise,
    passes=lambda model, baseline, masks, keep, seed: (masks, 0),
    numbers=n_map_numbers,
    params={
        "baseline": BASELINE,
        "masks": whole(300),
        "keep": number(0.5, "a number between 0 and 1", lambda value: 0 < value < 1),
        "seed": whole(0, 0),
    },
    lacks={"by": "its masks keep whole patches"},
    reads_metric=True,
)
