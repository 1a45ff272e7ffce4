"""Occlusion: what the metric loses when a window of patches shows the baseline.

    effect of a patch = mean over the windows that contain it of m(x) − m(x with the window filled)

Windows are squares of patches, one patch apart. With windows of one patch, this is exact patching of the stream that
enters block 0, token by token, against the baseline.

Zeiler & Fergus 2014, arXiv 1311.2901.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ...circuits import Readout
from ...circuits.kinds import whole
from ...models import ViT
from ..execution import Execution
from ..measured import MeasuredPairs
from .baseline_images import BASELINE, against
from .filled_runs import filled_runs
from .kind import ReadoutKind
from .patch_grid import PatchGrid
from .patch_maps import n_map_numbers, patch_map


def _occlusion(model: ViT, pairs: MeasuredPairs, *, execution: Execution, baseline: str, window: int) -> Readout:
    windows, at_once = PatchGrid.of(model).windows(window), execution.size(model, "block")

    def effects(batch: MeasuredPairs) -> Float[Tensor, "image patch"]:
        kept = ~windows[:, None].expand(-1, len(batch), -1)
        whole = batch.values(model.logits(batch.clean).to(model.exact_dtype))
        losses = whole - filled_runs(model, batch, kept, at_once)
        contains = windows.to(losses)
        return losses.T @ contains / contains.sum(dim=0)

    use = OCCLUSION.use(baseline=baseline, window=window)
    return patch_map(model, against(model, pairs, baseline), effects, use, execution)


def _passes(model: ViT, baseline: str, window: int) -> tuple[int, int]:
    return 1 + len(PatchGrid.of(model).windows(window)), 0


OCCLUSION = ReadoutKind(
    key="occlusion",
    name="What the metric loses when a window of patches shows the baseline",
    source="Zeiler & Fergus 2014, arXiv 1311.2901",
    function=_occlusion,
    passes=_passes,
    numbers=n_map_numbers,
    params={"baseline": BASELINE, "window": whole(1)},
    lacks={"by": "it fills whole patches"},
    reads_metric=True,
)
