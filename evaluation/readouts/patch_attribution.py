"""Attribution of a metric to the patches or the pixels of each image, by any of the methods that give such maps."""

from __future__ import annotations

from ...circuits import Metric, Readout
from ...circuits.recipe import Scalar
from ...errors import unknown
from ...models import ViT, runs_model
from ..execution import DEFAULT, Execution
from ..measured import measure
from ..pairs import ImagePairs
from .registry import READOUTS

ATTRIBUTIONS = ("integrated-gradients", "smoothgrad", "input-x-gradient", "saliency", "occlusion", "rise", "random-map")
"""Keys of the read-outs that attribute a metric to patches."""


@runs_model
def patch_attribution(
    model: ViT,
    pairs: ImagePairs,
    method: str = "integrated-gradients",
    *,
    metric: str | Metric = "logit",
    execution: Execution = DEFAULT,
    **params: Scalar,
) -> Readout:
    """Attribute a metric to the patches or the pixels of each image.

    Args:
        pairs: the images; their corrupted images are used only by `baseline="corrupted"`.
        method: `integrated-gradients`, `smoothgrad`, `input-x-gradient`, `saliency`, `occlusion`, `rise`, or
            `random-map`, which is the floor of comparisons.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        execution: batch size and progress; progress counts images. The batch size does not change the answer.
        **params: parameters of the method, by name. `baseline` is `black`, `grey`, `mean` (of the clean images), `blur`
            or `corrupted`; `by="pixel"` gives maps of gradient methods over pixels.

    Returns:
        A map `[image, patch_row, patch_column]`, or `[image, pixel_row, pixel_column]` summed over channels, in units
        of the metric; positive if the patch raises it, compared with the baseline. `saliency` gives magnitudes.
        Integrated gradients have the facts `residual` and `residual_absolute`; above 1 % they issue a
        `CircuitStoreWarning`.

    Raises:
        InputError: an unknown method, parameter or metric, pairs that do not fit, a baseline without images, or maps
            over pixels that would take more than 1 GiB.

    Examples:
        >>> found = patch_attribution(model, pairs, "occlusion", window=2)
        >>> found.values.shape
        (8, 8, 8)
        >>> patch_attribution(model, pairs, steps=20).facts["residual"] < 0.01
        True
    """
    if method not in ATTRIBUTIONS:
        raise unknown("method of attribution to patches", method, ATTRIBUTIONS)
    use = READOUTS.resolve(method, params)
    return READOUTS[method].read(model, measure(model, pairs, metric), use, execution)
