"""Whole heads and MLPs, fixed at their means one by one as long as selection images gain: the baseline of edges."""

from __future__ import annotations

from ..evaluation.interventions import Edit, ablate_components
from ..models import ConstantOutputs, ViT
from .search import Candidate, Chooser


def ablated_by_gain(chooser: Chooser, model: ViT, constants: ConstantOutputs, *, limit: int = 3) -> Candidate:
    """Return the best ablation of heads and MLPs that a greedy search finds.

    Each round ablates one more component: the one with the highest gain among those within the maximum loss. The search
    ends if none gains, or after `limit` rounds.

    Args:
        chooser: judges edits on selection images.
        model: the model.
        constants: what ablated components send.
        limit: maximum number of ablated components.
    """
    components = [c.name for c in model.graph("head").components if c.kind in ("head", "mlp")]
    best: Candidate = chooser.plain
    ablated: tuple[str, ...] = ()
    for _ in range(limit):
        more = [(*ablated, name) for name in components if name not in ablated]
        edits: dict[Edit, tuple[str, ...]] = {ablate_components(model, names, constants): names for names in more}
        found = chooser.best(edits, best)
        if found is best or found.edit is None:
            break
        best, ablated = found, edits[found.edit]
    return best
