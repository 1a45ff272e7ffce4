"""SmoothGrad: the mean gradient at copies of the image with noise, times the difference to a baseline.

    (x − b) · (1/N) Σ_i ∂m/∂x at x + σ ε_i

σ is in pixels of [0, 1]; ε is normal and depends on the image and the seed only.

Smilkov et al. 2017, arXiv 1706.03825.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import Readout
from ...circuits.kinds import number, whole
from ...models import ViT
from ..execution import Execution
from ..measured import MeasuredPairs
from .baseline_images import BASELINE, against
from .draws import image_rngs
from .kind import ReadoutKind
from .patch_maps import BY, n_map_numbers, pixel_map
from .pixel_gradients import ends, pixel_gradient, scaled


def _smoothgrad(
    model: ViT,
    pairs: MeasuredPairs,
    *,
    execution: Execution,
    baseline: str,
    noise: float,
    samples: int,
    seed: int,
    by: str,
) -> Readout:
    std = scaled(model, tuple(model.preprocess.std))

    def products(batch: MeasuredPairs) -> Float[Tensor, "image channel height width"]:
        clean, start = ends(model, batch)
        rngs, total = image_rngs(batch, seed, "smoothgrad"), torch.zeros_like(clean, dtype=model.exact_dtype)
        for _ in range(samples):
            moved = torch.from_numpy(np.stack([rng.standard_normal(clean.shape[1:]) for rng in rngs])).to(std)
            total += pixel_gradient(model, batch, clean + (moved * noise / std).to(clean))
        return (clean - start) * total / samples

    use = SMOOTHGRAD.use(baseline=baseline, noise=noise, samples=samples, seed=seed, by=by)
    return pixel_map(model, against(model, pairs, baseline), products, use, execution)


SMOOTHGRAD = ReadoutKind(
    key="smoothgrad",
    name="Mean gradient of the metric at noisy copies of the image, times the difference to a baseline",
    source="Smilkov et al. 2017, arXiv 1706.03825",
    function=_smoothgrad,
    passes=lambda model, baseline, noise, samples, seed, by: (samples, samples),
    numbers=n_map_numbers,
    params={
        "baseline": BASELINE,
        "noise": number(0.15, "a number of at least 0", lambda value: value >= 0),
        "samples": whole(15),
        "seed": whole(0, 0),
        "by": BY,
    },
    reads_metric=True,
)
