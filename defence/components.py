"""Whole heads and MLPs, fixed at their means one by one as long as selection images gain: the baseline of edges."""

from __future__ import annotations

from collections.abc import Iterator

from ..evaluation.interventions import ablate_components
from ..models import ConstantOutputs, ViT
from .choosing import Candidate, Choice, Chooser, Tried


def ablated_by_gain(chooser: Chooser, model: ViT, constants: ConstantOutputs, *, limit: int = 3) -> Choice:
    """Choose the best ablation of heads and MLPs that a greedy search finds.

    Each round ablates one more component: the one with the highest gain among those within the maximum loss. The search
    ends if none gains, or after `limit` rounds.

    Args:
        chooser: judges edits on selection images.
        model: the model.
        constants: what ablated components send.
        limit: maximum number of ablated components.
    """
    components = [c.name for c in model.graph("head").components if c.kind in ("head", "mlp")]

    def one_more(ablated: tuple[str, ...]) -> Iterator[Candidate]:
        for name in components:
            if name not in ablated:
                names = (*ablated, name)
                yield Candidate(ablate_components(model, names, constants), {"components": " ".join(names)})

    best, tried = chooser.plain, list[Tried]()
    for _ in range(limit):
        found = chooser.best(one_more(tuple(best.candidate.settings.get("components", "").split())), best)
        tried.extend(found.tried)
        if found.chosen is best:
            break
        best = found.chosen
    return Choice(best, tuple(tried))
