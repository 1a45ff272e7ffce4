"""Maps from gradients at the image itself: saliency and gradient × input.

    saliency           Σ_channels |∂m/∂x|, per unit of a pixel in [0, 1]; a magnitude
    input × gradient   (x − b) · ∂m/∂x

The gradient is multiplied by the difference to a baseline in pixels. Multiplied by normalised pixels it would depend on
the normalisation: black pixels at −1 would count most.

Simonyan, Vedaldi & Zisserman 2014, arXiv 1312.6034; Shrikumar, Greenside & Kundaje 2017, arXiv 1704.02685.
"""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from ...circuits import Readout
from ...models import ViT
from ..execution import Execution
from ..measured import MeasuredPairs
from .baseline_images import BASELINE, against
from .kind import ReadoutKind
from .patch_maps import BY, n_map_numbers, pixel_map
from .pixel_gradients import ends, pixel_gradient, scaled

Pixels = Float[Tensor, "image channel height width"]


def _saliency(model: ViT, pairs: MeasuredPairs, *, execution: Execution, by: str) -> Readout:
    std = scaled(model, tuple(model.preprocess.std))

    def magnitudes(batch: MeasuredPairs) -> Pixels:
        return (pixel_gradient(model, batch, batch.clean.to(model.device, model.dtype)) / std).abs()

    found = pixel_map(model, pairs, magnitudes, SALIENCY.use(by=by), execution)
    return replace(found, unit=f"{found.unit} per unit of a pixel")


def _input_x_gradient(model: ViT, pairs: MeasuredPairs, *, execution: Execution, baseline: str, by: str) -> Readout:
    def products(batch: MeasuredPairs) -> Pixels:
        clean, start = ends(model, batch)
        return (clean - start) * pixel_gradient(model, batch, clean)

    use = INPUT_X_GRADIENT.use(baseline=baseline, by=by)
    return pixel_map(model, against(model, pairs, baseline), products, use, execution)


SALIENCY = ReadoutKind(
    key="saliency",
    name="Magnitude of the metric's gradient at each pixel",
    source="Simonyan, Vedaldi & Zisserman 2014, arXiv 1312.6034",
    function=_saliency,
    passes=lambda model, by: (1, 1),
    numbers=n_map_numbers,
    params={"by": BY},
    lacks={"baseline": "it is the gradient at the image, not contrasted with a baseline"},
    reads_metric=True,
)
INPUT_X_GRADIENT = ReadoutKind(
    key="input-x-gradient",
    name="Gradient of the metric times the difference between the image and a baseline",
    source="Shrikumar, Greenside & Kundaje 2017, arXiv 1704.02685",
    function=_input_x_gradient,
    passes=lambda model, baseline, by: (1, 1),
    numbers=n_map_numbers,
    params={"baseline": BASELINE, "by": BY},
    reads_metric=True,
)
