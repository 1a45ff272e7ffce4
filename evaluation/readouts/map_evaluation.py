"""How much a map over patches can be trusted: deletion and insertion curves, and a known region.

Deletion fills patches with the baseline, insertion shows them on the baseline, both in falling order of the map. A good
map makes the curve of deletion fall early and that of insertion rise early. The area under a curve is taken over the
share of the patches, by trapezoids.

    share inside   Σ map⁺ inside the region / Σ map⁺, undefined without positive values
    pointing       1 if the largest value is inside the region, else 0

Deletion and insertion: Petsiuk, Das & Saenko 2018, arXiv 1806.07421. Share inside: Wang, H. et al. 2020, arXiv
1910.01279. Pointing: Zhang, J. et al. 2018, arXiv 1608.00507.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...circuits import Axis, Metric, Readout, ReadoutUse
from ...circuits.kinds import is_whole
from ...errors import InputError, check_known
from ...models import ViT, runs_model
from ...results import Exportable
from ..execution import DEFAULT, Execution
from ..measured import MeasuredPairs, measure
from ..pairs import ImagePairs
from ..tokens import patches_inside
from .baseline_images import BASELINES, against
from .batched import image_axis, read_pairs
from .filled_runs import PerImage, filled_runs
from .patch_grid import PatchGrid

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("probability", "metric")
"""What curves show: the probability of the class that the metric raises, or the metric."""

CURVES = ("deletion", "insertion")


@dataclass(frozen=True, eq=False)
class MapEvaluation(Exportable):
    """How much a map can be trusted, image by image.

    Attributes:
        curves: `[image, curve, patches]`: the measure after so many patches are filled (deletion) or shown (insertion).
        share_inside: share of the map's positive values inside the region; NaN without positive values. None without a
            region.
        pointing: whether the largest value is inside the region; None without a region.
    """

    curves: Readout
    share_inside: Float[np.ndarray, "image"] | None = None
    pointing: Bool[np.ndarray, "image"] | None = None

    @property
    def deletion(self) -> Float[np.ndarray, "image"]:
        """Area under the curve of deletion; the lower, the better the map."""
        return self._area("deletion")

    @property
    def insertion(self) -> Float[np.ndarray, "image"]:
        """Area under the curve of insertion; the higher, the better the map."""
        return self._area("insertion")

    def _area(self, curve: str) -> Float[np.ndarray, "image"]:
        counts = np.array(self.curves.axis("patches").labels, np.float64)
        return np.trapezoid(self.curves.select(curve=curve).values, counts / counts[-1], axis=1)

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `image, deletion, insertion`, and `share_inside, pointing` with a region."""
        import pandas as pd

        columns = {"deletion": self.deletion, "insertion": self.insertion}
        if self.share_inside is not None and self.pointing is not None:
            columns |= {"share_inside": self.share_inside, "pointing": self.pointing.astype(np.float64)}
        return pd.DataFrame(columns).rename_axis("image").reset_index()

    def __repr__(self) -> str:
        means = self.to_pandas().drop(columns="image").mean()
        figures = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
        return f"MapEvaluation({figures}, mean over {len(self.deletion)} images)"


@runs_model
def evaluate_map(
    model: ViT,
    pairs: ImagePairs,
    patch_map: Readout,
    *,
    region: Tensor | np.ndarray | None = None,
    baseline: str = "black",
    measured_by: str = "probability",
    steps: int = 64,
    metric: str | Metric = "logit",
    execution: Execution = DEFAULT,
) -> MapEvaluation:
    """Evaluate a map by deletion and insertion of patches, and by a region in which the cause is known to be.

    Compare with `random-map` of `patch_attribution`: a map that knows nothing is the floor.

    Args:
        patch_map: a map `[image, patch_row, patch_column]` of the same images.
        region: boolean pixels `[image, height, width]` or `[height, width]`, such as the area of a written word. A
            patch is inside if at least half of its pixels are.
        baseline: `black`, `grey`, `mean`, `blur` or `corrupted`: what filled patches show.
        measured_by: `probability` of the class that the metric raises, or `metric`.
        steps: maximum number of steps; with fewer than the patches, several are filled at a time.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        execution: batch size and progress; progress counts images.

    Raises:
        InputError: a map of other images or another grid, a region of another size, an unknown baseline or measure, no
            steps, or pairs or a metric that do not fit.

    Examples:
        >>> evaluate_map(model, pairs, cs.patch_attribution(model, pairs, "occlusion"))
        MapEvaluation(deletion 0..., insertion 0..., mean over 8 images)
    """
    check_known("baseline", baseline, BASELINES)
    check_known("measured_by", measured_by, MEASURES)
    if not is_whole(steps) or steps < 1:
        raise InputError(f"steps: expected a whole number of at least 1, got {steps!r}")
    values = _flat(model, pairs, patch_map)
    inside = None if region is None else _inside(model, region, len(pairs))
    measured = against(model, measure(model, pairs, metric), baseline)
    curves = _curves(model, measured, values, steps, measured_by, execution)
    if inside is None:
        return MapEvaluation(curves)
    return MapEvaluation(curves, *_within(values, inside))


def _flat(model: ViT, pairs: ImagePairs, patch_map: Readout) -> Float[np.ndarray, "image patch"]:
    """Return a map as one row per image.

    Raises:
        InputError: it is not a map over the patches of these images.
    """
    grid = PatchGrid.of(model)
    expected = (("image", *(axis.name for axis in grid.axes)), (len(pairs), grid.rows, grid.columns))
    if (patch_map.names, patch_map.values.shape) != expected:
        raise InputError(
            f"patch_map: expected {expected[0]} with the sizes {expected[1]}, got {patch_map.names} with the sizes "
            f"{patch_map.values.shape}; patch_attribution returns such maps, and on_patches converts tokens"
        )
    return patch_map.values.reshape(len(pairs), -1)


def _inside(model: ViT, region: Tensor | np.ndarray, count: int) -> Bool[np.ndarray, "image patch"]:
    inside = patches_inside(model, region)
    if inside.ndim == 2 and len(inside) != count:
        raise InputError(f"region: expected a mask for each of {count} images, or one for all, got {len(inside)} masks")
    return inside.expand(count, -1).numpy()


def _curves(
    model: ViT,
    pairs: MeasuredPairs,
    values: Float[np.ndarray, "image patch"],
    steps: int,
    measured_by: str,
    execution: Execution,
) -> Readout:
    n_patches = values.shape[1]
    counts = np.unique(np.rint(np.linspace(0, n_patches, min(steps, n_patches) + 1)).astype(int))
    ranks = iter(torch.from_numpy(_ranks(values)).split(execution.size(model, "block")))

    def of_batch(batch: MeasuredPairs) -> Float[Tensor, "image curve patches"]:
        first = next(ranks) < torch.from_numpy(counts)[:, None, None]  # patches image patch
        kept = torch.cat([~first, first])
        value = batch.values if measured_by == "metric" else _probability(batch)
        found = filled_runs(model, batch, kept, execution.size(model, "block"), value)
        return found.unflatten(0, (2, len(counts))).permute(2, 0, 1)

    axes = (image_axis(len(pairs)), Axis("curve", CURVES), Axis("patches", tuple(counts.tolist())))
    unit = pairs.metric.text if measured_by == "metric" else f"probability of the class that {pairs.metric.text} raises"
    use = ReadoutUse.of("deletion-insertion", {"steps": steps, "measured_by": measured_by})
    return Readout(use, axes, read_pairs(model, pairs, of_batch, execution), unit=unit, metric=pairs.metric)


def _ranks(values: Float[np.ndarray, "image patch"]) -> Int[np.ndarray, "image patch"]:
    """Return the position of each patch in falling order; equal patches in their own order."""
    order, ranks = np.argsort(-values, axis=1, kind="stable"), np.empty(values.shape, np.int64)
    np.put_along_axis(ranks, order, np.arange(values.shape[1])[None].repeat(len(values), 0), axis=1)
    return ranks


def _probability(batch: MeasuredPairs) -> PerImage:
    classes = batch.raised()
    return lambda logits: logits.softmax(dim=1).gather(1, classes.to(logits.device)[:, None])[:, 0]


def _within(
    values: Float[np.ndarray, "image patch"], inside: Bool[np.ndarray, "image patch"]
) -> tuple[Float[np.ndarray, "image"], Bool[np.ndarray, "image"]]:
    """Return the share of positive values inside, and whether the largest value is inside."""
    positive = values.clip(min=0).astype(np.float64)
    with np.errstate(invalid="ignore"):
        share = (positive * inside).sum(axis=1) / positive.sum(axis=1)
    return share, inside[np.arange(len(values)), values.argmax(axis=1)]
